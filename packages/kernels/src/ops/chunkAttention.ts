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
import { kernelsOf } from "../kernels";
import { apply, checkTensors, like, type Op } from "../op";
import { showShape } from "../shape";
import type { ArgumentsOf, Family, SavedFor } from "../signature";
import type { Tensor } from "../tensor";
import { zeros } from "./memory";
import { checkMultiple, checkReal, checkScale, shapeCheck } from "./checks";
import type { memoryKernels } from "./memory";

/** T, Hq, Hk, D, M, S, C, K are the numbers `queries` to `slots`. */
const numbers = {
  batch: "size", queries: "size", heads: "size", keyHeads: "size", headSize: "size", chunks: "size", chunkSize: "size", blocks: "size",
  slots: "size", offByOne: "flag", scale: "real",
} as const;

/**
 * Contents of integer tensors are not trusted. An index outside of 0 ... chunks - 1 is that of an empty slot, whose weight is not read.
 * Each offset is clamped to 0 ... queries, and to no less than the one before; a length to 0 ... chunkSize, and all are that without
 * `lengths`. A chunk of length 0 is an empty slot wherever it is retrieved. Chunks that no slot names, and positions past a length, are
 * not read.
 */
const inputs = {
  q: "[batch,queries,heads,headSize]", keys: "[batch,chunks,chunkSize,keyHeads,headSize]",
  values: "[batch,chunks,chunkSize,keyHeads,headSize]",
  indices: "i32[batch,blocks,slots]", weights: "[batch,blocks,slots]", offsets: "i32[batch,blocks+1]", lengths: "i32[batch,chunks]?",
} as const;

/** log(e + Σ exp(z_s)) of each query, head and slot, in whatever order the backend likes. */
const logSums = "[batch,queries,heads,slots]";

/** B, T, M, C and K are at least 1. */
export const chunkAttentionKernels = {
  /** out is 0 for queries in no block. */
  chunkAttention: {
    numbers,
    reads: inputs,
    writes: { out: "[batch,queries,heads,headSize]" },
    saves: { logSums },
  },
  /** Gradients of the inputs; null where nobody wants one. */
  chunkAttentionGradient: {
    numbers,
    reads: { ...inputs, dout: "[batch,queries,heads,headSize]" },
    saved: { logSums },
    writes: {
      dq: "[batch,queries,heads,headSize]?", dkeys: "[batch,chunks,chunkSize,keyHeads,headSize]?",
      dvalues: "[batch,chunks,chunkSize,keyHeads,headSize]?",
      dweights: "[batch,blocks,slots]?",
    },
  },
} as const satisfies Family;

const kernels = kernelsOf<typeof chunkAttentionKernels & typeof memoryKernels>;

type Arguments = ArgumentsOf<typeof chunkAttentionKernels.chunkAttention>;
type ChunkAttentionAttributes = Pick<Arguments, "offByOne" | "scale">;
export type ChunkAttentionSizes = Omit<Pick<Arguments, keyof typeof numbers>, keyof ChunkAttentionAttributes>;
/** Tensors that the two kernels begin with. */
export type ChunkAttentionInputs = Pick<Arguments, keyof typeof inputs>;

function sizesOf({ q, keys, indices }: ChunkAttentionInputs): ChunkAttentionSizes {
  const [batch, queries, heads, headSize] = q.shape as [number, number, number, number];
  const [, chunks, chunkSize, keyHeads] = keys.shape as [number, number, number, number, number];
  const [, blocks, slots] = indices.shape as [number, number, number];
  return { batch, queries, heads, keyHeads, headSize, chunks, chunkSize, blocks, slots };
}

function checkChunkAttention(given: ChunkAttentionInputs, { scale }: ChunkAttentionAttributes): void {
  const { q, keys, values, indices, weights, offsets, lengths } = given;
  checkReal("chunkAttention", { q, keys, values, weights });
  for (const [name, t] of Object.entries({ indices, offsets, lengths })) {
    check(!t || t.dtype === "i32", "E_DTYPE", () => `chunkAttention: ${name} are ${t!.dtype}; they must be i32`);
  }
  check(q.shape.length === 4, "E_SHAPE", () => `chunkAttention: q ${showShape(q.shape)} must be [B,T,Hq,D]`);
  check(keys.shape.length === 5, "E_SHAPE", () => `chunkAttention: keys ${showShape(keys.shape)} must be [B,M,S,Hk,D]`);
  check(indices.shape.length === 3, "E_SHAPE", () => `chunkAttention: indices ${showShape(indices.shape)} must be [B,C,K]`);
  const { batch, heads, keyHeads, headSize, chunks, chunkSize, blocks, slots } = sizesOf(given);
  check(headSize >= 1 && chunkSize >= 1, "E_SHAPE", () =>
    `chunkAttention: head size ${headSize} (q ${showShape(q.shape)}) and chunk size ${chunkSize} (keys ${showShape(keys.shape)}) must `
      + "be at least 1");
  check(heads >= 1, "E_SHAPE", () => `chunkAttention: q ${showShape(q.shape)} must have at least one head`);
  checkMultiple("chunkAttention", heads, "heads", keyHeads, "heads of keys", { q, keys });
  const expect = shapeCheck("chunkAttention", { q, keys, indices });
  expect("keys", keys, [batch, chunks, chunkSize, keyHeads, headSize]);
  expect("values", values, keys.shape);
  expect("indices", indices, [batch, blocks, slots]);
  expect("weights", weights, indices.shape);
  expect("offsets", offsets, [batch, blocks + 1]);
  expect("lengths", lengths, [batch, chunks]);
  checkScale("chunkAttention", scale);
}

/** Whether no query can retrieve anything, by the sizes alone. */
const isEmpty = ({ batch, queries, chunks, blocks, slots }: ChunkAttentionSizes) => batch * queries * chunks * blocks * slots === 0;

const chunkAttentionOp: Op<ChunkAttentionInputs, { out: Tensor }, ChunkAttentionAttributes,
  SavedFor<typeof chunkAttentionKernels.chunkAttentionGradient>> = {
  name: "chunkAttention",
  optional: ["lengths"],
  outputs(given, attributes) {
    checkChunkAttention(given, attributes);
    const { shape, dtype } = given.q;
    return { out: { shape, dtype } };
  },
  forward(given, { out }, attributes, { recording }) {
    const all = sizesOf(given);
    if (!isEmpty(all)) return kernels(out).chunkAttention({ out, recording, ...given, ...all, ...attributes });
    if (out.size > 0) kernels(out).fill({ out, value: 0 });
    return {};
  },
  gradient({ inputs: given, saved, attributes, wanted }, { out: dout }) {
    const { q, keys, values, weights } = given;
    const all = sizesOf(given);
    const empty = isEmpty(all);
    const gradientOf = (t: Tensor, isWanted: boolean) => (!isWanted ? null : empty ? zeros(t.device, t.shape, t.dtype) : like(t));
    const [dq, dkeys, dvalues] = [gradientOf(q, wanted.q), gradientOf(keys, wanted.keys), gradientOf(values, wanted.values)];
    const dweights = gradientOf(weights, wanted.weights);
    if (!empty) kernels(q).chunkAttentionGradient({ saved, dout, dq, dkeys, dvalues, dweights, ...given, ...all, ...attributes });
    return { q: dq, keys: dkeys, values: dvalues, weights: dweights };
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
  checkTensors("chunkAttention", { q });
  const { offByOne = false, scale = (q.shape.at(-1) ?? 1) ** -0.5 } = options;
  return apply(chunkAttentionOp, { q, keys, values, indices, weights, offsets, lengths: lengths ?? null }, { offByOne, scale }).out;
}

/**
 * Floating-point operations (a multiply-add is two) of {@link chunkAttention} when every query is in a block and every slot
 * holds a full chunk, counting matrix products alone: two forward, five backward. What a benchmark divides by the measured time.
 */
export function chunkAttentionOperations(
  { batch, queries, heads, headSize, chunkSize, slots }: Pick<ChunkAttentionSizes,
  "batch" | "queries" | "heads" | "headSize" | "chunkSize" | "slots">,
): { forward: number; gradient: number } {
  const product = 2 * batch * queries * heads * slots * chunkSize * headSize;
  return { forward: 2 * product, gradient: 5 * product };
}
