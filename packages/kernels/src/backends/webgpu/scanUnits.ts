/** How a scan by chunks that is too large to be bound at once is cut: into batch rows, and where one is too large, along the steps. */
import { check } from "../../errors";
import { rowParts } from "./launcher";
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
 * The units of a scan in its order; the same for forward and gradient. `perChunk`: elements that a chunk of one sequence has in each
 * tensor or group of them that is bound at once, by what they are called. Throws `E_MEMORY` when even one chunk is too large, with
 * what `refusal` makes of the largest one's name and bytes.
 */
export function cutScan({ batch, time }: { readonly batch: number; readonly time: number }, perChunk: Readonly<Record<string, number>>,
  maxBinding: number, refusal: (largest: string, bytes: number) => string): Unit[] {
  const limit = Math.min(maxBinding, MOST_TEMPORARY);
  const chunks = chunksOf(time);
  const widest = Math.max(...Object.values(perChunk));
  if (widest * chunks * 4 <= limit) {
    return rowParts(batch, [widest * chunks], limit).map(({ start, count }) =>
      ({ row: start, rows: count, step: 0, time, chunks, last: true }));
  }
  // What a chunk needs may be over the limit on temporaries, but not over what can be bound.
  const most = Math.max(Math.floor(limit / 4 / widest), Math.min(1, Math.floor(maxBinding / 4 / widest)));
  check(most >= 1, "E_MEMORY", () => refusal(Object.entries(perChunk).find(([, width]) => width === widest)![0], widest * 4));
  const perRow = Math.ceil(chunks / most);
  return Array.from({ length: batch * perRow }, (_, i) => {
    const index = i % perRow;
    const step = index * most * CHUNK;
    const count = Math.min(most * CHUNK, time - step);
    return { row: Math.floor(i / perRow), rows: 1, step, time: count, chunks: chunksOf(count), last: index === perRow - 1 };
  });
}
