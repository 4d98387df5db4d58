/**
 * A pre-norm decoder over any mixer, with or without a feed-forward part, as a {@link SequenceModel} without the family's own facts:
 *
 *   h = embedding(tokens)
 *   each layer:   h += mixer(norm(h)),   h += feedForward(norm(h))
 *   hidden = norm(h),   logits = hidden · headᵀ
 *
 * Layers may differ in their blocks and must not in the type of their state, unless the family says so by a union.
 */
import type { Device } from "../device";
import type { DType } from "../dtype";
import { check } from "../errors";
import type { SequenceModel } from "../model";
import { embedding as lookUp } from "../ops/embedding";
import { firstRows } from "../ops/view";
import { showShape } from "../shape";
import { scopeUnlessRecording } from "../tape";
import type { Tensor } from "../tensor";
import { type Block, type BlockResult, leavesOf, type Norm, type StateOf, type StateParts, type Stream, zeroState } from "./block";
import { stateCheck } from "./checkState";
import { type Bound, type Names, ownName, type ParameterSet, parameterSet, type ParameterSpec, stack } from "./parameters";

/** A block behind its norm. Their parameters stand in files in the order in which the two are written here. */
export interface SubLayer<N extends Norm = Norm, B extends Block = Block> {
  readonly norm: N;
  readonly block: B;
}

/** The parameters of a {@link SubLayer}. */
export type SubLayerSpecs<S extends SubLayer = SubLayer> = {
  readonly norm: S["norm"]["parameters"];
  readonly block: S["block"]["parameters"];
};

/** A layer of a decoder. Mixer and feed-forward part share one state, and so may not name two parts alike. */
export interface Layer {
  readonly mixer: SubLayer;
  readonly feedForward?: SubLayer;
}

/** The parameters of a {@link Layer}. */
export type LayerSpecs<L extends Layer = Layer> = {
  readonly mixer: SubLayerSpecs<L["mixer"]>;
  readonly feedForward: L extends { readonly feedForward: infer F extends SubLayer } ? SubLayerSpecs<F> : SubLayerSpecs | null;
};

/** The description of a layer's parameters. */
export function layerSpecs<L extends Layer>({ mixer, feedForward }: L): LayerSpecs<L> {
  return { mixer: subLayerSpecs(mixer), feedForward: feedForward ? subLayerSpecs(feedForward) : null } as LayerSpecs<L>;
}

function subLayerSpecs(parts: SubLayer): SubLayerSpecs {
  const entries = Object.entries(parts).map(([name, { parameters }]: [string, Norm | Block]) => [name, parameters]);
  return Object.fromEntries(entries) as SubLayerSpecs;
}

/** The parts of a layer's state. Throws `E_ARGUMENT` when mixer and feed-forward part have one of the same name. */
export function layerState({ mixer, feedForward }: Layer): StateParts {
  const [own, more] = [mixer.block.state, feedForward?.block.state ?? {}];
  for (const name of Object.keys(more)) {
    check(!Object.hasOwn(own, name), "E_ARGUMENT", () =>
      `layer: mixer and feed-forward part both have a state called ${name}; call one of them otherwise`);
  }
  return { ...own, ...more };
}

/** A stream through a block behind its norm. */
export function runSubLayer<N, P, S extends StateParts>(
  { norm, block }: SubLayer<Norm<N>, Block<P, S>>, p: { readonly norm: Bound<N>; readonly block: Bound<P> },
  stream: Stream, state?: StateOf<S>, beside?: Tensor,
): { stream: Stream; state: StateOf<S>; beside?: Tensor } {
  const { normed, residual } = norm.forward(p.norm, stream);
  const { out, ...rest }: BlockResult<S> = block.forward(p.block, normed, state, beside);
  return { stream: { branch: out, residual }, ...rest };
}

/** A stream through a layer; what lies inside the layer is freed unless a tape records. */
export function runLayer<L extends Layer>(
  layer: L, p: Bound<LayerSpecs<L>>, stream: Stream, state?: LayerStateOf<L>, beside?: Tensor,
): { stream: Stream; state: LayerStateOf<L>; beside?: Tensor } {
  const { mixer, feedForward }: Layer = layer;
  const own = p as Bound<LayerSpecs>;
  return scopeUnlessRecording(() => {
    const mixed = runSubLayer(mixer, own.mixer, stream, state, beside);
    if (!feedForward || !own.feedForward) return mixed as typeof mixed & { state: LayerStateOf<L> };
    const fed = runSubLayer(feedForward, own.feedForward, mixed.stream, state, mixed.beside ?? beside);
    return { stream: fed.stream, state: { ...mixed.state, ...fed.state } as LayerStateOf<L>, beside: fed.beside ?? mixed.beside };
  });
}

/** Throws `E_SHAPE` unless tokens are [B,T] with at least one step. */
export function checkTokens(tokens: Tensor): void {
  check(tokens.shape.length === 2 && tokens.shape[1]! >= 1, "E_SHAPE", () =>
    `tokens: expected [batch, time] with at least one step, got ${showShape(tokens.shape)}`);
}

/** What a decoder is made of. */
export interface DecoderOptions<L extends Layer, Name extends string> {
  /** [rows, D], of which the first `vocabulary` are tokens. */
  readonly embedding: ParameterSpec;
  /** A norm between embedding and layers (RWKV's ln0). */
  readonly inputNorm?: Norm;
  readonly layers: readonly L[];
  /** Before the names of layer i's parameters, `layerNames.i`. */
  readonly layerNames: Names;
  readonly norm: Norm;
  /** The output matrix [rows, D]; null where it is the embedding. */
  readonly head: ParameterSpec | null;
  readonly vocabulary: number;
  /** What the list of the layers' states is called in the model's. */
  readonly stateName: Name;
}

/** The state of a decoder: one entry per layer. */
export type DecoderState<Name extends string, S> = { readonly [N in Name]: readonly S[] };

/** The state of one of a decoder's layers. */
export type LayerStateOf<L extends Layer> = L extends { readonly mixer: { readonly block: { readonly state: infer S } } }
  ? StateOf<S> & (L extends { readonly feedForward: { readonly block: { readonly state: infer F } } } ? StateOf<F> : unknown) : never;

/** The parameters of a decoder. */
export type DecoderSpecs = {
  readonly embedding: ParameterSpec;
  readonly inputNorm: Norm["parameters"];
  readonly layers: readonly LayerSpecs[];
  readonly norm: Norm["parameters"];
  readonly head: ParameterSpec | null;
};

/** All of a {@link SequenceModel} that follows from the parts, to be spread into one; and the parameters' descriptions. */
export interface Decoder<State extends { readonly [name: string]: readonly StateOf<StateParts>[] }> extends Pick<SequenceModel<State>,
  "vocabulary" | "stateLeaves" | "parameterShapes" | "decays" | "halves" | "tokenTables" | "init" | "initialState" | "forward" | "head"> {
  readonly parameters: ParameterSet<DecoderSpecs>;
}

/** A decoder from its parts. Throws `E_ARGUMENT` when names of parameters or states meet. */
export function decoder<L extends Layer, Name extends string>(
  options: DecoderOptions<L, Name>,
): Decoder<DecoderState<Name, LayerStateOf<L>>> {
  type State = DecoderState<Name, LayerStateOf<L>>;
  const { embedding, inputNorm, layers, layerNames, norm, head, vocabulary, stateName } = options;
  const parameters = parameterSet<DecoderSpecs>({
    embedding,
    inputNorm: inputNorm?.parameters ?? null,
    layers: stack(layerNames, layers.length, (i) => layerSpecs<Layer>(layers[i]!)),
    norm: norm.parameters,
    head,
  });
  const output = parameterSet(head ?? embedding);
  const states = layers.map((layer) => layerState(layer));
  const stateOf = (list: readonly StateOf<StateParts>[]) => ({ [stateName]: list }) as unknown as State;
  const stateLeaves = states.flatMap((parts, i) => leavesOf(parts, `${stateName}.${i}`, i));
  const checkState = stateCheck(stateLeaves);
  return {
    parameters,
    vocabulary,
    stateLeaves,
    parameterShapes: () => parameters.shapes,
    decays: parameters.decays,
    halves: parameters.halves,
    tokenTables: (head ? [embedding, head] : [embedding]).map(({ names }) => ownName(names)),
    init: parameters.init,
    initialState: (batch: number, device: Device, dtype: DType = "f32") =>
      stateOf(states.map((parts) => zeroState(parts, batch, device, dtype))),
    forward(given, tokens, state) {
      checkTokens(tokens);
      const before = state?.[stateName];
      check(!before || before.length === layers.length, "E_SHAPE", () => `state: has ${before?.length} layers, the model ${layers.length}`);
      if (state) checkState(state);
      return scopeUnlessRecording(() => {
        const p = parameters.bind(given);
        let stream: Stream = { branch: lookUp(p.embedding, tokens), residual: null }; // [B,T,D]
        if (inputNorm) stream = { branch: inputNorm.forward(p.inputNorm, stream).normed, residual: null };
        let beside: Tensor | undefined;
        const next = layers.map((layer, i) => {
          const result = runLayer<Layer>(layer, p.layers[i]!, stream, before?.[i], beside);
          stream = result.stream;
          beside = result.beside ?? beside;
          return result.state;
        });
        return { hidden: norm.forward(p.norm, stream).normed, state: stateOf(next) };
      });
    },
    head: (given) => firstRows(output.bind(given), vocabulary),
  };
}
