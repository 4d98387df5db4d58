/**
 * The chunk memory: landmarks, keys and values of all chunks so far. Landmarks stay on the device; keys and values do so too, or
 * live in a store (stored.ts).
 *
 * It only grows. Without a gradient new chunks are written into spare room behind the old ones, so that states of one stream share
 * their tensors and an append costs what is appended (when room runs out, a quarter more is made, where the device can in the same
 * place: of a long stream there are never two copies). Two states may go on from the same place: the second finds the room taken and
 * copies, unless all that stand further on have been disposed. With a gradient old and new chunks are joined as tensors.
 */
import { assignSlice, check, concat, extended, isRecorded, slice, Tensor, zeros } from "@lenggen/kernels";
import type { DrtConfig } from "./config";
import type { EncodedChunks } from "./encoder";
import { inEveryRow } from "./layout";

/** M chunks, with room for R >= M. */
export interface ChunkMemory {
  readonly [leaf: string]: Tensor;
  /** i32 [B,M]: tokens of each chunk. Its shape tells how many chunks there are. */
  readonly lengths: Tensor;
  /** [B,R,D]; rows M ... R - 1 hold anything. */
  readonly landmarks: Tensor;
  /** [B,R,S,Hk,Dh] as landmarks; without rows when keys and values live in a store. */
  readonly keys: Tensor;
  /** As keys. */
  readonly values: Tensor;
}

/** The memory with some chunks more; `tokens`: the length of each. */
export type Remember = (memory: ChunkMemory, chunks: EncodedChunks, tokens: readonly number[]) => ChunkMemory;

type Contents = "landmarks" | "keys" | "values";

/** Room that a memory starts with once something is written into it. */
const LEAST_ROOM = 16;

/**
 * The states that share a buffer, by their `lengths`: what is behind the longest of them that still lives is free. Tensors over one
 * buffer have one list. Hidden state: a copy of a buffer, or a state read from a file, is in no list, and its first append copies it.
 */
const sharing = new WeakMap<Tensor, Tensor[]>();

/** A memory of nothing. */
export function emptyMemory(c: DrtConfig, batch: number, like: { device: Tensor["device"]; dtype: Tensor["dtype"] }): ChunkMemory {
  const { device, dtype } = like;
  const heads = [batch, 0, c.chunk, c.kvHeads, c.headSize];
  return {
    lengths: zeros(device, [batch, 0], "i32"),
    landmarks: zeros(device, [batch, 0, c.width], dtype),
    keys: zeros(device, heads, dtype),
    values: zeros(device, heads, dtype),
  };
}

/** Number of chunks. */
export function chunksIn(memory: ChunkMemory): number {
  return memory.lengths.shape[1]!;
}

/** Everything stays on the device. */
export const rememberAll: Remember = (memory, chunks, tokens) => {
  const before = chunksIn(memory);
  if (isRecorded(chunks.landmarks, chunks.keys, chunks.values)) {
    const join = (name: Contents) => (before === 0 ? chunks[name] : concat([slice(memory[name], 1, 0, before), chunks[name]], 1));
    return { lengths: moreLengths(memory.lengths, tokens, false), landmarks: join("landmarks"), keys: join("keys"),
      values: join("values") };
  }
  // One answer for all, which share their states.
  const free = isFreeBehind(memory.landmarks, before);
  const lengths = moreLengths(memory.lengths, tokens, free);
  const append = (name: Contents) => appended(memory[name], chunks[name], before, free, lengths);
  return { lengths, landmarks: append("landmarks"), keys: append("keys"), values: append("values") };
};

/**
 * Keys and values are kept elsewhere. There a stream has one continuation only, and states behind a place that another goes on from
 * are refused: so its landmarks may be written over too, and asking many questions from one state costs no copies of them.
 */
export const rememberLandmarks: Remember = ({ lengths, landmarks, keys, values }, chunks, tokens) => {
  const free = sharing.has(landmarks);
  const after = moreLengths(lengths, tokens, free);
  return { lengths: after, landmarks: appended(landmarks, chunks.landmarks, lengths.shape[1]!, free, after), keys, values };
};

/** Whether a buffer of this memory holds nothing behind its first `count` chunks that any state still needs. */
function isFreeBehind(buffer: Tensor, count: number): boolean {
  // One that was not made here: nobody knows who needs it.
  return sharing.get(buffer)?.every((lengths) => lengths.disposed || lengths.shape[1]! <= count) ?? false;
}

/** `free`: whether what is behind the old lengths in their buffer may be written over. */
function moreLengths(lengths: Tensor, tokens: readonly number[], free: boolean): Tensor {
  const [batch, count] = lengths.shape as [number, number];
  const fresh = inEveryRow(lengths.device, tokens, batch);
  if (count === 0) return fresh;
  if (!free) return concat([lengths, fresh], 1);
  const longer = extended(lengths, 1, count + tokens.length);
  assignSlice(longer, fresh, 1, count);
  return longer;
}

/** Throws `E_ARGUMENT` for a memory whose keys and values are in a store. */
export function checkAllHere({ lengths, keys }: ChunkMemory): void {
  const count = lengths.shape[1]!;
  check(keys.shape[1]! >= count, "E_ARGUMENT", () =>
    `state: the keys and values of its ${count} chunks are in a store; go on by advance() with the model that withMemory() gave`);
}

/** What attention reads: rows of spare room count as empty chunks. */
export function readableRows({ lengths, keys, values }: ChunkMemory): { lengths: Tensor; keys: Tensor; values: Tensor } {
  const [batch, count] = lengths.shape as [number, number];
  const spare = keys.shape[1]! - count;
  return { keys, values, lengths: spare === 0 ? lengths : concat([lengths, zeros(lengths.device, [batch, spare], "i32")], 1) };
}

/**
 * Writes `fresh` behind the first `count` rows of axis 1: in place where `free` says that this may be. `state`: the lengths of the
 * memory that this makes.
 */
function appended(old: Tensor, fresh: Tensor, count: number, free: boolean, state: Tensor): Tensor {
  const total = count + fresh.shape[1]!;
  let target = old;
  if (!free || total > old.shape[1]!) {
    // Room is not filled with anything: what nobody has written takes no memory on most machines.
    const room = total <= LEAST_ROOM ? LEAST_ROOM : Math.max(total, Math.ceil(1.25 * count));
    target = free ? extended(old, 1, room) : Tensor.empty(old.device, old.shape.with(1, room), old.dtype);
    if (!free) assignSlice(target, old, 1, 0, count);
  }
  assignSlice(target, fresh, 1, count);
  const states = (target.buffer === old.buffer && sharing.get(old)) || [];
  // Without those that are gone: a long stream would leave one per pass.
  states.splice(0, Infinity, ...states.filter((lengths) => !lengths.disposed), state);
  sharing.set(target, states);
  return target;
}
