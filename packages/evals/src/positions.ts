/** Log-spaced positions and bins over 1 ... length. */
import { check } from "@lenggen/kernels";
import { checkWhole } from "./checks";

/** Whole positions at 2^(k/perOctave), deduplicated, from 1 to `length`, which is always the last. */
export function logPositions(length: number, perOctave = 2): number[] {
  checkWhole("a length", length);
  check(perOctave > 0, "E_ARGUMENT", () => `points per octave must be above 0, not ${perOctave}`);
  const positions = new Set<number>();
  for (let k = 0; 2 ** (k / perOctave) < length; k++) positions.add(Math.round(2 ** (k / perOctave)));
  positions.delete(length);
  return [...positions, length];
}

/**
 * Upper edges of log-spaced bins (previous edge, edge]: those of {@link logPositions}, plus the `wanted` ones exactly. A
 * log-spaced edge less than half a bin away from a wanted one gives way, so that no sliver is left.
 */
export function binEdges(length: number, wanted: readonly number[] = [], perOctave = 2): number[] {
  const fixed = [...new Set([...wanted.filter((edge) => edge >= 1 && edge < length), length])];
  const half = 2 ** (0.499 / perOctave);
  const free = logPositions(length, perOctave).filter((edge) =>
    fixed.every((other) => Math.abs(other - edge) > 0 && Math.max(edge / other, other / edge) > half));
  return [...free, ...fixed].sort((a, b) => a - b);
}
