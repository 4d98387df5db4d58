/**
 * The streaming engine under every measure: sequences side by side, chunk after chunk, with the state carried
 * over and no gradients. Each chunk runs in a scope, so that memory depends on rows x chunk and not on length.
 *
 * Positions. Of a sequence x[0], x[1], ..., position t >= 1 is that of the prediction of x[t]: its history is the
 * t tokens x[0] ... x[t-1]. The first token has no history and is never scored, so that a length of L needs
 * L + 1 tokens.
 */
import {
  advance, check, crossEntropy, deviceOf, disposeExcept, keep, type Parameters, readTokens, scope, type SequenceModel,
  type Tensor, tensor, type Tokens, type TokenSource, type Tree, type TypedArray, withoutGradient, yieldToEventLoop,
} from "@lenggen/kernels";
import { checkWhole } from "./checks";

/** What every measure takes. */
export interface RunOptions {
  /** Most tokens of a sequence in one forward pass; 512 unless given. Results depend on it only by rounding. */
  readonly chunk?: number;
  /** Sequences side by side; 4 unless given. */
  readonly batch?: number;
  /** Stops the measure between two chunks with `E_INTERRUPTED`. */
  readonly signal?: AbortSignal;
  /** Called after each chunk with tokens done and tokens in all. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** Options of {@link stream}. */
export interface StreamOptions<State = never> extends RunOptions {
  /** First input token; 0 unless given. */
  readonly start?: number;
  /** The state before it, zero unless given. It is not freed. */
  readonly state?: State;
  /** One past the last input token. */
  readonly end: number;
  /** Positions in start ... end at which a chunk must end, so that the state there can be seen. */
  readonly stops?: readonly number[];
  /**
   * Positions in start ... end, ascending, at which the running segment of a model with segments ends: after so many tokens.
   * A repeated one makes an empty segment.
   */
  readonly segmentEnds?: readonly number[];
  /** Whether to score each position; true unless given. Scoring reads x[end] as well. */
  readonly losses?: boolean;
  /**
   * The first input token whose hidden state is looked at, `start` unless given. What lies far before it goes by the model's prefill,
   * where it has one, and then makes no chunk; `stops` have to be behind it.
   */
  readonly wanted?: number;
  /** Called after each pass of prefill, with tokens from ... to - 1. */
  readonly onPrefill?: (from: number, to: number) => void;
}

/** What a stream hands over for each chunk of each group of sequences. */
export interface StreamChunk<State> {
  /** Input tokens start ... end - 1; the losses are those of positions start + 1 ... end. */
  readonly start: number;
  readonly end: number;
  /** In nats, [B, end - start]; empty when no losses were asked for. */
  readonly losses: TypedArray;
  /** After token end - 1. Valid until the next chunk is asked for. */
  readonly state: State;
  /** [B, end - start, D]. Valid until the next chunk is asked for. */
  readonly hidden: Tensor;
}

export const DEFAULT_CHUNK = 512;
export const DEFAULT_BATCH = 4;

/** Runs a model over sequences side by side and yields chunk after chunk. */
export async function* stream<State extends Tree>(
  model: SequenceModel<State>, parameters: Parameters, sequences: readonly (Tokens | TokenSource)[], options: StreamOptions<State>,
): AsyncGenerator<StreamChunk<State>> {
  const { start = 0, end, chunk = DEFAULT_CHUNK, segmentEnds = [], losses: scoring = true, wanted = start, signal } = options;
  checkSequences(sequences, scoring ? end + 1 : end);
  checkWhole("stream: chunk", chunk);
  check(Number.isInteger(start) && start >= 0 && start < end, "E_ARGUMENT", () => `stream: tokens ${start} ... ${end} are no range`);
  check(wanted === start || !scoring, "E_ARGUMENT",
    () => "stream: losses are of all positions, so that what is wanted begins at the start");
  const near = model.prefill ? Math.max(start, Math.min(wanted, end) - model.prefill.recent) : start;
  const endsIn = (from: number, to: number) => segmentEnds.filter((at) => at <= to && (at > from || (at === from && from === start)))
    .map((at) => at - from);
  const borders = [...(options.stops ?? []).filter((stop) => stop > start && stop < end), end].sort((a, b) => a - b);
  let { state } = options;
  let hidden: Tensor | undefined;
  try {
    for (let from = start; from < near; ) {
      checkSignal(signal);
      const to = Math.min(from + chunk, near);
      const next = await prefill(model, parameters,
        { ids: cut(sequences, from, to), rows: sequences.length, state, ends: endsIn(from, to) });
      disposeExcept(state, [next, options.state]);
      state = next;
      options.onPrefill?.(from, to);
      await yieldToEventLoop(); // else no signal would come where nothing is read back
      from = to;
    }
    for (let from = near; from < end; ) {
      checkSignal(signal);
      const to = Math.min(from + chunk, borders.find((border) => border > from)!);
      const step = await forward(model, parameters, {
        ids: cut(sequences, from, to), rows: sequences.length, state,
        targets: scoring ? cut(sequences, from + 1, to + 1) : undefined, ends: endsIn(from, to),
      });
      hidden?.dispose();
      disposeExcept(state, [step.state, options.state]);
      ({ state, hidden } = step);
      let losses: TypedArray = new Float32Array(0);
      if (step.losses) {
        losses = await step.losses.read();
        step.losses.dispose();
        checkFinite(losses, from, to);
      }
      yield { start: from, end: to, losses, state: step.state, hidden: step.hidden };
      await yieldToEventLoop();
      from = to;
    }
  } finally {
    hidden?.dispose();
    disposeExcept(state, options.state);
  }
}

interface Step<State> {
  readonly hidden: Tensor;
  readonly state: State;
  readonly losses: Tensor | undefined;
}

/** What one forward pass takes; ids and targets are row-major. */
export interface ForwardInput<State> {
  readonly ids: Int32Array;
  readonly rows: number;
  readonly state?: State;
  readonly targets?: Int32Array;
  /** Where segments end, in tokens of this pass. */
  readonly ends?: readonly number[];
}

/** One forward pass without gradients. The caller owns the result. */
export async function forward<State extends Tree>(
  model: SequenceModel<State>, parameters: Parameters, input: ForwardInput<State>,
): Promise<Step<State>> {
  const { state, targets, ends } = input;
  if (targets) checkTokens(targets, model);
  return withTokens(model, parameters, input, async (tokens) => {
    const { hidden, state: next } = await advance(model, parameters, tokens, state, { ends });
    const losses = targets && lossesOf(model, parameters, hidden, targets);
    return { hidden, state: next, losses };
  });
}

/** In nats, of targets [B·T] behind hidden states [B,T,D]: [B,T]. The caller owns them. */
export function lossesOf(model: SequenceModel, parameters: Parameters, hidden: Tensor, targets: Int32Array): Tensor {
  const { device, shape } = hidden;
  return withoutGradient(() =>
    keep(scope(() => crossEntropy(hidden, model.head(parameters), tensor(device, targets, shape.slice(0, -1), "i32")))));
}

/** One pass of the model's prefill. The caller owns the state. */
function prefill<State extends Tree>(
  model: SequenceModel<State>, parameters: Parameters, input: Omit<ForwardInput<State>, "targets">,
): Promise<State> {
  return withTokens(model, parameters, input, (tokens) => model.prefill!.read(parameters, tokens, input.state, { ends: input.ends }));
}

/** Runs a pass on its tokens [rows, ...], which live as long as it does. */
async function withTokens<R>(
  model: Pick<SequenceModel, "vocabulary">, parameters: Parameters, { ids, rows }: Pick<ForwardInput<never>, "ids" | "rows">,
  body: (tokens: Tensor) => Promise<R>,
): Promise<R> {
  checkTokens(ids, model);
  const tokens = keep(tensor(deviceOf(parameters), ids, [rows, ids.length / rows], "i32"));
  try {
    return await body(tokens);
  } finally {
    tokens.dispose();
  }
}

/** Tokens from ... to - 1 of each sequence as rows of one array. */
export function cut(sequences: readonly (Tokens | TokenSource)[], from: number, to: number): Int32Array {
  const width = to - from;
  const rows = new Int32Array(sequences.length * width);
  sequences.forEach((sequence, row) => readTokens(sequence, from, rows.subarray(row * width, (row + 1) * width)));
  return rows;
}

/** Groups of at most `size`, in order. Throws `E_ARGUMENT` for a size that would give none, which looks like a loss of 0. */
export function groups<T>(items: readonly T[], size: number): T[][] {
  checkWhole("sequences side by side (batch)", size);
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) => items.slice(i * size, (i + 1) * size));
}

export function checkSequences(sequences: readonly (Tokens | TokenSource)[], needed: number): void {
  check(sequences.length > 0, "E_TEXT", () => "no sequences were given to measure on");
  sequences.forEach((sequence, i) => check(sequence.length >= needed, "E_TEXT", () =>
    `sequence ${i} has ${sequence.length} tokens, but ${needed} are needed`));
}

export function checkSignal(signal: AbortSignal | undefined): void {
  check(!signal?.aborted, "E_INTERRUPTED", () => "the measure was interrupted");
}

/** Throws `E_ARGUMENT` for an id that is none of the model's tokens. */
export function checkTokens(ids: Int32Array, { vocabulary }: Pick<SequenceModel, "vocabulary">): void {
  for (const id of ids) check(id >= 0 && id < vocabulary, "E_ARGUMENT",
    () => `token ${id} is outside the vocabulary 0 ... ${vocabulary - 1}`);
}

function checkFinite(losses: TypedArray, from: number, to: number): void {
  check(losses.every((loss) => Number.isFinite(loss)), "E_NOT_FINITE", () => {
    const width = to - from;
    const bad = losses.findIndex((loss) => !Number.isFinite(loss));
    return `the loss at position ${from + 1 + (bad % width)} of row ${Math.floor(bad / width)} is ${losses[bad]}`;
  });
}
