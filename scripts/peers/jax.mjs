/**
 * Peer of `lenggen bench --device webgpu`: jax-js on the same adapter, in the same process and turn by turn: matrix products
 * and layer norms in single precision, by the clock, launches included. Prints the ratios on stderr and JSON on stdout.
 *
 *     npm run build
 *     node scripts/peers/jax.mjs [folder]
 *
 * jax-js is no dependency: it is installed into a temporary folder, or taken from `folder/node_modules` (made before with
 * `npm install --prefix folder @jax-js/jax@0.1.25`). Without a GPU, on Chromium's SwiftShader, the sizes are small and the
 * times say nothing:
 *
 *     VK_ICD_FILENAMES=/usr/lib/chromium/vk_swiftshader_icd.json node scripts/peers/jax.mjs
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { dispose, key, layerNorm, matmul, measureCeiling, open, scope, uniform } from "@lenggen/kernels";
import { create, globals } from "webgpu";

const VERSION = "0.1.25";
const EPSILON = 1e-5;
/** A timing repeats until it takes so long, and the best of so many counts. */
const [ENOUGH_MS, ROUNDS] = [60, 7];
/** jax-js keeps all outputs of a timing until its end, as it may. */
const MOST_BYTES = 2 ** 30;

// Without a screen, Mesa's choice of a GPU complains on the console.
if (!process.env.XDG_RUNTIME_DIR && !process.env.DISPLAY) process.env.NODEVICE_SELECT ??= "1";
// jax-js asks for a browser. Both libraries get their adapter here, so that neither has options of its own.
Object.assign(globalThis, globals);
const gpu = create(["disable-dawn-features=timestamp_quantization", "enable-dawn-features=disable_workgroup_init"]);
Object.defineProperty(globalThis, "navigator", { value: { gpu, userAgent: "Node.js" }, configurable: true });
const info = (await gpu.requestAdapter())?.info;
if (!info) throw new Error("WebGPU has no adapter here: see lenggen doctor");
const software = info.isFallbackAdapter;

const given = process.argv[2];
const folder = given ?? mkdtempSync(join(tmpdir(), "jax-js-"));
const home = join(folder, "node_modules", "@jax-js", "jax");
if (!existsSync(home)) {
  const npm = spawnSync("npm", ["install", "--prefix", folder, "--no-audit", "--no-fund", "--ignore-scripts", `@jax-js/jax@${VERSION}`],
    { encoding: "utf8" });
  if (npm.status !== 0) throw new Error(`jax-js could not be installed: ${npm.stderr}`);
}
const { version } = JSON.parse(readFileSync(join(home, "package.json"), "utf8"));
const jax = await import(pathToFileURL(join(home, "dist", "index.js")).href);
const np = jax.numpy;
if (!(await jax.init("webgpu")).includes("webgpu")) throw new Error("jax-js found no WebGPU");
jax.defaultDevice("webgpu");

const device = await open("webgpu", { fallback: true });
const ceiling = await measureCeiling(device);

/** One op in both libraries, with the inputs' shapes; jax-js compiles its own into as few kernels as it can. */
const OPS = {
  matmul: {
    ours: ([a, b]) => matmul(a, b),
    theirs: jax.jit((a, b) => np.matmul(a, b)),
    operations: ([[m, k], [, n]]) => 2 * m * n * k,
  },
  layerNorm: {
    ours: ([x, weight, bias]) => layerNorm(x, weight, bias, { eps: EPSILON }),
    theirs: jax.jit((x, weight, bias) => {
      const centred = x.ref.sub(np.mean(x, -1, { keepdims: true }));
      const deviation = np.sqrt(np.mean(np.square(centred.ref), -1, { keepdims: true }).add(EPSILON));
      return centred.div(deviation).mul(weight).add(bias);
    }),
    operations: ([[rows, width]]) => 7 * rows * width,
  },
};
const square = (n) => ["matmul", [n, n], [n, n]];
const norm = (rows, width) => ["layerNorm", [rows, width], [width], [width]];
const CASES = software
  ? [square(256), norm(256, 256)]
  : [...[256, 512, 1024, 2048, 4096].map(square), norm(4096, 768), norm(4096, 1536), norm(16384, 1536), norm(16384, 4096)];

async function clock(work) {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

async function compare([kernel, ...shapes]) {
  const { ours, theirs, operations } = OPS[kernel];
  const tensors = shapes.map((shape, i) => uniform(key(i), device, shape, { low: -1, high: 1 }));
  const values = await Promise.all(tensors.map((t) => t.read()));
  const arrays = values.map((data, i) => np.array(data, { shape: shapes[i], dtype: np.float32 }));
  const once = () => theirs(...arrays.map((array) => array.ref));

  const [mine, other] = [scope(() => ours(tensors)), await once().data()];
  const result = await mine.read();
  const worst = result.reduce((most, value, i) => Math.max(most, Math.abs(value - other[i])), 0);
  const largest = result.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  if (!(worst <= 1e-4 * largest)) throw new Error(`${kernel} ${shapes.join(" ")}: the libraries differ by ${worst}`);
  mine.dispose();

  const timers = {
    ours: (n) => clock(async () => {
      for (let i = 0; i < n; i++) scope(() => { ours(tensors); });
      await device.synchronize();
    }),
    // gpuBuffer() launches what an array stands for and gives the array back.
    theirs: (n) => clock(async () => {
      await Promise.all(Array.from({ length: n }, () => once().gpuBuffer()));
      await jax.getWebGPUDevice().queue.onSubmittedWorkDone();
    }),
  };
  const best = { ours: Infinity, theirs: Infinity };
  const repetitions = {};
  for (const [who, timer] of Object.entries(timers)) {
    await timer(1);
    const fitting = Math.max(1, Math.floor(MOST_BYTES / (4 * result.length)));
    repetitions[who] = software ? 1 : Math.min(fitting, 1000, Math.ceil(ENOUGH_MS / Math.min(await timer(2) / 2, await timer(2) / 2)));
  }
  for (let round = 0; round < (software ? 1 : ROUNDS); round++) {
    for (const who of ["ours", "theirs"]) best[who] = Math.min(best[who], (await timers[who](repetitions[who])) / repetitions[who]);
  }
  dispose(tensors);
  for (const array of arrays) array.dispose();

  const gflops = (ms) => operations(shapes) / (1e6 * ms);
  const shape = kernel === "matmul" ? `${shapes[0][0]}x${shapes[1][1]}x${shapes[0][1]}` : shapes[0].join("x");
  console.error(`${kernel} ${shape}: lenggen ${best.ours.toFixed(3)} ms, jax-js ${best.theirs.toFixed(3)} ms, `
    + `${(best.theirs / best.ours).toFixed(2)} times as fast`);
  return {
    kernel, shape, ms: best.theirs, gflops: gflops(best.theirs),
    lenggenMs: best.ours, lenggenGflops: gflops(best.ours), ratio: best.theirs / best.ours,
  };
}

console.error(`${device.description}; lenggen and jax-js ${version}${software ? "; this adapter is software: its times say nothing" : ""}`);
const results = [];
for (const item of CASES) results.push(await compare(item));
console.log(JSON.stringify({ peer: `jax-js ${version}`, device: device.description, software, ceiling, results }, null, 1));
device.close();
if (given === undefined) rmSync(folder, { recursive: true, force: true });
