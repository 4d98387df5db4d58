/**
 * The laws of a {@link SequenceModel}:
 *
 *   description   parameters and states are what the model says of them, and one key draws one model
 *   chunks        the whole at once, in chunks of any lengths, and step by step give the same hidden states and the same state
 *   gradients     so they do in gradients: through states, into parameters and into the state before; on a device that computes in f64, the
 *                 gradients are also those of finite differences
 *   threads       the CPU gives the same bits with any number of threads
 *   generation    what `generate` makes is what a pass over all of it predicts
 *   memory        passes and gradients leave nothing behind on the device
 */
import type { Device } from "../device";
import { open } from "../open";
import type { DType } from "../dtype";
import { generate } from "../generate";
import type { ForwardOptions, Parameters, SequenceModel } from "../model";
import { crossEntropy } from "../ops/crossEntropy";
import { add, scale, square } from "../ops/elementwise";
import { tokenTensor } from "../ops/embedding";
import { linear } from "../ops/matmul";
import { mean } from "../ops/reduce";
import { slice } from "../ops/view";
import { type Key, key as makeKey } from "../random";
import { showShape } from "../shape";
import { valueAndGradient, withoutGradient } from "../tape";
import { dispose, keep, scope, type Tensor, tensor } from "../tensor";
import { leaves, mapTree, type Tree } from "../tree";
import { broken, checkSetup, expectClose, expectSameBits, type Numbers, paired, readAll } from "./compare";

/** What the laws are checked with. */
export interface SequenceModelSetup {
  readonly device: Device;
  /** f32 unless given; f64 on the reference device for errors that only a wrong formula makes. */
  readonly dtype?: DType;
  /** The model is drawn from it. */
  readonly key?: Key;
  /** Rows side by side; 2 unless given. */
  readonly batch?: number;
  /** Ways to cut a stream, each the lengths of its pieces. Unless given, uneven pieces and single tokens. */
  readonly cuts?: readonly (readonly number[])[];
  /** Where segments end, counted from the start of the stream, for models that know them: see {@link ForwardOptions}. */
  readonly ends?: readonly number[];
  /** Of the largest number of each tensor; 1e-9 for f64 and 1e-4 for f32 unless given. */
  readonly tolerance?: number;
  /** Numbers of threads that must give the same bits, on the CPU; 1, 2 and 3 unless given. */
  readonly threads?: readonly number[];
  /** Which laws are checked; all unless given. */
  readonly laws?: readonly SequenceModelLaw[];
}

type Ready<State extends Tree> = Required<Omit<SequenceModelSetup, "laws">> & { readonly model: SequenceModel<State> };

const UNEVEN = [1, 2, 3, 9, 1, 10];

function ready<State extends Tree>(model: SequenceModel<State>, setup: SequenceModelSetup): Ready<State> {
  const { dtype = "f32", key = makeKey(3), batch = 2, cuts = [UNEVEN, Array<number>(sum(UNEVEN)).fill(1)], ends = [] } = setup;
  const { device, tolerance = dtype === "f64" ? 1e-9 : 1e-4, threads = [1, 2, 3] } = setup;
  for (const cut of cuts) {
    checkSetup(cut.length > 0 && cut.every((length) => Number.isInteger(length) && length >= 1), () =>
      `laws: a cut [${cut.join(", ")}] must be whole numbers of at least 1`);
  }
  return { model, device, dtype, key, batch, cuts, ends, tolerance, threads };
}

/** Tokens without a pattern, the same for every device. */
function idsOf({ model: { vocabulary }, batch }: Pick<Ready<Tree>, "model" | "batch">, total: number, factor = 7919): number[] {
  return Array.from({ length: batch * total }, (_, i) => (i * factor + (i >> 3)) % vocabulary);
}

const sum = (lengths: readonly number[]): number => lengths.reduce((a, b) => a + b, 0);

/** A cut, for messages. */
const shown = (cut: readonly number[]): string => (cut.every((n) => n === 1) ? "single tokens" : cut.join(", "));

/** The state without what no pass reads. */
function trimmed<State extends Tree>(model: SequenceModel<State>, state: State): State {
  return model.stateFiles?.trimmed?.(state) ?? state;
}

/** Passes over tokens [B,T] in pieces. The tokens before `start` have been read. */
function inPieces<State extends Tree>(
  { model, ends }: Ready<State>, parameters: Parameters, tokens: Tensor, lengths: readonly number[], state: State | undefined, start = 0,
): { hidden: Tensor[]; state: State } {
  const hidden: Tensor[] = [];
  let from = 0;
  let current = state;
  for (const length of lengths) {
    const to = from + length;
    const inside = ends.map((end) => end - start).filter((end) => end > from && end <= to).map((end) => end - from);
    const options: ForwardOptions = { ends: inside };
    const part = model.forward(parameters, from === 0 && to === tokens.shape[1] ? tokens : slice(tokens, 1, from, to), current, options);
    hidden.push(part.hidden);
    current = part.state;
    from = to;
  }
  return { hidden, state: current! };
}

/** Runs a body with a model's parameters, frees them, and gives what the body read. */
async function withParameters<State extends Tree, R>(
  { model, key, device, dtype }: Ready<State>, body: (parameters: Parameters) => Promise<R>,
): Promise<R> {
  const parameters = keep(scope(() => model.init(key, device, dtype)));
  try {
    return await body(parameters);
  } finally {
    dispose(parameters);
  }
}

/** Reads a tree that a body makes, and frees everything. */
async function readFrom(body: () => unknown): Promise<Numbers[]> {
  const tree = keep(scope(body));
  const numbers = await readAll(tree);
  dispose(tree);
  return numbers;
}

async function description<State extends Tree>(setup: Ready<State>): Promise<void> {
  const { model, device, dtype, key, batch } = setup;
  const law = `${model.family}: parameters and states are what the model says of them`;
  const drawn = await readFrom(() => ({ ...model.init(key, device, dtype) }));
  const shapes = Object.entries(model.parameterShapes());
  paired(law, drawn, shapes.map(([path, shape]) => ({ path, shape })));
  expectSameBits(`${model.family}: one key draws one model`, await readFrom(() => ({ ...model.init(key, device, dtype) })), drawn);
  for (const [name] of shapes) {
    if (typeof model.decays(name) !== "boolean") broken(law, `decays(${JSON.stringify(name)}) is neither true nor false`);
  }
  const state = await readFrom(() => model.initialState(batch, device, dtype));
  const said = model.stateLeaves.map(({ path }) => path).sort();
  const found = state.map(({ path }) => path).sort();
  if (said.join() !== found.join()) broken(law, `stateLeaves names ${said.join(", ")}, and initialState has ${found.join(", ")}`);
  for (const { path, shape } of state) {
    if (shape[0] !== batch) broken(law, `${path} has shape ${showShape(shape)}; its first axis is the batch of ${batch}`);
  }
  for (const { path, headAxis } of model.stateLeaves) {
    const { shape } = state.find((leaf) => leaf.path === path)!;
    if (headAxis === undefined || (headAxis >= 1 && headAxis < shape.length)) continue;
    broken(law, `the headAxis ${headAxis} of ${path} is no axis of its shape ${showShape(shape)}`);
  }
  await withParameters(setup, (parameters) => {
    const shape = scope(() => [...model.head(parameters).shape]);
    if (shape[0] !== model.vocabulary) {
      broken(law, `head has shape ${showShape(shape)}; its rows are the ${model.vocabulary} tokens of the vocabulary`);
    }
    return Promise.resolve();
  });
}

async function chunks<State extends Tree>(setup: Ready<State>): Promise<void> {
  const { model, device, dtype, batch, cuts, ends, tolerance } = setup;
  await withParameters(setup, async (parameters) => {
    for (const cut of cuts) {
      const total = sum(cut);
      const law = `${model.family}: the whole at once and chunks of ${shown(cut)} give the same`;
      const pieces = (lengths: readonly number[], fresh: boolean) => readFrom(() => {
        const tokens = tokenTensor(device, idsOf(setup, total), [batch, total], model.vocabulary);
        const zero = fresh ? model.initialState(batch, device, dtype) : undefined;
        const { hidden, state } = inPieces(setup, parameters, tokens, lengths, zero);
        let from = 0;
        const cutAlike = lengths.length === 1 ? cut.map((length) => slice(hidden[0]!, 1, from, (from += length))) : hidden;
        return { hidden: cutAlike, state: trimmed(model, state) };
      });
      const limits = ends.filter((end) => end <= total);
      const whole = await pieces([total], false);
      const where = limits.length > 0 ? `, with segments that end at ${limits.join(", ")}` : "";
      expectClose(`${law}${where}`, await pieces(cut, true), whole, tolerance);
    }
  });
}

/** Leaves that a gradient goes through: whole numbers have none. */
function realLeaves(tree: unknown): ReturnType<typeof leaves> {
  return leaves(tree).filter(({ tensor: { dtype, size } }) => dtype !== "i32" && size > 0);
}

/** A loss over hidden states and the final state, with its gradients by the parameters and by the state before. */
function lossOf<State extends Tree>(
  setup: Ready<State>, parameters: Parameters, before: State, lengths: readonly number[], start: number,
): { loss: Tensor; gradients: { parameters: Parameters; state: Parameters } } {
  const { model, device, batch } = setup;
  const total = sum(lengths);
  const tokens = tokenTensor(device, idsOf(setup, total), [batch, total], model.vocabulary);
  const targets = tokenTensor(device, idsOf(setup, total, 104_729), [batch, total], model.vocabulary);
  const real = Object.fromEntries(realLeaves(before).map(({ path, tensor: t }) => [path, t]));
  return valueAndGradient((given: { parameters: Parameters; state: Parameters }) => {
    const state = mapTree(before, (leaf, path) => given.state[path] ?? leaf) as unknown as State;
    const result = inPieces(setup, given.parameters, tokens, lengths, state, start);
    let from = 0;
    const losses = result.hidden.map((hidden) => {
      const to = from + hidden.shape[1]!;
      const part = mean(crossEntropy(hidden, model.head(given.parameters), lengths.length === 1 ? targets : slice(targets, 1, from, to)));
      const share = (to - from) / total;
      from = to;
      return scale(part, share);
    });
    const ended = realLeaves(trimmed(model, result.state)).map(({ tensor: t }) => mean(square(t)));
    return { loss: [...losses, ...ended].reduce((a, b) => add(a, b)) };
  }, { parameters: { ...parameters }, state: real });
}

/** Tokens that are read before the state of {@link lossOf}. */
const PREFIX = 7;

function stateBefore<State extends Tree>(setup: Ready<State>, parameters: Parameters): State {
  const { model, device, batch } = setup;
  const tokens = tokenTensor(device, idsOf(setup, PREFIX, 15_485_863), [batch, PREFIX], model.vocabulary);
  return withoutGradient(() => inPieces(setup, parameters, tokens, [PREFIX], undefined).state);
}

async function gradients<State extends Tree>(setup: Ready<State>): Promise<void> {
  const { model, cuts, tolerance, dtype } = setup;
  await withParameters(setup, async (parameters) => {
    const before = keep(scope(() => stateBefore(setup, parameters)));
    try {
      for (const cut of cuts) {
        const whole = await readFrom(() => lossOf(setup, parameters, before, [sum(cut)], PREFIX));
        const pieces = await readFrom(() => lossOf(setup, parameters, before, cut, PREFIX));
        const law = `${model.family}: the whole at once and chunks of ${shown(cut)} give the same gradients`;
        expectClose(law, pieces, whole, 10 * tolerance); // sums over all steps, in another order
      }
      if (dtype === "f64") await finiteDifferences(setup, parameters, before);
    } finally {
      dispose(before);
    }
  });
}

/** Half the distance of the two points of a difference, and how far it may be off, as a share of what its terms add up to. */
const [STEP, OFF] = [1e-5, 1e-6];

async function finiteDifferences<State extends Tree>(setup: Ready<State>, parameters: Parameters, before: State): Promise<void> {
  const { model, cuts, device, dtype } = setup;
  const lengths = cuts[0]!;
  const found = await readFrom(() => lossOf(setup, parameters, before, lengths, PREFIX).gradients);
  // A direction that no symmetry of a model knows, the same for every call.
  const along = (path: string, i: number) => Math.cos(1 + 7 * i + path.length);
  for (const part of ["parameters", "state"] as const) {
    const prefix = `${part}.`;
    const own = found.filter(({ path }) => path.startsWith(prefix)).map((leaf) => ({ ...leaf, path: leaf.path.slice(prefix.length) }));
    if (own.length === 0) continue;
    const known = new Set(own.map(({ path }) => path));
    const moved = async <T>(tree: T, by: number): Promise<T> => {
      const numbers = new Map((await readAll(tree)).map((leaf) => [leaf.path, leaf.values]));
      return keep(scope(() => mapTree(tree, (leaf, path) => (known.has(path)
        ? tensor(device, Array.from(numbers.get(path)!, (x, i) => x + by * along(path, i)), leaf.shape, dtype) : leaf)))) as T;
    };
    const lossAt = async (by: number): Promise<number> => {
      const changed = part === "state" ? { parameters, before: await moved(before, by) }
        : { parameters: await moved({ ...parameters }, by), before };
      const [loss] = await readFrom(() => ({ loss: lossOf(setup, changed.parameters, changed.before, lengths, PREFIX).loss }));
      const old = new Set(leaves([parameters, before]).map(({ tensor: t }) => t));
      for (const { tensor: t } of leaves(changed)) if (!old.has(t)) t.dispose();
      return loss!.values[0]!;
    };
    const slope = (await lossAt(STEP) - await lossAt(-STEP)) / (2 * STEP);
    const terms = own.flatMap(({ path, values }) => Array.from(values, (x, i) => x * along(path, i)));
    const wanted = terms.reduce((a, b) => a + b, 0);
    const scaleOf = terms.reduce((a, b) => a + Math.abs(b), 0);
    if (!(Math.abs(slope - wanted) <= OFF * scaleOf)) {
      broken(`${model.family}: gradients are those of finite differences`,
        `along one direction of its ${part}, the loss rises by ${slope} and the gradient says ${wanted}`);
    }
    if (scaleOf === 0) broken(`${model.family}: gradients flow through states`, `that of the ${part} is zero everywhere`);
  }
}

async function threadsAlike<State extends Tree>(setup: Ready<State>): Promise<void> {
  const { model, threads, device, cuts } = setup;
  if (device.kind !== "cpu") return;
  let first: Numbers[] | undefined;
  for (const count of threads) {
    const own = await open("cpu", { threads: count });
    try {
      const numbers = await withParameters({ ...setup, device: own }, (parameters) => readFrom(() => {
        const before = stateBefore({ ...setup, device: own }, parameters);
        return { before: trimmed(model, before), passes: lossOf({ ...setup, device: own }, parameters, before, cuts[0]!, PREFIX) };
      }));
      first ??= numbers;
      expectSameBits(`${model.family}: ${threads[0]} and ${count} threads give the same bits`, numbers, first);
    } finally {
      own.close();
    }
  }
}

async function generation<State extends Tree>(setup: Ready<State>): Promise<void> {
  const { model, device, tolerance, dtype } = setup;
  if (dtype !== "f32") return; // generate begins with a state of f32
  const law = `${model.family}: what is generated is what a pass over all of it predicts`;
  const prompt = idsOf({ model, batch: 1 }, 24 + (model.prefill?.recent ?? 0));
  const made: number[] = [];
  await withParameters(setup, async (parameters) => {
    for await (const token of generate(model, parameters, prompt, { maxTokens: 8, temperature: 0, chunk: 7 })) made.push(token);
    const ids = [...prompt, ...made.slice(0, -1)];
    const last = prompt.length - 1;
    const [logits] = await readFrom(() => {
      const tokens = tokenTensor(device, ids, [1, ids.length], model.vocabulary);
      const { hidden } = model.forward(parameters, tokens, undefined, { ends: [last] });
      return { logits: linear(slice(hidden, 1, last, ids.length), model.head(parameters)) };
    });
    made.forEach((token, i) => {
      const row = Array.from(logits!.values).slice(i * model.vocabulary, (i + 1) * model.vocabulary);
      const [best, scaleOf] = [Math.max(...row), Math.max(...row.map(Math.abs))];
      // Of two that are as likely up to rounding, either may be taken.
      if (!(row[token]! >= best - tolerance * scaleOf)) {
        broken(law, `token ${i + 1} is ${token} with a logit of ${row[token]}, and the largest, ${best}, is that of ${row.indexOf(best)}`);
      }
    });
  });
}

async function memory<State extends Tree>(setup: Ready<State>): Promise<void> {
  const { model, device, cuts } = setup;
  await withParameters(setup, async (parameters) => {
    const held = async () => {
      await device.synchronize();
      return device.memory().used;
    };
    const used = await held();
    await readFrom(() => {
      const before = stateBefore(setup, parameters);
      return lossOf(setup, parameters, before, cuts[0]!, PREFIX).loss;
    });
    const after = await held();
    if (after === used) return;
    broken(`${model.family}: passes and gradients leave nothing behind`, `${after - used} bytes are held that were not before`);
  });
}

const LAWS = { description, chunks, gradients, threads: threadsAlike, generation, memory };

/** The name of a law of {@link checkSequenceModel}. */
export type SequenceModelLaw = keyof typeof LAWS;

/**
 * All of them, for tests that show each by itself:
 * `it.each(SEQUENCE_MODEL_LAWS)("keeps the law of %s", (law) => checkSequenceModel(model, { device, laws: [law] }))`.
 */
export const SEQUENCE_MODEL_LAWS: readonly SequenceModelLaw[] = Object.keys(LAWS) as SequenceModelLaw[];

/**
 * Checks that a model keeps the laws of sequence models: parameters and states are what it says of them; full == chunked == step by step,
 * in hidden states, final state and gradients; the same bits with any number of threads; generated == forward; nothing is left behind on
 * the device. Throws `E_LAW` for the first that is broken, with where and by how much.
 */
export async function checkSequenceModel<State extends Tree>(
  model: SequenceModel<State>, { laws = SEQUENCE_MODEL_LAWS, ...setup }: SequenceModelSetup,
): Promise<void> {
  const all = ready(model, setup);
  for (const law of laws) await LAWS[law](all);
}
