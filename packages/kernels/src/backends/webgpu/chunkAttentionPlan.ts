/** The plan of chunk cross-attention: where blocks begin and end, and what their slots hold, checked and in one place. */
import { program } from "./program";

const PLAN_LANES = 256;
/** Slots that a group of the plan looks at. */
export const PLAN_SLOTS = 1024;

/** Numbers of a sequence's plan: the blocks' edges, then three a slot. Whole 256 bytes, so that it can be bound from any sequence on. */
export const planStride = (blocks: number, slots: number): number => Math.ceil((blocks + 3 + 3 * blocks * slots) / 64) * 64;

/**
 * Of each sequence: 0, the offsets (0 ... T, ascending), T; so that edges i and i + 1 are those of block i - 1, and the queries before the
 * first and after the last block are blocks of their own. Then of each slot its chunk, or none, its weight and its length. Groups:
 * sequences × pieces of slots; the first piece also makes the edges.
 */
export const chunkAttentionPlan = program({
  name: "chunkAttentionPlan",
  reads: { indices: "i32", weights: "u32", offsets: "i32", lengths: "i32" },
  writes: { plan: "u32" },
  params: { queries: "i32", chunks: "i32", chunkSize: "i32", blocks: "u32", slots: "u32", pieces: "u32", stride: "u32", limited: "u32" },
  workgroup: PLAN_LANES,
  code: `
var<workgroup> largest: array<i32, ${PLAN_LANES}>;
fn offset_of(batch: u32, i: u32) -> i32 { return clamp(offsets[batch * (params.blocks + 1u) + i], 0, params.queries); }
fn run(group: u32, lane: u32) {
  let batch = group / params.pieces;
  let piece = group % params.pieces;
  let base = batch * params.stride;
  if (piece == 0u) {
    // A lane has neighbouring offsets, which are no less than the largest of all lanes before.
    let count = params.blocks + 1u;
    let each = (count + ${PLAN_LANES - 1}u) / ${PLAN_LANES}u;
    let end = min((lane + 1u) * each, count);
    var most = 0;
    for (var i = lane * each; i < end; i++) { most = max(most, offset_of(batch, i)); }
    largest[lane] = most;
    workgroupBarrier();
    most = 0;
    for (var i = 0u; i < lane; i++) { most = max(most, largest[i]); }
    for (var i = lane * each; i < end; i++) {
      most = max(most, offset_of(batch, i));
      plan[base + 1u + i] = u32(most);
    }
    if (lane == 0u) {
      plan[base] = 0u;
      plan[base + count + 1u] = u32(params.queries);
    }
  }
  let all = params.blocks * params.slots;
  for (var slot = piece * ${PLAN_SLOTS}u + lane; slot < min((piece + 1u) * ${PLAN_SLOTS}u, all); slot += ${PLAN_LANES}u) {
    let chunk = indices[batch * all + slot];
    var length = 0;
    if (chunk >= 0 && chunk < params.chunks) {
      length = params.chunkSize;
      if (params.limited != 0u) { length = clamp(lengths[batch * u32(params.chunks) + u32(chunk)], 0, params.chunkSize); }
    }
    let to = base + params.blocks + 3u + 3u * slot;
    plan[to] = select(0xffffffffu, u32(chunk), length > 0);
    plan[to + 1u] = weights[batch * all + slot];
    plan[to + 2u] = u32(length);
  }
}`,
});
