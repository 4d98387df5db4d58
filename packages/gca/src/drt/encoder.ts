/**
 * The chunk encoder: what a chunk leaves in the memory. It sees the chunk both ways, with positions inside the chunk alone, so
 * that a memory is the same wherever in the stream it was made:
 *
 *   [l_c ; E_c] = Encoder(RMSNorm(H_c)),   K_c = E_c W_K,   V_c = E_c W_V
 *
 * The landmark stands first in the encoder, the tokens after it: the encoder has no direction, and a short chunk's
 * landmark is then as near to its tokens as a full one's. Short chunks are filled up with places that nobody sees.
 */
import {
  addRmsNorm, attention, concat, linear, reshape, rmsNorm, rope, scopeUnlessRecording, slice, type Tensor, zeros,
} from "@lenggen/kernels";
import { mergeHeads, projectHeads, runSubLayer, type Stream } from "@lenggen/kernels/nn";
import type { DecoderLayer } from "../layer/layer";
import type { DrtConfig } from "./config";
import { inEveryRow, joined, type Layout, type RunParts } from "./layout";
import type { DrtParameters, LayerParameters } from "./parts";

/** What some chunks, side by side, leave in the memory. */
export interface EncodedChunks {
  /** [B,C,D] */
  readonly landmarks: Tensor;
  /** [B,C,S,Hk,Dh] */
  readonly keys: Tensor;
  /** As keys. */
  readonly values: Tensor;
}

/**
 * Encodes the chunks that a pass completes, from the hidden states H of the lower layers; null when it completes none.
 * `pending` [B,r,D]: hidden states of the running chunk's tokens from earlier passes.
 */
export function encodeChunks(
  layer: DecoderLayer, c: DrtConfig, p: DrtParameters, layout: Layout, parts: readonly RunParts[], pending: Tensor,
): EncodedChunks | null {
  if (layout.closed.length === 0) return null;
  const chunks = joined(parts.filter(({ run }) => run.closed).map((part) => padded(c, part, pending))); // [B,C,S+1,D]
  const [batch, count, slots, width] = chunks.shape as [number, number, number, number];
  const lengths = layout.closed.every((tokens) => tokens === c.chunk) ? null
    : reshape(inEveryRow(chunks.device, layout.closed.map((tokens) => tokens + 1), batch), [batch * count]);

  const { encoder } = p;
  let stream: Stream = { branch: rmsNorm(reshape(chunks, [batch * count, slots, width]), encoder.inputNorm.weight, { eps: c.normEps }),
    residual: null };
  for (const own of encoder.layers) stream = encoderLayer(layer, c, own, stream, lengths);
  const encoded = addRmsNorm(stream.branch, stream.residual, encoder.norm.weight, { eps: c.normEps }).normed;
  const tokens = slice(encoded, 1, 1); // [B·C,S,D]
  const heads = [batch, count, c.chunk, c.kvHeads, c.headSize];
  return {
    landmarks: reshape(slice(encoded, 1, 0, 1), [batch, count, width]),
    keys: reshape(linear(tokens, p.memory.keys), heads),
    values: reshape(linear(tokens, p.memory.values), heads),
  };
}

/** A decoder's layer whose attention sees both ways. */
function encoderLayer({ feedForward }: DecoderLayer, c: DrtConfig, p: LayerParameters, { branch, residual }: Stream,
  lengths: Tensor | null): Stream {
  return scopeUnlessRecording(() => {
    const first = addRmsNorm(branch, residual, p.mixer.norm.weight, { eps: c.normEps });
    const { q, k, v } = projectHeads(c, p.mixer.block, first.normed);
    const turn = { theta: c.ropeTheta };
    const attended = attention({ q: rope(q, turn), k: rope(k, turn), v, lengths }, { causal: false });
    return runSubLayer(feedForward, p.feedForward, { branch: mergeHeads(p.mixer.block.out, attended), residual: first.residual }).stream;
  });
}

/** The chunks of one run with the landmark first: [B,pieces,S+1,D]. */
function padded(c: DrtConfig, { run, tokens, landmarks }: RunParts, pending: Tensor): Tensor {
  const [batch, pieces, , width] = landmarks!.shape as [number, number, number, number];
  const slots = [landmarks!];
  if (run.pending > 0) slots.push(reshape(pending, [batch, 1, run.pending, width]));
  if (tokens) slots.push(tokens);
  const missing = c.chunk - run.pending - run.tokens;
  if (missing > 0) slots.push(zeros(landmarks!.device, [batch, pieces, missing, width], landmarks!.dtype));
  return concat(slots, 2);
}

/** Hidden states of the running chunk's tokens after this pass: [B,r,D]. */
export function pendingAfter(layout: Layout, parts: readonly RunParts[], before: Tensor): Tensor {
  const open = parts.at(-1);
  const [batch, , width] = before.shape as [number, number, number];
  if (layout.pending === 0 || !open || open.run.closed) return zeros(before.device, [batch, 0, width], before.dtype);
  const fresh = reshape(open.tokens!, [batch, open.run.tokens, width]);
  return open.run.pending === 0 ? fresh : concat([before, fresh], 1);
}
