/**
 * llama.cpp through node-llama-cpp, which is no dependency: it is installed into a temporary folder, or taken from one where it is. And
 * what it predicts, beside what we do.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import {
  advance, dispose, disposeExcept, keep, linear, scope, softmax, tokenTensor, withoutGradient,
} from "../../packages/kernels/dist/index.js";

const VERSION = "3.22.1";

/** Most that probabilities may differ by. */
export const MOST_DIFFERENCE = 1e-5;

/** Without the optional packages, which are hundreds of megabytes for GPUs, but with the one for this processor. */
function install(folder) {
  const packages = ["node-llama-cpp", `@node-llama-cpp/${process.platform === "darwin" ? "mac" : "linux"}-${process.arch}`];
  const npm = spawnSync("npm", ["install", "--prefix", folder, "--no-audit", "--no-fund", "--ignore-scripts", "--omit=optional",
    "--fetch-retries=1", ...packages.map((name) => `${name}@${VERSION}`)], { encoding: "utf8", timeout: 120_000 });
  if (npm.status !== 0) {
    const reason = npm.error?.message ?? npm.stderr.match(/npm error (?:code |errno )?(.*)/)?.[1] ?? npm.stderr;
    throw new Error(`node-llama-cpp could not be installed: ${reason}`);
  }
}

/** { llama, version }; installs it unless it is in `folder/node_modules`. */
export async function openLlama(folder, threads) {
  const home = join(folder, "node_modules", "node-llama-cpp");
  if (!existsSync(home)) install(folder);
  const { version } = JSON.parse(readFileSync(join(home, "package.json"), "utf8"));
  const { getLlama } = await import(pathToFileURL(join(home, "dist", "index.js")).href);
  return { version, llama: await getLlama({ gpu: false, build: "never", logLevel: "error", maxThreads: threads }) };
}

/**
 * A model's file with a sequence to read into. Its context has to be as long as the text: past it, llama.cpp forgets what was read, or goes
 * on from a state that is not the text's, without a word.
 */
export async function openModel(llama, file, contextSize, threads) {
  const model = await llama.loadModel({ modelPath: file });
  const context = await model.createContext({ contextSize, threads: { ideal: threads, min: threads } });
  return {
    model,
    sequence: context.getSequence(),
    async close() {
      await context.dispose();
      await model.dispose();
    },
  };
}

/** What our model predicts after each of some tokens, `step` of them at a time: [T][V]. */
export async function ourProbabilities(device, model, parameters, tokens, step = tokens.length) {
  const rows = [];
  let state;
  for (let at = 0; at < tokens.length; at += step) {
    const ids = tokenTensor(device, tokens.slice(at, at + step), [1, Math.min(step, tokens.length - at)], model.vocabulary);
    const { hidden, state: next } = await advance(model, parameters, ids, state);
    disposeExcept(state, next);
    state = next;
    const probabilities = withoutGradient(() => keep(scope(() => softmax(linear(hidden, model.head(parameters))))));
    const values = await probabilities.read();
    for (let t = 0; t < values.length; t += model.vocabulary) rows.push(values.subarray(t, t + model.vocabulary));
    dispose([ids, hidden, probabilities]);
  }
  dispose(state);
  return rows;
}

/** The same of llama.cpp's. */
export async function theirProbabilities(sequence, vocabulary, tokens, step = tokens.length) {
  await sequence.clearHistory();
  const rows = [];
  for (let at = 0; at < tokens.length; at += step) {
    const asked = Array.from(tokens.slice(at, at + step), (token) => [token, { generateNext: { probabilities: true } }]);
    for (const { next: { probabilities } } of await sequence.controlledEvaluate(asked)) {
      rows.push(Float32Array.from({ length: vocabulary }, (_, token) => probabilities.get(token) ?? 0));
    }
  }
  return rows;
}

/** The largest difference; NaN where either is none. */
export function largestDifference(mine, others) {
  if (mine.length !== others.length) return Number.NaN;
  return mine.reduce((most, row, t) => row.reduce((sofar, value, id) => Math.max(sofar, Math.abs(value - others[t][id])), most), 0);
}
