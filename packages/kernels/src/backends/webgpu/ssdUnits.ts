/** How a scan that is too large to be bound at once is cut: into batch rows, and where one is too large, along the steps. */
import { check } from "../../errors";
import type { SsdSizes } from "../../ops/ssd";
import { rowParts } from "./launcher";
import { recordQuads } from "./ssdGradient";
import { CHUNK } from "./ssdTile";

/** Some rows of the batch with all steps, or some chunks of one row. */
export interface Unit {
  readonly row: number;
  readonly rows: number;
  /** First step. */
  readonly step: number;
  readonly time: number;
  readonly chunks: number;
  /** Whether it ends its row. */
  readonly last: boolean;
}

/** Temporaries (a state per chunk, mostly) have at most so many bytes, unless a single row needs more. */
const MOST_TEMPORARY = 1 << 28;

/** Chunks of 64 steps. */
export const chunksOf = (time: number): number => Math.ceil(time / CHUNK);

/** Elements of a square [64,64]. */
export const SQUARE = CHUNK * CHUNK;

/**
 * The units in the order of the scan; the same for forward and gradient. Throws `E_MEMORY` when even one chunk is too large.
 */
export function unitsOf({ batch, time, heads, headSize, groups, stateSize }: SsdSizes, maxBinding: number): Unit[] {
  const limit = Math.min(maxBinding, MOST_TEMPORARY);
  const perChunk = {
    x: CHUNK * heads * headSize,
    b: CHUNK * groups * stateSize,
    state: heads * headSize * stateSize,
    // Scores and their gradient, whose parts are at most as many as fit.
    work: 4 * heads * recordQuads(headSize, stateSize) + 2 * groups * SQUARE,
  };
  const chunks = chunksOf(time);
  const widest = Math.max(...Object.values(perChunk));
  if (widest * chunks * 4 <= limit) {
    return rowParts(batch, [widest * chunks], limit).map(({ start, count }) =>
      ({ row: start, rows: count, step: 0, time, chunks, last: true }));
  }
  // What a chunk needs may be over the limit on temporaries, but not over what can be bound.
  const most = Math.max(Math.floor(limit / 4 / widest), Math.min(1, Math.floor(maxBinding / 4 / widest)));
  check(most >= 1, "E_MEMORY", () => {
    const [name] = Object.entries(perChunk).find(([, width]) => width === widest)!;
    const what = { x: "x", b: "b", state: "the state", work: "the scores" }[name]!;
    return `webgpu: ssd: ${what} of ${CHUNK} steps (${heads} heads of ${headSize}, ${groups} groups, states of ${stateSize}) has ` +
      `${widest * 4} bytes, and this device binds at most ${maxBinding} at once; make the heads or the state smaller`;
  });
  const perRow = Math.ceil(chunks / most);
  return Array.from({ length: batch * perRow }, (_, i) => {
    const index = i % perRow;
    const step = index * most * CHUNK;
    const count = Math.min(most * CHUNK, time - step);
    return { row: Math.floor(i / perRow), rows: 1, step, time: count, chunks: chunksOf(count), last: index === perRow - 1 };
  });
}
