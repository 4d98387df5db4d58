import type { AttentionKernels, AttentionSizes } from "../../ops/attention";
import type { Launch } from "./launch";

const numbers = ({ batch, steps, keys, heads, keyHeads, headSize, causal, window, scale }: AttentionSizes) =>
  [batch, steps, keys, heads, keyHeads, headSize, Number(causal), window, scale];

export const attention = (launch: Launch): AttentionKernels => ({
  attention: ({ q, k, v, slopes, lengths, out, lse, ...sizes }) => launch("attention", [q, k, v, slopes, lengths, out, lse], numbers(sizes)),
  attentionGradient: ({ q, k, v, slopes, lengths, out, lse, dout, dq, dk, dv, ...sizes }) =>
    launch("attentionGradient", [q, k, v, slopes, lengths, out, lse, dout, dq, dk, dv], numbers(sizes)),
});
