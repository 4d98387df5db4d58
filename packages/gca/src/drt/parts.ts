/**
 * What a DRT is made of: the decoder layer that lower and upper layers share, and the parameters of all. The embedding has one row more
 * than there are tokens: the landmark's. Keys and values of the memory are projected once and shared by all upper layers.
 */
import type { DType, Parameters } from "@lenggen/kernels";
import { type Bound, fanInInit, layerSpecs, matrix, normalInit, type ParameterSet, parameterSet, rmsNormBlock, stack,
  under } from "@lenggen/kernels/nn";
import { decoderLayer, type DecoderLayer } from "../layer/layer";
import { decoderLayers, type DrtConfig } from "./config";

/** Parameters in the order of files: layers are numbered through all groups. */
function drtSpecs(c: DrtConfig, layer: DecoderLayer) {
  const depth = decoderLayers(c);
  const [queries, shared] = [c.heads * c.headSize, c.kvHeads * c.headSize];
  const norm = (name: string) => rmsNormBlock(name, c.width, c.normEps).parameters;
  const retrieval = {
    norm: norm("retrieval_norm"),
    query: matrix("retrieval.query.weight", [queries, c.width], fanInInit(c.width)),
    out: matrix("retrieval.out.weight", [c.width, queries], fanInInit(queries, depth)),
  };
  let upper = 0;
  return {
    embedding: matrix("embedding.weight", [c.vocabulary + 1, c.width], normalInit(0.02)),
    lower: stack("lower", c.lower, () => layerSpecs(layer)),
    encoder: under("encoder", { inputNorm: norm("input_norm"), layers: stack("layers", c.encoder, () => layerSpecs(layer)),
      norm: norm("norm") }),
    memory: under("memory", {
      keys: matrix("keys.weight", [shared, c.width], fanInInit(c.width)),
      values: matrix("values.weight", [shared, c.width], fanInInit(c.width)),
    }),
    groups: c.groups.map((size, group) => ({
      queryNorm: norm(`groups.${group}.query_norm`),
      layers: Array.from({ length: size }, () => under(`upper.${upper++}`, { ...layerSpecs(layer), retrieval })),
    })),
    norm: norm("norm"),
  };
}

type DrtSpecs = ReturnType<typeof drtSpecs>;

/** The parameters of a DRT as a tree. */
export type DrtParameters = Bound<DrtSpecs>;
/** Those of one lower layer, or of the encoder. */
export type LayerParameters = DrtParameters["lower"][number];
/** Those of one upper layer. */
export type UpperParameters = DrtParameters["groups"][number]["layers"][number];

/** A configuration with what follows from it. */
export interface DrtParts {
  readonly config: DrtConfig;
  readonly layer: DecoderLayer;
  readonly parameters: ParameterSet<DrtSpecs>;
}

export function drtParts(config: DrtConfig): DrtParts {
  const layer = decoderLayer(config, config, decoderLayers(config));
  return { config, layer, parameters: parameterSet(drtSpecs(config, layer)) };
}

/** What a model computes in: the type of its norms, as matrices may be f16. */
export function computedIn({ parameters }: DrtParts, given: Parameters): DType {
  return parameters.bind(given).norm.weight.dtype;
}
