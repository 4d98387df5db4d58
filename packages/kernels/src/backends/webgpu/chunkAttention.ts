/**
 * Chunk cross-attention: two dispatches forward, four for the gradient, one of them a plan of what the blocks retrieve. Keys and
 * values are read where they lie. What can't be bound at once is cut into sequences; where one sequence is too large, into ranges of
 * queries and ranges of chunks: each range of chunks adds what its slots contribute.
 */
import type { chunkAttentionKernels, ChunkAttentionSizes } from "../../ops/chunkAttention";
import type { ArgumentsOf, KernelsOf } from "../../signature";
import { Tensor } from "../../tensor";
import { chunkAttentionPlan, PLAN_SLOTS, planStride } from "./chunkAttentionPlan";
import {
  chunkAttentionForward, chunkAttentionKeys, chunkAttentionQueries, chunkAttentionWeights, rowGroups,
} from "./chunkAttentionShaders";
import { type Launcher, type Part, part, type RowRange, rowParts } from "./launcher";

type Inputs = Omit<ArgumentsOf<typeof chunkAttentionKernels.chunkAttention>, "out" | "recording">;

/** What is bound together: some sequences whole, or a range of one's queries with a range of its chunks. */
interface Cut {
  readonly sequences: RowRange;
  readonly queries: RowRange;
  readonly chunks: RowRange;
}

/** The plan of all sequences, [B, stride]. */
function planOf(gpu: Launcher,
  { q, indices, weights, offsets, lengths, batch, queries, chunks, chunkSize, blocks, slots }: Inputs): Tensor {
  const stride = planStride(blocks, slots);
  const plan = Tensor.empty(q.device, [batch, stride], "i32");
  const pieces = Math.ceil((blocks * slots) / PLAN_SLOTS);
  gpu.run(
    // Something must be bound where there are no lengths.
    chunkAttentionPlan, { indices, weights, offsets, lengths: lengths ?? part(q, 0, 1), plan },
    { queries, chunks, chunkSize, blocks, slots, pieces, stride, limited: Number(lengths !== null) }, batch * pieces,
  );
  return plan;
}

/** Ranges of sequences; where one can't be bound, of its queries, and within each of those of its chunks. */
function cutsOf(gpu: Launcher, { batch, queries, heads, headSize, slots, chunks, chunkSize, keyHeads }: ChunkAttentionSizes): Cut[][] {
  const query = heads * Math.max(headSize, 2 * slots);
  const chunk = chunkSize * keyHeads * headSize;
  if (Math.max(queries * query, chunks * chunk) * 4 <= gpu.maxBinding) {
    const whole = { queries: { start: 0, count: queries }, chunks: { start: 0, count: chunks } };
    return rowParts(batch, [queries * query, chunks * chunk], gpu.maxBinding).map((sequences) => [{ ...whole, sequences }]);
  }
  const [queryParts, chunkParts] = [rowParts(queries, [query], gpu.maxBinding), rowParts(chunks, [chunk], gpu.maxBinding)];
  return Array.from({ length: batch }, (_, start) => ({ start, count: 1 })).flatMap((sequences) =>
    queryParts.map((queryPart) => chunkParts.map((chunkPart) => ({ sequences, queries: queryPart, chunks: chunkPart }))));
}

/** How tensors are bound for a cut, and the numbers that go with it. */
function bound(args: Inputs, plan: Tensor, { sequences, queries, chunks }: Cut) {
  const { heads, keyHeads, headSize, chunkSize, slots, blocks, offByOne, scale } = args;
  const of = (t: Tensor, perRow: number, rows: number, range: RowRange): Part =>
    part(t, (sequences.start * rows + range.start) * perRow, sequences.count * range.count * perRow);
  const stride = planStride(blocks, slots);
  return {
    queries: (t: Tensor) => of(t, heads * headSize, args.queries, queries),
    chunks: (t: Tensor) => of(t, chunkSize * keyHeads * headSize, args.chunks, chunks),
    logSums: (t: Tensor) => of(t, heads * slots, args.queries, queries),
    weights: (t: Tensor) => part(t, sequences.start * blocks * slots, sequences.count * blocks * slots),
    plan: part(plan, sequences.start * stride, sequences.count * stride),
    params: {
      queries: queries.count, first_query: queries.start, heads, keyHeads, share: heads / keyHeads, headSize, chunks: chunks.count,
      first_chunk: chunks.start, chunkSize, blocks, slots, stride, offByOne: Number(offByOne), scale,
    },
    rowGroups: rowGroups(sequences.count, queries.count, args),
    chunkGroups: sequences.count * chunks.count * Math.ceil(chunkSize / 64) * keyHeads * Math.ceil(headSize / 64),
  };
}

export const chunkAttention = (gpu: Launcher): KernelsOf<typeof chunkAttentionKernels> => ({
  chunkAttention({ out, ...args }) {
    const { q, keys, values, batch, queries, heads, slots, headSize } = args;
    using plan = planOf(gpu, args);
    const logSums = Tensor.empty(q.device, [batch, queries, heads, slots]);
    const kernel = chunkAttentionForward(headSize % 4 === 0);
    for (const cuts of cutsOf(gpu, args)) {
      for (const cut of cuts) {
        const to = bound(args, plan, cut);
        gpu.run(
          kernel, { q: to.queries(q), keys: to.chunks(keys), values: to.chunks(values), plan: to.plan, out: to.queries(out),
            logSums: to.logSums(logSums) },
          { ...to.params, onto: Number(cut.chunks.start > 0) }, to.rowGroups,
        );
      }
    }
    return { logSums };
  },

  chunkAttentionGradient({ saved: { logSums }, dout, dq: dqWanted, dkeys: dkeysWanted, dvalues: dvaluesWanted, dweights, ...args }) {
    const { q, keys, values, heads, slots, headSize, blocks } = args;
    using plan = planOf(gpu, args);
    // What nobody wants is written all the same.
    const like = (t: Tensor) => Tensor.empty(t.device, t.shape);
    using dqUnread = dqWanted ? null : like(q);
    const dq = dqWanted ?? dqUnread!;
    const ofKeys = dkeysWanted !== null || dvaluesWanted !== null;
    using dkeysUnread = ofKeys && !dkeysWanted ? like(keys) : null;
    using dvaluesUnread = ofKeys && !dvaluesWanted ? like(values) : null;
    const [dkeys, dvalues] = [dkeysWanted ?? dkeysUnread, dvaluesWanted ?? dvaluesUnread];
    const quads = headSize % 4 === 0;
    for (const cuts of cutsOf(gpu, args)) {
      const { sequences, queries } = cuts[0]!;
      using stats = Tensor.empty(q.device, [sequences.count, queries.count, heads, slots, 2]);
      for (const cut of cuts) {
        const to = bound(args, plan, cut);
        const memory = { keys: to.chunks(keys), values: to.chunks(values), plan: to.plan };
        gpu.run(
          chunkAttentionQueries(quads),
          { ...memory, q: to.queries(q), dout: to.queries(dout), logSums: to.logSums(logSums), dq: to.queries(dq), stats },
          { ...to.params, onto: Number(cut.chunks.start > 0) }, to.rowGroups,
        );
      }
      if (dweights) {
        const to = bound(args, plan, cuts[0]!);
        gpu.run(
          chunkAttentionWeights, { plan: to.plan, stats, dweights: to.weights(dweights) },
          { ...to.params, onto: Number(queries.start > 0) }, sequences.count * blocks * slots,
        );
      }
      if (!dkeys || !dvalues) continue;
      for (const cut of cuts) {
        const to = bound(args, plan, cut);
        gpu.run(
          chunkAttentionKeys(quads),
          {
            q: to.queries(q), dout: to.queries(dout), keys: to.chunks(keys), values: to.chunks(values), plan: to.plan, stats,
            dkeys: to.chunks(dkeys), dvalues: to.chunks(dvalues),
          },
          { ...to.params, onto: Number(queries.start > 0) }, to.chunkGroups,
        );
      }
    }
  },
});
