/**
 * Chunk cross-attention of Grouped Cross Attention (Hu et al. 2024, "Efficient length-generalizable attention via
 * causal retrieval", arXiv 2410.01651): queries attend to each of the chunks that were retrieved for their block on its
 * own, and the outputs are summed by the retrieval's weights. Chunks are named by index and read where they lie.
 *
 * For query t of head h, in block c (offsets[c] <= t < offsets[c+1]), with key head g = floor(h · Hk / Hq), slot k and
 * chunk m = indices[c,k], over the chunk's positions s < lengths[m]:
 *
 *   z_s = scale · q_t · key_{m,s}      p_s = exp(z_s) / (e + Σ exp(z_s))      e = 1 when offByOne, else 0
 *   O_k = Σ_s p_s value_{m,s}          o_t = Σ_k w_{c,k} O_k
 *
 * Gradient, with do_t that of o_t, and p_s again from the saved log(e + Σ exp(z_s)):
 *
 *   δ_k = do_t · O_k = Σ_s p_s (do_t · value_{m,s})      dw_{c,k} = Σ_{t,h} δ_k
 *   dz_s = w_{c,k} p_s (do_t · value_{m,s} - δ_k)        dq_t = scale · Σ_{k,s} dz_s key_{m,s}
 *   dkey_{m,s} = scale · Σ_{t,h} dz_s q_t                dvalue_{m,s} = Σ_{t,h} w_{c,k} p_s do_t
 *
 * The last two sum over all queries that retrieved m, in the order of blocks, slots and queries.
 *
 * Glossary: T queries, Hq heads, Hk key heads, D head size, M chunks in memory of S positions, C blocks of queries, K slots
 * (retrieved chunks) a block.
 */
import { check } from "../errors";
import { applyList, type ListOp, type OpInput } from "../opList";
import { sameShape, type Shape, showShape } from "../shape";
import { Tensor, zeros } from "../tensor";
import { checkReal } from "./checks";

export interface ChunkAttentionSizes {
  readonly batch: number;
  /** T */
  readonly queries: number;
  /** Hq */
  readonly heads: number;
  /** Hk */
  readonly keyHeads: number;
  /** D */
  readonly headSize: number;
  /** M */
  readonly chunks: number;
  /** S */
  readonly chunkSize: number;
  /** C */
  readonly blocks: number;
  /** K */
  readonly slots: number;
}

interface ChunkAttentionAttributes {
  readonly offByOne: boolean;
  readonly scale: number;
}

interface ChunkAttentionInputs {
  /** [B,T,Hq,D] */
  readonly q: Tensor;
  /** [B,M,S,Hk,D] */
  readonly keys: Tensor;
  /** [B,M,S,Hk,D] */
  readonly values: Tensor;
  /** i32 [B,C,K]; outside of 0 ... M - 1: an empty slot. */
  readonly indices: Tensor;
  /** [B,C,K]; that of an empty slot is not read. */
  readonly weights: Tensor;
  /** i32 [B,C+1]; each is clamped to 0 ... T, and to no less than the one before. */
  readonly offsets: Tensor;
  /** i32 [B,M], clamped to 0 ... S; null: all are S. A chunk of length 0 is an empty slot wherever it is retrieved. */
  readonly lengths: Tensor | null;
}

/** B, T, M, C and K are at least 1. Contents of integer tensors are not trusted; chunks that no slot names, and positions past a length, are not read. */
export interface ChunkAttentionKernels {
  /**
   * out [B,T,Hq,D], 0 for queries in no block. `logSums` holds log(e + Σ exp(z_s)) of each query, head and slot for the gradient,
   * B · T · Hq · K numbers in whatever order the backend likes; null when none will be asked for.
   */
  chunkAttention(args: ChunkAttentionInputs & ChunkAttentionSizes & ChunkAttentionAttributes & { out: Tensor; logSums: Tensor | null }): void;
  /** Gradients of the inputs, written whole; null where nobody wants one. */
  chunkAttentionGradient(args: ChunkAttentionInputs & ChunkAttentionSizes & ChunkAttentionAttributes & {
    logSums: Tensor; dout: Tensor; dq: Tensor | null; dkeys: Tensor | null; dvalues: Tensor | null; dweights: Tensor | null;
  }): void;
}

function named(inputs: readonly OpInput[]): ChunkAttentionInputs {
  const [q, keys, values, indices, weights, offsets, lengths] = inputs;
  return { q: q!, keys: keys!, values: values!, indices: indices!, weights: weights!, offsets: offsets!, lengths: lengths ?? null };
}

function sizesOf({ q, keys, indices }: ChunkAttentionInputs): ChunkAttentionSizes {
  const [batch, queries, heads, headSize] = q.shape as [number, number, number, number];
  const [, chunks, chunkSize, keyHeads] = keys.shape as [number, number, number, number, number];
  const [, blocks, slots] = indices.shape as [number, number, number];
  return { batch, queries, heads, keyHeads, headSize, chunks, chunkSize, blocks, slots };
}

function checkChunkAttention(inputs: ChunkAttentionInputs, { scale }: ChunkAttentionAttributes): void {
  const { q, keys, values, indices, weights, offsets, lengths } = inputs;
  checkReal("chunkAttention", { q, keys, values, weights });
  for (const [name, t] of Object.entries({ indices, offsets, lengths })) {
    check(!t || t.dtype === "i32", "E_DTYPE", () => `chunkAttention: ${name} are ${t!.dtype}; they must be i32`);
  }
  check(q.shape.length === 4, "E_SHAPE", () => `chunkAttention: q ${showShape(q.shape)} must be [B,T,Hq,D]`);
  check(keys.shape.length === 5, "E_SHAPE", () => `chunkAttention: keys ${showShape(keys.shape)} must be [B,M,S,Hk,D]`);
  check(indices.shape.length === 3, "E_SHAPE", () => `chunkAttention: indices ${showShape(indices.shape)} must be [B,C,K]`);
  const { batch, heads, keyHeads, headSize, chunks, chunkSize, blocks, slots } = sizesOf(inputs);
  check(headSize >= 1 && chunkSize >= 1, "E_SHAPE", () =>
    `chunkAttention: head size ${headSize} (q ${showShape(q.shape)}) and chunk size ${chunkSize} (keys ${showShape(keys.shape)}) must be at least 1`);
  check(keyHeads >= 1 && heads >= 1 && heads % keyHeads === 0, "E_SHAPE", () =>
    `chunkAttention: ${heads} heads (q ${showShape(q.shape)}) are not a multiple of ${keyHeads} key heads (keys ${showShape(keys.shape)})`);
  const expect = (name: string, t: Tensor | null, shape: Shape) => check(!t || sameShape(t.shape, shape), "E_SHAPE", () =>
    `chunkAttention: ${name} ${showShape(t!.shape)} must be ${showShape(shape)} for q ${showShape(q.shape)}, ` +
    `keys ${showShape(keys.shape)}, indices ${showShape(indices.shape)}`);
  expect("keys", keys, [batch, chunks, chunkSize, keyHeads, headSize]);
  expect("values", values, keys.shape);
  expect("indices", indices, [batch, blocks, slots]);
  expect("weights", weights, indices.shape);
  expect("offsets", offsets, [batch, blocks + 1]);
  expect("lengths", lengths, [batch, chunks]);
  check(Number.isFinite(scale), "E_ARGUMENT", () => `chunkAttention: scale ${scale} must be a finite number`);
}

/** Whether no query can retrieve anything, by the sizes alone. */
const isEmpty = ({ batch, queries, chunks, blocks, slots }: ChunkAttentionSizes) => batch * queries * chunks * blocks * slots === 0;

const chunkAttentionOp: ListOp<ChunkAttentionAttributes> = {
  name: "chunkAttention",
  outputs(inputs, attributes) {
    const { q, ...others } = named(inputs);
    checkChunkAttention({ q, ...others }, attributes);
    return [{ shape: q.shape, dtype: q.dtype }];
  },
  forward(inputs, [out], attributes, { recording, saved }) {
    const sizes = sizesOf(named(inputs));
    const { device, dtype } = out!;
    if (isEmpty(sizes)) {
      if (out!.size > 0) device.kernels.fill({ out: out!, value: 0 });
      return;
    }
    const { batch, queries, heads, slots } = sizes;
    const logSums = recording ? Tensor.empty(device, [batch, queries, heads, slots], dtype) : null;
    if (logSums) saved.push(logSums);
    device.kernels.chunkAttention({ out: out!, logSums, ...named(inputs), ...sizes, ...attributes });
  },
  gradient({ inputs, saved: [logSums], attributes, wanted }, [dout]) {
    const given = named(inputs);
    const sizes = sizesOf(given);
    const empty = isEmpty(sizes);
    const gradients = inputs.map((t, i) => {
      if (!wanted[i] || t!.dtype === "i32") return null;
      return empty ? zeros(t!.device, t!.shape, t!.dtype) : Tensor.empty(t!.device, t!.shape, t!.dtype);
    });
    const [dq, dkeys, dvalues, , dweights] = gradients;
    if (!empty) {
      given.q.device.kernels.chunkAttentionGradient({
        logSums: logSums!, dout: dout!, dq: dq!, dkeys: dkeys!, dvalues: dvalues!, dweights: dweights!, ...given, ...sizes, ...attributes,
      });
    }
    return gradients;
  },
};

/**
 * Attention of blocks of queries to chunks of a memory, fused with the sum over chunks (Hu et al. 2024, arXiv 2410.01651):
 * q [B,T,Hq,D], keys and values [B,M,S,Hk,D] with Hq a multiple of Hk, indices i32 [B,C,K] and weights [B,C,K] of the chunks that each
 * block retrieves, offsets i32 [B,C+1] where blocks of queries begin and end, lengths i32 [B,M] of the chunks (null: all S) -> [B,T,Hq,D]:
 * o_t = Σ_k w_k · softmax(scale · q_t keysᵀ) values over chunk k of t's block. Differentiable in q, keys, values and weights.
 *
 * An index outside of 0 ... M - 1 and a chunk of length 0 contribute exactly nothing, and their weights get the gradient 0;
 * queries in no block get exactly 0, and have the gradient 0. Offsets are clamped to 0 ... T and to ascend. A chunk may be
 * retrieved any number of times, also by one block. Memory that is not retrieved is never read, and may hold rubbish.
 *
 * `offByOne` adds exp(0) to the softmax's denominator: a key of score 0 and value 0. `scale` is 1/√D unless given.
 * Throws `E_SHAPE`, `E_DTYPE` (q, keys, values and weights share one float type, the others are i32) and `E_ARGUMENT` (scale).
 */
export function chunkAttention(
  inputs: { q: Tensor; keys: Tensor; values: Tensor; indices: Tensor; weights: Tensor; offsets: Tensor; lengths?: Tensor | null },
  options: { offByOne?: boolean; scale?: number } = {},
): Tensor {
  const { q, keys, values, indices, weights, offsets, lengths } = inputs;
  const { offByOne = false, scale = (q.shape.at(-1) ?? 1) ** -0.5 } = options;
  return applyList(chunkAttentionOp, [q, keys, values, indices, weights, offsets, lengths ?? null], { offByOne, scale })[0]!;
}

/**
 * Floating-point operations (a multiply-add is two) of {@link chunkAttention} when every query is in a block and every slot
 * holds a full chunk, counting matrix products alone: two forward, five backward. What a benchmark divides by the measured time.
 */
export function chunkAttentionOperations(
  { batch, queries, heads, headSize, chunkSize, slots }: Pick<ChunkAttentionSizes, "batch" | "queries" | "heads" | "headSize" | "chunkSize" | "slots">,
): { forward: number; gradient: number } {
  const product = 2 * batch * queries * heads * slots * chunkSize * headSize;
  return { forward: 2 * product, gradient: 5 * product };
}
