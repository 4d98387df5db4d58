/**
 * The baselines of Grouped Cross Attention, from the same parts: a decoder whose attention sees a sliding window, or, with
 * `window: null`, everything before.
 */
import { type DType, keep, type Parameters, type Prefill, scope, type SequenceModel, type StateFiles } from "@lenggen/kernels";
import {
  type AttentionState, cacheLength, checkTokens, type ConfigOptions, decoder, matrix, normalInit, rmsNormBlock,
} from "@lenggen/kernels/nn";
import { decoderLayer } from "../layer/layer";
import { parseTransformerConfig, type TransformerConfig, transformerJson } from "./config";

/** One window per layer. */
export interface TransformerState {
  readonly [leaf: string]: readonly AttentionState[];
  readonly windows: readonly AttentionState[];
}

/** A decoder with windowed or full attention as a {@link SequenceModel}; made by {@link transformer}. */
export interface Transformer extends SequenceModel<TransformerState> {
  readonly family: "transformer";
  readonly settings: TransformerConfig;
}

/** A model from its configuration. Throws `E_CONFIG`. */
export function transformer(json: unknown, options: ConfigOptions = {}): Transformer {
  const settings = parseTransformerConfig(json, options);
  const { parameters, ...parts } = transformerDecoder(settings);
  const { window } = settings;
  const model: Transformer = {
    family: "transformer",
    settings,
    config: { ...transformerJson(settings) },
    ...parts,
    stateFiles: stateFiles(settings, parts.stateLeaves),
  };
  return window === null ? model
    : { ...model, prefill: prefillOf(model, settings.layers * (window - 1), (given) => parameters.bind(given).norm.weight.dtype) };
}

function transformerDecoder(c: TransformerConfig) {
  const layer = decoderLayer(c, c, c.layers);
  return decoder({
    embedding: matrix("embedding.weight", [c.vocabulary, c.width], normalInit(0.02)),
    layers: Array.from({ length: c.layers }, () => layer),
    layerNames: "layers",
    norm: rmsNormBlock("norm", c.width, c.normEps),
    head: null,
    vocabulary: c.vocabulary,
    stateName: "windows",
  });
}

function stateFiles({ window, kvHeads, headSize }: TransformerConfig, leaves: Transformer["stateLeaves"]): StateFiles<TransformerState> {
  return {
    shapes(batch, of) {
      const filled = of("windows.0.k")[1] ?? 0; // how much of each window
      const shape = [batch, cacheLength(filled, window), kvHeads, headSize];
      return Object.fromEntries(leaves.map(({ path }) => [path, shape]));
    },
  };
}

/** What lies further back than all windows together reaches nothing: it need not be read at all. */
function prefillOf(model: Transformer, recent: number, computedIn: (parameters: Parameters) => DType): Prefill<TransformerState> {
  return {
    recent,
    async read(parameters, tokens) {
      checkTokens(tokens);
      return keep(scope(() => model.initialState(tokens.shape[0]!, tokens.device, computedIn(parameters))));
    },
  };
}
