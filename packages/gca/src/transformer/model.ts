/**
 * The baselines of Grouped Cross Attention, from the same parts: a decoder whose attention sees a sliding window, or, with
 * `window: null`, everything before.
 */
import {
  addRmsNorm, check, type Device, type DType, embedding, firstRows, type ForwardResult, keep, type Key, type Parameters, type Prefill, scope, type SequenceModel,
  type StateLeaf, type Tensor,
} from "@lenggen/kernels";
import { decays, initParameters } from "../layer/init";
import { checkTokens, decoderLayer, emptyWindow, layerShapes, type Stream, type WindowState } from "../layer/layer";
import { parseTransformerConfig, type TransformerConfig, transformerJson } from "./config";

/** One window per layer. */
export interface TransformerState {
  readonly [leaf: string]: readonly WindowState[];
  readonly windows: readonly WindowState[];
}

/** A decoder with windowed or full attention as a {@link SequenceModel}; made by {@link transformer}. */
export interface Transformer extends SequenceModel<TransformerState> {
  readonly family: "transformer";
  readonly settings: TransformerConfig;
}

/** A model from its configuration. Throws `E_CONFIG`. */
export function transformer(json: unknown): Transformer {
  const settings = parseTransformerConfig(json);
  const shapes = shapesOf(settings);
  const leaves = stateLeaves(settings);
  return {
    family: "transformer",
    settings,
    config: { ...transformerJson(settings) },
    vocabulary: settings.vocabulary,
    stateLeaves: leaves,
    parameterShapes: () => shapes,
    decays,
    init: (key: Key, device: Device, dtype: DType = "f32") => initParameters(shapes, settings.layers, key, device, dtype),
    initialState: (batch: number, device: Device, dtype: DType = "f32") => emptyState(settings, batch, device, dtype),
    forward: (parameters, tokens, state) => forward(settings, parameters, tokens, state),
    ...(settings.window !== null && { prefill: prefillOf(settings, settings.window) }),
    stateFiles: {
      shapes(batch, of) {
        const filled = of("windows.0.k")[1] ?? 0; // how much of each window
        const shape = [batch, settings.window === null ? filled : Math.min(filled, settings.window - 1), settings.keyHeads, settings.headSize];
        return Object.fromEntries(leaves.map(({ path }) => [path, shape]));
      },
    },
    head: (parameters) => firstRows(parameters["embedding.weight"]!, settings.vocabulary),
  };
}

function shapesOf(c: TransformerConfig): Record<string, number[]> {
  const shapes: Record<string, number[]> = { "embedding.weight": [c.vocabulary, c.width] };
  for (let i = 0; i < c.layers; i++) {
    for (const [name, shape] of Object.entries(layerShapes(c))) shapes[`layers.${i}.${name}`] = shape;
  }
  shapes["norm.weight"] = [c.width];
  return shapes;
}

function stateLeaves(c: TransformerConfig): StateLeaf[] {
  const kind = c.window === null ? "memory" : "window";
  return Array.from({ length: c.layers }, (_, layer): StateLeaf[] =>
    ["k", "v"].map((name) => ({ path: `windows.${layer}.${name}`, kind, layer, headAxis: 2 }))).flat();
}

/** What lies further back than all windows together reaches nothing: it need not be read at all. */
function prefillOf(c: TransformerConfig, window: number): Prefill<TransformerState> {
  return {
    recent: c.layers * (window - 1),
    async read(parameters, tokens) {
      checkTokens(tokens);
      return keep(scope(() => emptyState(c, tokens.shape[0]!, tokens.device, parameters["norm.weight"]!.dtype)));
    },
  };
}

function emptyState(c: TransformerConfig, batch: number, device: Device, dtype: DType): TransformerState {
  return { windows: Array.from({ length: c.layers }, () => emptyWindow(c, batch, device, dtype)) };
}

function forward(c: TransformerConfig, parameters: Parameters, tokens: Tensor, state?: TransformerState): ForwardResult<TransformerState> {
  checkTokens(tokens);
  check(!state || state.windows.length === c.layers, "E_SHAPE", () => `state: has ${state?.windows.length} layers, the model ${c.layers}`);
  const windows: WindowState[] = [];
  let stream: Stream = { branch: embedding(parameters["embedding.weight"]!, tokens), residual: null };
  for (let layer = 0; layer < c.layers; layer++) {
    const at = (name: string) => parameters[`layers.${layer}.${name}`]!;
    const before = state?.windows[layer] ?? emptyWindow(c, tokens.shape[0]!, tokens.device, stream.branch.dtype);
    const result = decoderLayer(c, c, at, stream, before);
    stream = result.out;
    windows.push(result.state);
  }
  const last = addRmsNorm(stream.branch, stream.residual, parameters["norm.weight"]!, { eps: c.normEps });
  return { hidden: last.normed, state: { windows } };
}
