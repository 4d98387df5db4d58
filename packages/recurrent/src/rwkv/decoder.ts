/** What stands around the time and channel mixes of RWKV-6 and RWKV-7: embedding, norms, layers and head, with their names in each layout. */
import {
  type Block, decoder, layerNormBlock, matrix, type Names, prefixed, type Specs, type StateParts, uniformInit,
} from "@lenggen/kernels/nn";
import { Depth, headGain, orthogonalInit } from "./init";
import type { RwkvNames } from "./layouts";

interface Sizes {
  readonly vocabulary: number;
  readonly width: number;
  readonly layers: number;
  readonly normEps: number;
}

/** A decoder whose layers have these mixes, each made for the depth at which it stands. */
export function rwkvDecoder<PT extends Specs, ST extends StateParts, PC extends Specs, SC extends StateParts>(
  { vocabulary, width, layers, normEps }: Sizes, names: RwkvNames, timeMix: (depth: Depth) => Block<PT, ST>,
  channelMix: (depth: Depth) => Block<PC, SC>,
) {
  const rows = [vocabulary, width] as const;
  const norm = (name: Names) => layerNormBlock(name, width, normEps);
  return decoder({
    embedding: matrix(names.embedding, rows, uniformInit(1e-4)),
    inputNorm: norm(names.inputNorm),
    layers: Array.from({ length: layers }, (_, layer) => {
      const depth = new Depth(layer, layers);
      return {
        mixer: { norm: norm(names.timeNorm), block: prefixed(names.timeMix, timeMix(depth)) },
        feedForward: { norm: norm(names.channelNorm), block: prefixed(names.channelMix, channelMix(depth)) },
      };
    }),
    layerNames: names.blocks,
    norm: norm(names.outputNorm),
    head: matrix(names.head, rows, orthogonalInit(headGain(vocabulary, width))),
    vocabulary,
    stateName: "layers",
  });
}
