import type { ChunkAttentionKernels, ChunkAttentionSizes } from "../../ops/chunkAttention";
import type { Launch } from "./launch";

interface Numbers extends ChunkAttentionSizes {
  readonly offByOne: boolean;
  readonly scale: number;
}

const numbers = ({ batch, queries, heads, keyHeads, headSize, chunks, chunkSize, blocks, slots, offByOne, scale }: Numbers) =>
  [batch, queries, heads, keyHeads, headSize, chunks, chunkSize, blocks, slots, Number(offByOne), scale];

export const chunkAttention = (launch: Launch): ChunkAttentionKernels => ({
  chunkAttention: ({ q, keys, values, indices, weights, offsets, lengths, out, logSums, ...rest }) =>
    launch("chunkAttention", [q, keys, values, indices, weights, offsets, lengths, out, logSums], numbers(rest)),
  chunkAttentionGradient: ({ q, keys, values, indices, weights, offsets, lengths, logSums, dout, dq, dkeys, dvalues, dweights, ...rest }) =>
    launch(
      "chunkAttentionGradient",
      [q, keys, values, indices, weights, offsets, lengths, logSums, dout, dq, dkeys, dvalues, dweights],
      numbers(rest),
    ),
});
