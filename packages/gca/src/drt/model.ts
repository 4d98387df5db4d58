/**
 * The Differentiable Retrieval-based Transformer (Hu et al., ICML 2025, "Efficient Length-Generalizable Attention via Causal Retrieval
 * for Long-Context Language Modeling"). Lower layers see a window and give H. The chunk encoder turns each chunk of H into a landmark and
 * keys and values (encoder.ts). Upper layers come in groups; a group retrieves chunks once (retrieval.ts), and each of its layers is
 *
 *   r = h + SWA(RMSNorm(h)),   h' = r + GCA(RMSNorm(r)),   h = r + MLP(RMSNorm(h'))
 *
 * so that what was retrieved reaches the stream through the MLP alone: the residual path passes it by.
 *
 * A chunk's landmark stands behind its last token and retrieves for the chunk after it. A token reaches the chunk before its
 * own through the window, everything before that by retrieval.
 */
import {
  add, addRmsNorm, type Device, type DType, embedding, foldIn, type ForwardOptions, type ForwardResult, full, type Key, type Parameters,
  type SequenceModel, type StateLeaf, type Tensor, zeros,
} from "@lenggen/kernels";
import { decays, initParameters } from "../layer/init";
import { checkTokens, decoderLayer, emptyWindow, mlp, type Stream, windowAttention, type WindowState } from "../layer/layer";
import { decoderLayers, type DrtConfig, drtJson, parseDrtConfig } from "./config";
import { encodeChunks, pendingAfter } from "./encoder";
import { landmarksOf, layoutOf, partsOf, tokensOf, withLandmarks } from "./layout";
import { type ChunkMemory, chunksIn, emptyMemory, readableRows, remember } from "./memory";
import { drtShapes } from "./parameters";
import { crossAttention, lastRow, nothingRetrieved, type Readable, type Retrieved, retrieveRows, rowOffsets } from "./retrieval";

/** The state after a prefix. Sizes that grow are told by shapes. */
export interface DrtState {
  readonly [part: string]: Tensor | readonly WindowState[] | readonly Retrieved[] | ChunkMemory;
  /** One per decoder layer, lower ones first. */
  readonly windows: readonly WindowState[];
  /** [B,r,D]: hidden states under the encoder of the running chunk's r tokens. */
  readonly pending: Tensor;
  /** What each group retrieved for the running chunk. */
  readonly retrieved: readonly Retrieved[];
  readonly memory: ChunkMemory;
}

/** A DRT as a {@link SequenceModel}; made by {@link drt}. */
export interface Drt extends SequenceModel<DrtState> {
  readonly family: "drt";
  readonly settings: DrtConfig;
}

/** A model from its configuration. Throws `E_CONFIG`. */
export function drt(json: unknown): Drt {
  const settings = parseDrtConfig(json);
  const shapes = drtShapes(settings);
  return {
    family: "drt",
    settings,
    config: { ...drtJson(settings) },
    vocabulary: settings.vocabulary,
    stateLeaves: stateLeaves(settings),
    parameterShapes: () => shapes,
    decays,
    init: (key: Key, device: Device, dtype: DType = "f32") => initParameters(shapes, decoderLayers(settings), key, device, dtype),
    initialState: (batch: number, device: Device, dtype: DType = "f32") => emptyState(settings, batch, device, dtype),
    forward: (parameters, tokens, state, options) => forward(settings, parameters, tokens, state, options),
    head: (parameters) => parameters["embedding.weight"]!,
  };
}

function stateLeaves(c: DrtConfig): StateLeaf[] {
  const layers = decoderLayers(c);
  return [
    ...Array.from({ length: layers }, (_, layer): StateLeaf[] =>
      ["k", "v"].map((name) => ({ path: `windows.${layer}.${name}`, kind: "window", layer, headAxis: 2 }))).flat(),
    { path: "pending", kind: "window", layer: c.lower },
    ...c.groups.flatMap((_, group): StateLeaf[] =>
      ["indices", "weights"].map((name) => ({ path: `retrieved.${group}.${name}`, kind: "memory", layer: c.lower }))),
    ...["lengths", "landmarks", "keys", "values"].map((name): StateLeaf => ({ path: `memory.${name}`, kind: "memory", layer: c.lower })),
  ];
}

function emptyState(c: DrtConfig, batch: number, device: Device, dtype: DType): DrtState {
  const like = { device, dtype };
  return {
    windows: Array.from({ length: decoderLayers(c) }, () => emptyWindow(c, batch, device, dtype)),
    pending: zeros(device, [batch, 0, c.width], dtype),
    retrieved: c.groups.map(() => nothingRetrieved(c, batch, like)),
    memory: emptyMemory(c, batch, like),
  };
}

function forward(
  c: DrtConfig, parameters: Parameters, tokens: Tensor, given?: DrtState, options: ForwardOptions = {},
): ForwardResult<DrtState> {
  checkTokens(tokens);
  const [batch, time] = tokens.shape as [number, number];
  const { device } = tokens;
  const before = given ?? emptyState(c, batch, device, parameters["embedding.weight"]!.dtype);
  const layout = layoutOf(time, c.chunk, before.pending.shape[1]!, options.ends);
  const windows: WindowState[] = [];
  const windowOf = (layer: number) => before.windows[layer]!;

  const ids = withLandmarks(layout, tokens, (count) => full(device, [batch, count], c.vocabulary, "i32"));
  let stream: Stream = { branch: embedding(parameters["embedding.weight"]!, ids), residual: null }; // [B,U,D]
  for (let layer = 0; layer < c.lower; layer++) {
    const result = decoderLayer(c, c, (name) => parameters[`lower.${layer}.${name}`]!, stream, windowOf(layer));
    stream = result.out;
    windows.push(result.state);
  }

  stream = summed(stream);
  const parts = partsOf(layout, stream.branch);
  const chunks = encodeChunks(c, parameters, layout, parts, before.pending);
  const memory = chunks ? remember(before.memory, chunks, layout.closed) : before.memory;

  const offsets = rowOffsets(layout, batch, tokens);
  const retrieved: Retrieved[] = [];
  let layer = 0;
  c.groups.forEach((size, group) => {
    if (group > 0) stream = summed(stream);
    const entering = group === 0 ? parts : partsOf(layout, stream.branch);
    const noise = options.key && c.gumbelNoise ? foldIn(options.key, group) : undefined;
    const rows = retrieveRows(
      c, parameters[`groups.${group}.query_norm.weight`]!, before.retrieved[group]!, landmarksOf(entering), memory.landmarks,
      chunksIn(before.memory), noise);
    const readable = { ...readableRows(memory), indices: rows.indices };
    for (let i = 0; i < size; i++, layer++) {
      const result = upperLayer(c, (name) => parameters[`upper.${layer}.${name}`]!, stream, windowOf(c.lower + layer), rows, readable, offsets);
      stream = result.out;
      windows.push(result.state);
    }
    retrieved.push(chunks ? lastRow(rows) : rows);
  });

  const last = addRmsNorm(stream.branch, stream.residual, parameters["norm.weight"]!, { eps: c.normEps }).normed;
  return {
    hidden: tokensOf(partsOf(layout, last)),
    state: { windows, pending: pendingAfter(layout, parts, before.pending), retrieved, memory },
  };
}

/** The stream with its last branch added. */
function summed({ branch, residual }: Stream): Stream {
  return residual === null ? { branch, residual } : { branch: add(branch, residual), residual: null };
}

function upperLayer(
  c: DrtConfig, at: (name: string) => Tensor, stream: Stream, window: WindowState, rows: Retrieved, readable: Readable, offsets: Tensor,
): { out: Stream; state: WindowState } {
  const attended = windowAttention(c, c, at, stream, window);
  const first = addRmsNorm(attended.out.branch, attended.out.residual, at("retrieval_norm.weight"), { eps: c.normEps });
  const read = crossAttention(c, at, first.normed, rows, readable, offsets);
  const second = addRmsNorm(read, first.residual, at("mlp_norm.weight"), { eps: c.normEps });
  return { out: { branch: mlp(c, at, second.normed), residual: first.residual }, state: attended.state };
}
