/** How the scan of Mamba-2 is cut where it is too large to be bound at once. */
import type { SsdSizes } from "../../ops/ssd";
import { cutScan, SQUARE, type Unit } from "./scanUnits";
import { recordQuads } from "./ssdGradient";
import { CHUNK } from "./ssdTile";

/** The units in the order of the scan. Throws `E_MEMORY` when even one chunk is too large. */
export function unitsOf({ batch, time, heads, headSize, groups, stateSize }: SsdSizes, maxBinding: number): Unit[] {
  const perChunk = {
    "x": CHUNK * heads * headSize,
    "b": CHUNK * groups * stateSize,
    "the state": heads * headSize * stateSize,
    // Scores and their gradient, whose parts are at most as many as fit.
    "the scores": 4 * heads * recordQuads(headSize, stateSize) + 2 * groups * SQUARE,
  };
  return cutScan({ batch, time }, perChunk, maxBinding, (what, bytes) =>
    `webgpu: ssd: ${what} of ${CHUNK} steps (${heads} heads of ${headSize}, ${groups} groups, states of ${stateSize}) has ` +
    `${bytes} bytes, and this device binds at most ${maxBinding} at once; make the heads or the state smaller`);
}
