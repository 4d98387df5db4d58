/**
 * The chunk memory on the device: landmarks, keys and values of all chunks so far.
 *
 * It only grows. Without a gradient new chunks are written into spare room behind the old ones, so that states of one stream share
 * their tensors and an append costs what is appended (room doubles when it runs out). Two states may go on from the same place: the
 * second finds the room taken and copies. With a gradient old and new chunks are joined as tensors.
 */
import { assignSlice, concat, isRecorded, slice, tensor, type Tensor, zeros } from "@lenggen/kernels";
import type { DrtConfig } from "./config";
import type { EncodedChunks } from "./encoder";

/** M chunks, with room for R >= M. */
export interface ChunkMemory {
  readonly [leaf: string]: Tensor;
  /** i32 [B,M]: tokens of each chunk. Its shape tells how many chunks there are. */
  readonly lengths: Tensor;
  /** [B,R,D] */
  readonly landmarks: Tensor;
  /** [B,R,S,Hk,Dh] */
  readonly keys: Tensor;
  /** As keys. */
  readonly values: Tensor;
}

const CONTENTS = ["landmarks", "keys", "values"] as const;
type Contents = (typeof CONTENTS)[number];

/** Room that a memory starts with once something is written into it. */
const LEAST_ROOM = 16;

/** How many chunks have been written into a buffer, by any state that shares it. */
const written = new WeakMap<Tensor, number>();

/** A memory of nothing. */
export function emptyMemory(c: DrtConfig, batch: number, like: { device: Tensor["device"]; dtype: Tensor["dtype"] }): ChunkMemory {
  const { device, dtype } = like;
  const heads = [batch, 0, c.chunk, c.keyHeads, c.headSize];
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

/** The memory with some chunks more; `tokens`: the length of each. */
export function remember(memory: ChunkMemory, chunks: EncodedChunks, tokens: readonly number[]): ChunkMemory {
  const [batch, count] = [memory.lengths.shape[0]!, tokens.length];
  const fresh = tensor(memory.lengths.device, Array.from({ length: batch * count }, (_, i) => tokens[i % count]!), [batch, count], "i32");
  const before = chunksIn(memory);
  const lengths = before === 0 ? fresh : concat([memory.lengths, fresh], 1);
  if (CONTENTS.some((name) => isRecorded(chunks[name]))) {
    const join = (name: Contents) => (before === 0 ? chunks[name] : concat([slice(memory[name], 1, 0, before), chunks[name]], 1));
    return { lengths, landmarks: join("landmarks"), keys: join("keys"), values: join("values") };
  }
  const append = (name: Contents) => appended(memory[name], chunks[name], before);
  return { lengths, landmarks: append("landmarks"), keys: append("keys"), values: append("values") };
}

/** What attention reads: rows of spare room count as empty chunks. */
export function readableRows({ lengths, keys, values }: ChunkMemory): { lengths: Tensor; keys: Tensor; values: Tensor } {
  const [batch, count] = lengths.shape as [number, number];
  const spare = keys.shape[1]! - count;
  return { keys, values, lengths: spare === 0 ? lengths : concat([lengths, zeros(lengths.device, [batch, spare], "i32")], 1) };
}

/** Writes `fresh` behind the first `count` rows of axis 1, in place where that room is free. */
function appended(old: Tensor, fresh: Tensor, count: number): Tensor {
  const total = count + fresh.shape[1]!;
  const room = old.shape[1]!;
  const free = written.get(old) === count && total <= room;
  const target = free ? old : zeros(old.device, old.shape.with(1, total <= LEAST_ROOM ? LEAST_ROOM : Math.max(total, 2 * count)), old.dtype);
  if (!free && count > 0) assignSlice(target, slice(old, 1, 0, count), 1, 0);
  assignSlice(target, fresh, 1, count);
  written.set(target, total);
  return target;
}
