/**
 * What loading and converting a large checkpoint takes: a file of random numbers in the layout of mamba2-1.3b (2,048 wide, 48 layers),
 * written in a stream, loaded onto the cpu device and converted, each in a process of its own and from the disk: the system is asked to
 * forget the file before. Prints for each the largest resident memory as a share of what the model takes (or, converting, beyond what an
 * idle process has, of the largest tensor), and the speed as a share of the slowest of three: dd reading the file, converting its numbers
 * in memory, and writing as many bytes as the model takes to a fresh device. The file is deleted afterwards.
 *
 *     npm run build
 *     node scripts/loading.mjs [--layers 48] [--rounds 3] [--folder /some/disk] [--json]
 *
 * Of the rounds the fastest counts. What varies most is how long the system takes to give memory to a process, or to a file that is read:
 * on virtual machines whose host has to find it first, a second for each GB and more.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { decodeNumbers, encodeNumbers, modelFamilies, open } from "../packages/kernels/dist/index.js";
import { openWeightsIn, writeWhole } from "../packages/kernels/dist/node/index.js";
import { RECURRENT_FAMILIES } from "../packages/recurrent/dist/index.js";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    layers: { type: "string", default: "48" }, rounds: { type: "string", default: "3" }, folder: { type: "string", default: tmpdir() },
    json: { type: "boolean", default: false },
  },
});
const CONFIG = {
  d_model: 2048, n_layer: Number(options.layers), d_intermediate: 0, vocab_size: 50277,
  ssm_cfg: { layer: "Mamba2", d_state: 128, headdim: 64 }, rms_norm: true, residual_in_fp32: true, tie_embeddings: true,
  pad_vocab_size_multiple: 16,
};
const MODELS = modelFamilies(RECURRENT_FAMILIES);
const MIB = 2 ** 20;
const cpuSeconds = (from) => { const { user, system } = process.cpuUsage(from); return (user + system) / 1e6; };
const report = (result) => console.log(JSON.stringify({ ...result, peak: process.resourceUsage().maxRSS * 1024 }));

/** In processes of their own: `load folder type`, `convert from to`, `touch bytes`, `idle`. */
async function child([task, from, more]) {
  if (task === "idle") return report({});
  if (task === "touch") {
    const device = await open("cpu", { threads: 1 });
    const piece = new Uint8Array(4 * MIB).fill(1);
    const at = performance.now();
    for (let left = Number(from); left > 0; left -= 64 * MIB) {
      const buffer = device.allocate(64 * MIB);
      for (let done = 0; done < 64 * MIB; done += piece.length) device.write(buffer, done, piece);
    }
    report({ wall: (performance.now() - at) / 1000 });
    process.exit(0);
  }
  if (task === "convert") {
    const { main } = await import("../packages/cli/dist/index.js");
    const before = process.cpuUsage();
    const at = performance.now();
    await main(["convert", from, more]);
    return report({ cpu: cpuSeconds(before), wall: (performance.now() - at) / 1000 });
  }
  const device = await open("cpu", { threads: 1 });
  const weights = await openWeightsIn(from);
  const before = process.cpuUsage();
  const at = performance.now();
  await MODELS.load(CONFIG, weights, device, more);
  await device.synchronize();
  report({ cpu: cpuSeconds(before), wall: (performance.now() - at) / 1000, held: device.memory().used });
  process.exit(0);
}

function inProcess(...args) {
  const { stdout, stderr, status } = spawnSync(process.execPath, [fileURLToPath(import.meta.url), ...args, "--layers", options.layers],
    { encoding: "utf8", maxBuffer: MIB });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout.trim().split("\n").at(-1));
}

/** The fastest of all rounds, each of which finds the file on the disk alone; and the most memory of any. */
function fastest(path, round) {
  const rounds = Array.from({ length: Number(options.rounds) }, () => {
    forget(path);
    return round();
  });
  rounds.sort((a, b) => a.wall - b.wall);
  return { ...rounds[0], peak: Math.max(...rounds.map(({ peak }) => peak)) };
}

/** Writes the model's file with random numbers of a type. */
async function writeModel(path, dtype) {
  const shapes = Object.entries(MODELS.make(CONFIG).parameterShapes());
  const width = dtype === "F32" ? 4 : 2;
  const header = {};
  let end = 0;
  for (const [name, shape] of shapes)
    header[name] = { dtype, shape, data_offsets: [end, (end += width * shape.reduce((a, b) => a * b, 1))] };
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const noise = Float32Array.from({ length: MIB + 7 }, () => 0.02 * (Math.random() + Math.random() - 1));
  const bytes = encodeNumbers(noise, "f32", dtype, "noise");
  await writeWhole(path, (async function* () {
    yield length;
    yield json;
    for (let left = end; left > 0; left -= bytes.length) yield bytes.subarray(0, Math.min(left, bytes.length));
  })());
  return Math.max(...shapes.map(([, shape]) => width * shape.reduce((a, b) => a * b, 1)));
}

function dd(...args) {
  const { status, stderr } = spawnSync("dd", args, { encoding: "utf8" });
  if (status !== 0) throw new Error(stderr);
}

/** Makes the system forget what it has of a file in memory. */
const forget = (path) => dd(`if=${path}`, "iflag=nocache", "count=0");

/** Seconds to read a file from the disk. */
function readingOf(path) {
  const at = performance.now();
  dd(`if=${path}`, "of=/dev/null", "bs=4M");
  return { wall: (performance.now() - at) / 1000 };
}

/** Seconds to convert so many numbers of a file in memory to what a device holds. */
function convertingOf(count, dtype, type) {
  if (dtype === "F16" && type === "f16") return 0;
  const numbers = new Float32Array(MIB);
  const stored = encodeNumbers(numbers.fill(0.01), "f32", dtype, "noise");
  const at = performance.now();
  for (let done = 0; done < count; done += MIB) {
    decodeNumbers(stored, dtype, numbers, "f32", "noise");
    if (type === "f16") encodeNumbers(numbers, "f32", "F16", "noise", stored.subarray(0, 2 * MIB));
  }
  return (performance.now() - at) / 1000;
}

async function main() {
  const folder = mkdtempSync(join(options.folder, "lenggen-loading-"));
  const results = [];
  try {
    const idle = inProcess("idle").peak;
    for (const [dtype, types] of Object.entries({ F32: ["f32", "f16"], F16: ["f16", "f32"] })) {
      const path = join(folder, "model.safetensors");
      const largest = await writeModel(path, dtype);
      writeFileSync(join(folder, "config.json"), JSON.stringify(CONFIG));
      const { size } = statSync(path);
      const { wall: reading } = fastest(path, () => readingOf(path));
      for (const type of types) {
        const { cpu, wall, peak, held } = fastest(path, () => inProcess("load", folder, type));
        const converting = convertingOf(size / (dtype === "F32" ? 4 : 2), dtype, type);
        const { wall: writing } = fastest(path, () => inProcess("touch", String(held)));
        const limits = { reading, converting, writing };
        results.push({ work: `${dtype} file as ${type}`, fileBytes: size, modelBytes: held, peakBytes: peak, peakShare: peak / held,
          cpuSeconds: cpu, seconds: wall, limits, speedShare: Math.max(...Object.values(limits)) / wall });
      }
      const out = join(folder, "converted.safetensors");
      const { cpu, wall, peak } = fastest(path, () => {
        rmSync(out, { force: true });
        return inProcess("convert", folder, out);
      });
      results.push({ work: `${dtype} file converted`, fileBytes: size, largestTensorBytes: largest, peakBytes: peak, idleBytes: idle,
        peakShare: (peak - idle) / largest, cpuSeconds: cpu, seconds: wall });
      await (await openWeightsIn(out)).close(); // whole, or it would be refused
      rmSync(out);
      rmSync(path);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  if (options.json) return console.log(JSON.stringify({ machine: cpus()[0].model, layers: CONFIG.n_layer, results }, null, 1));
  for (const { work, fileBytes, peakBytes, peakShare, cpuSeconds: cpu, seconds, speedShare } of results) {
    const speed = speedShare === undefined ? "" : `, ${Math.round(100 * speedShare)}% of the slowest of disk, converter and device`;
    console.log(`${work}: ${(fileBytes / 1e9).toFixed(2)} GB in ${seconds.toFixed(1)} s (${cpu.toFixed(1)} s of CPU)${speed}; `
      + `peak ${(peakBytes / 1e9).toFixed(2)} GB (${peakShare.toFixed(3)})`);
  }
}

await (positionals.length > 0 ? child(positionals) : main());
