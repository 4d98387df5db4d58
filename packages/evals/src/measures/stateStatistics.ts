/**
 * State statistics by position: mean, standard deviation and root mean square of the recurrent state's elements,
 * per layer and head, per layer, and pooled over all ("standard deviation of full state" in Buitrago Ruiz & Gu
 * 2025). A state whose spread goes on growing beyond the training length reaches states never trained on.
 *
 * Moments pool the elements of all sequences. Copies of recent inputs (a convolution's window) are left out.
 */
import {
  check, leaves, type Parameters, type SequenceModel, sizeOf, type StateLeaf, type Tokens, type TokenSource, type Tree, type TypedArray,
} from "@lenggen/kernels";
import { logPositions } from "../positions";
import { type Interval, meanInterval } from "../statistics";
import { checkSequences, DEFAULT_BATCH, groups, type RunOptions, stream } from "../stream";

/** Options of {@link stateStatistics}. */
export interface StateStatisticsOptions extends RunOptions {
  /** How far to go, in tokens. */
  readonly length: number;
  /** Positions (tokens read) per octave; 2 unless given. */
  readonly pointsPerOctave?: number;
}

/** Mean, standard deviation and root mean square of a set of elements. */
export interface Moments {
  readonly mean: number;
  readonly std: number;
  readonly rms: number;
}

/** What {@link stateStatistics} finds, by position. */
export interface StateStatistics {
  readonly length: number;
  readonly sequences: number;
  /** `leaf`: the path of the state's leaf, as a layer may have several. */
  readonly heads: readonly ({ readonly position: number; readonly layer: number; readonly leaf: string; readonly head: number }
    & Moments)[];
  readonly layers: readonly ({ readonly position: number; readonly layer: number } & Moments)[];
  /** `ci95` is the t-interval of the standard deviation over single sequences. */
  readonly pooled: readonly ({ readonly position: number; readonly ci95: Interval | null } & Moments)[];
}

/** Measures how widely the elements of a recurrent state spread, at log-spaced positions of a stream. */
export async function stateStatistics<State extends Tree>(
  model: SequenceModel<State>, parameters: Parameters, sequences: readonly (Tokens | TokenSource)[], options: StateStatisticsOptions,
): Promise<StateStatistics> {
  const { length, batch = DEFAULT_BATCH } = options;
  const positions = logPositions(length, options.pointsPerOctave);
  const recurrent = model.stateLeaves.filter((leaf) => leaf.kind === "recurrent");
  check(recurrent.length > 0, "E_ARGUMENT", () => `a model of family ${model.family} has no recurrent state to measure`);
  checkSequences(sequences, length);

  const tables = new Map(positions.map((position) => [position, { heads: new Map<string, HeadSums>(), perSequence: [] as number[] }]));
  let done = 0;
  for (const group of groups(sequences, batch)) {
    for await (const { start, end, state } of stream(model, parameters, group,
      { ...options, end: length, stops: positions, losses: false })) {
      const table = tables.get(end);
      if (table) {
        const single = group.map(() => new Sums());
        for (const leaf of recurrent) await addLeaf(table.heads, single, state, leaf);
        table.perSequence.push(...single.map((sums) => sums.moments().std));
      }
      options.onProgress?.((done += group.length * (end - start)), sequences.length * length);
    }
  }

  const at = [...tables].map(([position, { heads, perSequence }]) => ({ position, heads: [...heads.values()], perSequence }));
  return {
    length,
    sequences: sequences.length,
    heads: at.flatMap(({ position, heads }) => heads.map(({ sums, ...place }) => ({ position, ...place, ...sums.moments() }))),
    layers: at.flatMap(({ position, heads }) => [...new Set(heads.map((h) => h.layer))].map((layer) =>
      ({ position, layer, ...pool(heads.filter((h) => h.layer === layer)).moments() }))),
    pooled: at.map(({ position, heads, perSequence }) => ({ position, ...pool(heads).moments(), ci95: meanInterval(perSequence) })),
  };
}

/** Count, sum and sum of squares. States are O(1) numbers around 0, so that float64 sums lose nothing that shows. */
class Sums {
  #count = 0;
  #sum = 0;
  #squares = 0;

  add(values: TypedArray): void {
    for (const value of values) {
      this.#sum += value;
      this.#squares += value * value;
    }
    this.#count += values.length;
  }

  merge(other: Sums): this {
    this.#count += other.#count;
    this.#sum += other.#sum;
    this.#squares += other.#squares;
    return this;
  }

  moments(): Moments {
    const average = this.#sum / this.#count;
    const square = this.#squares / this.#count;
    return { mean: average, std: Math.sqrt(Math.max(0, square - average ** 2)), rms: Math.sqrt(square) };
  }
}

interface HeadSums {
  readonly layer: number;
  readonly leaf: string;
  readonly head: number;
  readonly sums: Sums;
}

function pool(heads: readonly HeadSums[]): Sums {
  return heads.reduce((all, { sums }) => all.merge(sums), new Sums());
}

/** Adds one leaf [B, ..., heads, ...] to its layer's heads and to each sequence's own sum. */
async function addLeaf(heads: Map<string, HeadSums>, single: readonly Sums[], state: Tree, leaf: StateLeaf): Promise<void> {
  const found = leaves(state).find(({ path }) => path === leaf.path)?.tensor;
  check(found, "E_ARGUMENT", () => `the state has no leaf ${leaf.path}`);
  const values = await found.read();
  const axis = leaf.headAxis;
  const count = axis === undefined ? 1 : found.shape[axis]!;
  const inner = axis === undefined ? values.length / single.length : sizeOf(found.shape.slice(axis + 1));
  const outer = axis === undefined ? 1 : sizeOf(found.shape.slice(1, axis));
  for (let row = 0, from = 0; row < single.length; row++) {
    for (let o = 0; o < outer; o++) {
      for (let head = 0; head < count; head++, from += inner) {
        const key = `${leaf.path} ${head}`;
        const entry = heads.get(key) ?? { layer: leaf.layer, leaf: leaf.path, head, sums: new Sums() };
        heads.set(key, entry);
        entry.sums.add(values.subarray(from, from + inner));
        single[row]!.add(values.subarray(from, from + inner));
      }
    }
  }
}
