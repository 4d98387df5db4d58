/**
 * A layer of the decoders, whose parameters the encoder's layers have too:
 *
 *   h += attention(RMSNorm(h)),   h += SwiGLU(RMSNorm(h))
 *
 * Matrices begin normal with deviation 1/√fan-in, those back into the residual stream divided by √(2·depth), norms at 1.
 */
import { fanInInit, rmsNormBlock, swiGlu, windowAttention, type WindowSettings } from "@lenggen/kernels/nn";
import type { LayerSettings } from "../settings";

const NAMES = { qkv: "attention.qkv.weight", out: "attention.out.weight" };

/** `depth`: layers that add to one stream. */
export function decoderLayer(s: LayerSettings, w: WindowSettings, depth: number) {
  return {
    mixer: { norm: rmsNormBlock("attention_norm", s.width, s.normEps), block: windowAttention(NAMES, s, w, depth) },
    feedForward: {
      norm: rmsNormBlock("mlp_norm", s.width, s.normEps),
      block: swiGlu({ in: "mlp.in.weight", out: "mlp.out.weight" }, {
        width: s.width, intermediateSize: s.intermediateSize, init: { in: fanInInit(s.width), out: fanInInit(s.intermediateSize, depth) },
      }),
    },
  };
}

/** The type of {@link decoderLayer}. */
export type DecoderLayer = ReturnType<typeof decoderLayer>;
