/**
 * One forward pass in stages, so that it can wait between them where the keys and values of old chunks have to be fetched:
 *
 *   begin      lower layers, chunk encoder, landmarks into the memory
 *   choose     which chunks a group retrieves            once per group
 *   attend     the group's layers, with those chunks     once per group
 *   finish     the last norm, and the state
 *
 * What a stage leaves is a tree of tensors, which can be kept or freed as a whole.
 */
import {
  addRmsNorm, embedding, foldIn, type ForwardOptions, type ForwardResult, type Parameters, scopeUnlessRecording, slice, type Tensor,
} from "@lenggen/kernels";
import { type AttentionState, checkTokens, runLayer, runSubLayer, type Stream, summed } from "@lenggen/kernels/nn";
import type { DrtConfig } from "./config";
import { encodeChunks, type EncodedChunks, pendingAfter } from "./encoder";
import { inEveryRow, landmarksOf, type Layout, layoutOf, partsOf, rowPlaces, tokensOf, withLandmarks } from "./layout";
import { chunksIn, type Remember } from "./memory";
import type { DrtParameters, DrtParts, UpperParameters } from "./parts";
import { crossAttention, lastRow, type Readable, type Retrieved, retrieveRows } from "./retrieval";
import type { DrtState } from "./state";

/** What a pass starts from. */
export interface Pass {
  readonly parts: DrtParts;
  readonly config: DrtConfig;
  readonly parameters: DrtParameters;
  /** i32 [B,T] */
  readonly tokens: Tensor;
  readonly before: DrtState;
  readonly options: ForwardOptions;
  readonly layout: Layout;
}

/** A pass between two stages. */
export interface Running {
  readonly stream: Stream;
  /** [B,C,D]: the landmarks of the stream as they enter the next group; null when no chunk was completed. */
  readonly landmarks: Tensor | null;
  /** What the pass adds to the memory. */
  readonly chunks: EncodedChunks | null;
  readonly memory: DrtState["memory"];
  readonly pending: Tensor;
  /** i32 [B,C+2], see {@link rowPlaces}. */
  readonly offsets: Tensor;
  /** Of the layers that have run. */
  readonly windows: readonly AttentionState[];
  /** Of the groups that have run. */
  readonly retrieved: readonly Retrieved[];
}

/** Throws `E_SHAPE` for tokens of another shape and `E_ARGUMENT` for ends out of order. */
export function passOf(parts: DrtParts, parameters: Parameters, tokens: Tensor, before: DrtState, options: ForwardOptions = {}): Pass {
  checkTokens(tokens);
  const { config } = parts;
  const layout = layoutOf(tokens.shape[1]!, config.chunk, before.pending.shape[1]!, options.ends);
  return { parts, config, parameters: parts.parameters.bind(parameters), tokens, before, options, layout };
}

export function begin({ parts: { layer }, config: c, parameters: p, tokens, before, layout }: Pass, remember: Remember): Running {
  const windows: AttentionState[] = [];
  const ids = withLandmarks(layout, tokens, c.vocabulary);
  let stream: Stream = { branch: embedding(p.embedding, ids), residual: null }; // [B,U,D]
  for (const [i, lower] of p.lower.entries()) {
    const result = runLayer(layer, lower, stream, before.windows[i]);
    stream = result.stream;
    windows.push(result.state);
  }
  stream = { branch: summed(stream), residual: null };
  const parts = partsOf(layout, stream.branch);
  const chunks = encodeChunks(layer, c, p, layout, parts, before.pending);
  return {
    stream,
    landmarks: landmarksOf(parts),
    chunks,
    memory: chunks ? remember(before.memory, chunks, layout.closed) : before.memory,
    pending: pendingAfter(layout, parts, before.pending),
    offsets: inEveryRow(tokens.device, rowPlaces(layout), tokens.shape[0]!),
    windows,
    retrieved: [],
  };
}

/** What the next group retrieves; its index follows from the groups that have run. */
export function choose({ config: c, parameters, before, options }: Pass, { retrieved, landmarks, memory }: Running): Retrieved {
  const group = retrieved.length;
  const noise = options.key && c.gumbelNoise ? foldIn(options.key, group) : undefined;
  // Noise is counted by the rows of the memory; its spare room, which is there only without gradients, must not change what a key draws.
  const [count, rows] = [chunksIn(memory), memory.landmarks.shape[1]!];
  const candidates = noise && rows > count ? slice(memory.landmarks, 1, 0, count) : memory.landmarks;
  const { queryNorm } = parameters.groups[group]!;
  return retrieveRows(c, queryNorm.weight, before.retrieved[group]!, landmarks, candidates, chunksIn(before.memory), noise);
}

/** Runs the next group; `readable`: the chunks that `rows` names. */
export function attend({ parts: { layer }, config: c, parameters, before, layout }: Pass, running: Running, rows: Retrieved,
  readable: Readable): Running {
  const group = running.retrieved.length;
  const windows = [...running.windows];
  let { stream } = running;
  for (const upper of parameters.groups[group]!.layers) {
    const result = upperLayer(layer, c, upper, stream, before.windows[windows.length]!, rows, readable, running.offsets);
    stream = result.stream;
    windows.push(result.state);
  }
  const last = group === c.groups.length - 1;
  if (!last) stream = { branch: summed(stream), residual: null };
  const { chunks, memory, pending, offsets } = running;
  return {
    stream,
    landmarks: last ? null : landmarksOf(partsOf(layout, stream.branch)),
    chunks,
    memory,
    pending,
    offsets,
    windows,
    retrieved: [...running.retrieved, chunks ? lastRow(rows) : rows],
  };
}

export function finish({ config: c, parameters, layout }: Pass, running: Running): ForwardResult<DrtState> {
  const { stream, windows, pending, retrieved, memory } = running;
  const last = addRmsNorm(stream.branch, stream.residual, parameters.norm.weight, { eps: c.normEps }).normed;
  return { hidden: tokensOf(partsOf(layout, last)), state: { windows, pending, retrieved, memory } };
}

function upperLayer(
  { mixer, feedForward }: DrtParts["layer"], c: DrtConfig, p: UpperParameters, stream: Stream, window: AttentionState, rows: Retrieved,
  readable: Readable, offsets: Tensor,
): { stream: Stream; state: AttentionState } {
  return scopeUnlessRecording(() => {
    const attended = runSubLayer(mixer, p.mixer, stream, window);
    const first = addRmsNorm(attended.stream.branch, attended.stream.residual, p.retrieval.norm.weight, { eps: c.normEps });
    const read = crossAttention(c, p.retrieval, first.normed, rows, readable, offsets);
    const fed = runSubLayer(feedForward, p.feedForward, { branch: read, residual: first.residual });
    return { stream: { branch: fed.stream.branch, residual: first.residual }, state: attended.state };
  });
}
