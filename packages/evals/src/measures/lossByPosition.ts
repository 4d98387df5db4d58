/**
 * Loss by position, with its short-context reference.
 *
 * Text differs from place to place, so that a loss at one position says little alone. The reference scores the
 * same tokens with only the last T/2 to T tokens of history (T = training length): windows of T tokens that
 * overlap by half, run from the zero state, of which the second half is scored (of the first window all). Up to
 * position T both sides have the same history. ratio = loss / reference: above 1, the long history hurts.
 *
 * Bins are (from, to] in positions (stream.ts says what a position is), two to the octave; T, each length L and
 * L/2 are edges too. Intervals are 95% t-intervals over the means of single sequences; that of the ratio
 * is paired. With one sequence they are null.
 */
import { check, type Parameters, readTokens, type SequenceModel, type Tokens, type TokenSource, type Tree } from "@lenggen/kernels";
import { checkWhole } from "../checks";
import { binEdges } from "../positions";
import { type Interval, mean, meanInterval, ratioInterval, quotient } from "../statistics";
import { checkSequences, checkSignal, DEFAULT_BATCH, DEFAULT_CHUNK, groups, type RunOptions, stream } from "../stream";

/** Options of {@link lossByPosition}. */
export interface LossByPositionOptions extends RunOptions {
  /** T, in tokens: the length that the model was trained on. At least 2. */
  readonly trainLength: number;
  /** Lengths to report, in tokens; the longest is how far the measure goes. Sequences need one token more. */
  readonly lengths: readonly number[];
  /** Bins per doubling of the position; 2 unless given. */
  readonly binsPerOctave?: number;
  /** Mean bytes in a token, for bits per byte of a subword model; 1 unless given (a byte model). */
  readonly bytesPerToken?: number;
  /** The bytes in each token, by id, in the place of their mean: bits per byte are then those of the very tokens that are scored. */
  readonly tokenBytes?: ArrayLike<number>;
}

/** Loss over a range of positions, beside its short-context reference. */
export interface LossRecord {
  /** Same as `to`: the last position of the bin. */
  readonly position: number;
  /** The bin is (from, to]. */
  readonly from: number;
  readonly to: number;
  /** Scored tokens, over all sequences. */
  readonly count: number;
  readonly bitsPerByte: number;
  readonly ci95: Interval | null;
  readonly referenceBitsPerByte: number;
  /** Of the loss to its reference; 1 where both are 0, as on a text that is known by heart. */
  readonly ratio: number;
  readonly ratioCi95: Interval | null;
  /** e to the mean loss in nats per token. */
  readonly perplexity: number;
}

/** What {@link lossByPosition} finds: bins, and means over the second half of each length. */
export interface LossByPosition {
  readonly trainLength: number;
  readonly sequences: number;
  readonly bins: readonly LossRecord[];
  /** For each length L asked for, in order: the mean over positions (L/2, L]. */
  readonly lengths: readonly LossRecord[];
}

/**
 * Measures the loss by position on several held-out sequences, beside that with a short context. Time grows with the longest
 * length; memory does not.
 */
export async function lossByPosition<State extends Tree>(
  model: SequenceModel<State>, parameters: Parameters, sequences: readonly (Tokens | TokenSource)[],
  options: LossByPositionOptions,
): Promise<LossByPosition> {
  const { trainLength, lengths, batch = DEFAULT_BATCH, chunk = DEFAULT_CHUNK, bytesPerToken = 1, tokenBytes } = options;
  checkWhole("loss by position: the training length", trainLength, 2);
  check(lengths.length > 0 && lengths.every((l) => Number.isInteger(l) && l >= 1), "E_ARGUMENT", () =>
    `loss by position: lengths must be whole numbers of at least 1, not ${lengths.join(", ")}`);
  check(Number.isFinite(bytesPerToken) && bytesPerToken > 0, "E_ARGUMENT", () =>
    `loss by position: bytesPerToken must be above 0, not ${bytesPerToken}`);
  const length = Math.max(...lengths);
  checkSequences(sequences, length + 1);
  const edges = binEdges(length, [trainLength, ...lengths, ...lengths.map((l) => Math.floor(l / 2))], options.binsPerOctave);
  const streamed = new Binned(edges, sequences.length);
  const reference = new Binned(edges, sequences.length);
  const windows = shortWindows(length, trainLength);

  const total = sequences.length * (length + windows.length * Math.min(trainLength, length));
  let done = 0;
  const progress = (tokens: number) => options.onProgress?.((done += tokens), total);

  const rows = sequences.map((tokens, row) => ({ tokens, row }));
  for (const group of groups(rows, batch)) {
    for await (const { start, end, losses } of stream(model, parameters, group.map((g) => g.tokens), { ...options, end: length })) {
      group.forEach(({ row }, i) => {
        for (let t = start; t < end; t++) streamed.add(row, t + 1, losses[i * (end - start) + t - start]!);
      });
      progress(group.length * (end - start));
    }
  }
  // As many windows side by side as the streaming pass has tokens in a chunk.
  const jobs = rows.flatMap(({ tokens, row }) => windows.map((window) => ({ tokens, row, window })));
  for (const group of groups(jobs, Math.max(1, Math.floor((batch * chunk) / trainLength)))) {
    checkSignal(options.signal);
    await scoreWindows(model, parameters, group, Math.min(trainLength, length), chunk, reference);
    progress(group.length * Math.min(trainLength, length));
  }

  const sizes = tokenBytes && sizesOf(sequences, length, tokenBytes, edges);
  const bytesOf = (from: number, to: number): number[] => sizes?.means(from, to) ?? sequences.map(() => bytesPerToken);
  const record = (from: number, to: number): LossRecord => summarize(streamed, reference, from, to, bytesOf(from, to));
  return {
    trainLength,
    sequences: sequences.length,
    bins: edges.map((to, i) => record(edges[i - 1] ?? 0, to)),
    lengths: lengths.map((l) => record(Math.floor(l / 2), l)),
  };
}

/** A run of `T` tokens from `start`, of which positions scoreFrom + 1 ... scoreTo are scored. */
interface Window {
  readonly start: number;
  readonly scoreFrom: number;
  readonly scoreTo: number;
}

/** The windows of the short-context reference: together they score each position of 1 ... length once. */
export function shortWindows(length: number, trainLength: number): Window[] {
  const hop = Math.floor(trainLength / 2);
  const windows: Window[] = [{ start: 0, scoreFrom: 0, scoreTo: Math.min(trainLength, length) }];
  for (let scored = trainLength; scored < length; scored += hop) {
    windows.push({ start: scored + hop - trainLength, scoreFrom: scored, scoreTo: Math.min(scored + hop, length) });
  }
  return windows;
}

async function scoreWindows<State extends Tree>(
  model: SequenceModel<State>, parameters: Parameters,
  jobs: readonly { tokens: Tokens | TokenSource; row: number; window: Window }[], width: number, chunk: number, into: Binned,
): Promise<void> {
  const windows = jobs.map(({ tokens, window: { start, scoreTo } }): TokenSource => ({
    length: width + 1,
    read(from, ids) {
      // What lies past the end is 0: nothing that is scored can see it.
      const there = Math.max(0, Math.min(ids.length, scoreTo + 1 - start - from));
      readTokens(tokens, start + from, ids.subarray(0, there));
      ids.fill(0, there);
    },
  }));
  for await (const { start: from, end: to, losses } of stream(model, parameters, windows, { end: width, chunk })) {
    jobs.forEach(({ row, window: { start, scoreFrom, scoreTo } }, i) => {
      for (let t = Math.max(start + from, scoreFrom); t < Math.min(start + to, scoreTo); t++) {
        into.add(row, t + 1, losses[i * (to - from) + t - start - from]!);
      }
    });
  }
}

/** The bytes in the tokens that are predicted at each position. */
function sizesOf(
  sequences: readonly (Tokens | TokenSource)[], length: number, tokenBytes: ArrayLike<number>, edges: readonly number[],
): Binned {
  const sizes = new Binned(edges, sequences.length);
  const piece = new Int32Array(Math.min(1 << 16, length));
  sequences.forEach((tokens, row) => {
    for (let at = 0; at < length; at += piece.length) {
      const ids = piece.subarray(0, Math.min(piece.length, length - at));
      readTokens(tokens, at + 1, ids);
      ids.forEach((id, i) => sizes.add(row, at + i + 1, tokenBytes[id] ?? 0));
    }
  });
  return sizes;
}

/** Sums by bin and sequence. */
class Binned {
  readonly #sums: Float64Array;
  #bin = 0;
  constructor(readonly edges: readonly number[], readonly sequences: number) {
    this.#sums = new Float64Array(edges.length * sequences);
  }

  add(sequence: number, position: number, value: number): void {
    // Positions come mostly in order: walk from the last bin that was hit.
    while (position > this.edges[this.#bin]!) this.#bin++;
    while (this.#bin > 0 && position <= this.edges[this.#bin - 1]!) this.#bin--;
    this.#sums[this.#bin * this.sequences + sequence]! += value;
  }

  /** Mean per sequence over positions (from, to], both of which are edges (or 0). */
  means(from: number, to: number): number[] {
    const sums = Array.from({ length: this.sequences }, () => 0);
    this.edges.forEach((edge, bin) => {
      if (edge > from && edge <= to) for (let s = 0; s < this.sequences; s++) sums[s]! += this.#sums[bin * this.sequences + s]!;
    });
    return sums.map((sum) => sum / (to - from));
  }
}

/** `bytes`: mean bytes in a token, for each sequence. */
function summarize(streamed: Binned, reference: Binned, from: number, to: number, bytes: readonly number[]): LossRecord {
  const nats = streamed.means(from, to);
  const bitsPerNat = bytes.map((size) => 1 / (Math.LN2 * size));
  const bits = nats.map((value, i) => value * bitsPerNat[i]!);
  const referenceBits = reference.means(from, to).map((value, i) => value * bitsPerNat[i]!);
  return {
    position: to,
    from,
    to,
    count: (to - from) * nats.length,
    bitsPerByte: mean(bits),
    ci95: meanInterval(bits),
    referenceBitsPerByte: mean(referenceBits),
    ratio: quotient(mean(bits), mean(referenceBits)),
    ratioCi95: ratioInterval(bits, referenceBits),
    perplexity: Math.exp(mean(nats)),
  };
}
