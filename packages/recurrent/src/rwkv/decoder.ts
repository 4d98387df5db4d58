/** What stands around the time and channel mixes of RWKV-6 and RWKV-7: embedding, norms, layers and head, with the authors' names. */
import { type Block, decoder, matrix, prefixed, type Specs, type StateParts, uniformInit } from "@lenggen/kernels/nn";
import { Depth, headGain, orthogonalInit } from "./init";
import { layerNormOf } from "./parts";

interface Sizes {
  readonly vocabulary: number;
  readonly width: number;
  readonly layers: number;
}

/** A decoder whose layers have these mixes, each made for the depth at which it stands. */
export function rwkvDecoder<PT extends Specs, ST extends StateParts, PC extends Specs, SC extends StateParts>(
  { vocabulary, width, layers }: Sizes, timeMix: (depth: Depth) => Block<PT, ST>, channelMix: (depth: Depth) => Block<PC, SC>,
) {
  const rows = [vocabulary, width] as const;
  return decoder({
    embedding: matrix("emb.weight", rows, uniformInit(1e-4)),
    inputNorm: layerNormOf("blocks.0.ln0", width),
    layers: Array.from({ length: layers }, (_, layer) => {
      const depth = new Depth(layer, layers);
      return {
        mixer: { norm: layerNormOf("ln1", width), block: prefixed("att", timeMix(depth)) },
        feedForward: { norm: layerNormOf("ln2", width), block: prefixed("ffn", channelMix(depth)) },
      };
    }),
    layerNames: "blocks",
    norm: layerNormOf("ln_out", width),
    head: matrix("head.weight", rows, orthogonalInit(headGain(vocabulary, width))),
    vocabulary,
    stateName: "layers",
  });
}
