/** What the figure draws: the loss by position after so many steps, as few numbers. */
import type { LossByPosition } from "@lenggen/evals";
import type { LENGTHS, Way } from "./plan";

/** Bits per byte in bins; bin i ends at position `ends[i]` of its training length's {@link Curves}. */
export interface Snapshot {
  readonly step: number;
  readonly bits: readonly number[];
  /** The same bytes with only the last half to whole training length before them. */
  readonly short: readonly number[];
}

/** One training length: the base, and what became of it, from first to last. */
export interface Curves {
  readonly ends: readonly number[];
  readonly base: readonly Snapshot[];
  readonly ways: Readonly<Partial<Record<Way, readonly Snapshot[]>>>;
}

/** `recorded.json`. */
export interface Recorded {
  readonly device: string;
  readonly command: string;
  readonly lengths: Readonly<Record<(typeof LENGTHS)[number], Curves>>;
}

const rounded = (value: number): number => Math.round(value * 1000) / 1000;

export function snapshotOf(result: Pick<LossByPosition, "bins">, step: number): Snapshot {
  return {
    step,
    bits: result.bins.map(({ bitsPerByte }) => rounded(bitsPerByte)),
    short: result.bins.map(({ referenceBitsPerByte }) => rounded(referenceBitsPerByte)),
  };
}

export const endsOf = (result: Pick<LossByPosition, "bins">): number[] => result.bins.map(({ to }) => to);

/** Mean over positions (from, to], both of which are ends. */
export function meanBetween(ends: readonly number[], values: readonly number[], from: number, to: number): number {
  let [sum, width] = [0, 0];
  ends.forEach((end, i) => {
    const begin = ends[i - 1] ?? 0;
    if (begin < from || end > to) return;
    sum += values[i]! * (end - begin);
    width += end - begin;
  });
  return sum / width;
}
