/**
 * Hybrid stacks: state-space layers, linear attention and delta rules with sliding-window or full attention between them, and feed-forward
 * parts, in the order that the configuration says (as Jamba, Nemotron-H, Falcon-H1 and Qwen3-Next are built).
 *
 *   h += block(RMSNorm(h))     for each layer in turn; side by side, h += Σ block(RMSNorm(h))
 *
 * A layer's state is that of its block, whole: what a recurrence sums up, and the keys and values that attention can still see, which grow
 * with the stream where there is no window.
 */
import {
  add, type Device, type DType, type LoadedModel, loadParameters, parameterCount, type Safetensors, type SequenceModel, type StateFiles,
  type Tensor,
} from "@lenggen/kernels";
import {
  type AnySpecs, type Block, cacheLength, type ConfigOptions, decoder, matrix, normalInit, prefixed, rmsNormBlock, type StatePart,
} from "@lenggen/kernels/nn";
import { blockMakers, type HybridConfig, hybridJson, parseHybridConfig } from "./config";

/** One layer's state, by the names of its block's parts; of blocks side by side, `<block>_<part>`. Feed-forward parts have none. */
export type HybridLayerState = { readonly [part: string]: Tensor };

/** The state after a prefix, one entry for each layer. */
export interface HybridState {
  readonly [leaf: string]: readonly HybridLayerState[];
  readonly layers: readonly HybridLayerState[];
}

/** A hybrid stack as a {@link SequenceModel}; made by {@link hybrid}. */
export interface Hybrid extends SequenceModel<HybridState> {
  readonly family: "hybrid";
  readonly settings: HybridConfig;
}

/** A model from its configuration (see config.ts). Throws `E_CONFIG`. */
export function hybrid(json: unknown, options: ConfigOptions = {}): Hybrid {
  const settings = parseHybridConfig(json, options);
  const blocks = blocksOf(settings);
  const { parameters: _, ...parts } = hybridDecoder(settings, blocks);
  const caches = cachesOf(settings, blocks);
  return {
    family: "hybrid",
    settings,
    config: { ...hybridJson(settings) },
    ...parts,
    ...(caches.some(({ window }) => window !== undefined) && { stateFiles: stateFiles(caches) }),
  };
}

/** Number of parameters. */
export function hybridParameterCount(c: HybridConfig): number {
  return parameterCount(hybridDecoder(c, blocksOf(c)));
}

/** Loads a checkpoint onto a device; throws as `loadMamba2` does. */
export async function loadHybrid(
  config: unknown, weights: Safetensors, device: Device, dtype: DType = "f32",
): Promise<LoadedModel & { readonly model: Hybrid }> {
  const model = hybrid(config, { unknownFields: "report" });
  return { model, parameters: await loadParameters(model, weights, device, { dtype }) };
}

function hybridDecoder(c: HybridConfig, blocks: readonly NamedBlock[][]) {
  const rows = [c.vocabulary, c.width] as const;
  return decoder({
    embedding: matrix("embedding.weight", rows, normalInit(0.02)),
    layers: blocks.map((own) => ({ mixer: { norm: rmsNormBlock("norm", c.width, c.normEps), block: sideBySide(own) } })),
    layerNames: "layers",
    norm: rmsNormBlock("norm", c.width, c.normEps),
    head: c.tieEmbeddings ? null : matrix("head.weight", rows, normalInit(0.02)),
    vocabulary: c.vocabulary,
    stateName: "layers",
  });
}

interface NamedBlock {
  readonly name: string;
  readonly block: Block;
}

/** The blocks of each layer. */
function blocksOf(c: HybridConfig): NamedBlock[][] {
  const makers = blockMakers(c);
  const typeOf = (name: string) => c.blocks[name]!.type;
  const all = c.layers.flat().map(typeOf);
  const made = new Map<string, number>();
  return c.layers.map((names) => names.map((name) => {
    const type = typeOf(name);
    const index = made.get(type) ?? 0;
    made.set(type, index + 1);
    const count = all.filter((other) => other === type).length;
    return { name, block: prefixed<AnySpecs, Block["state"]>(name, makers[name]!({ index, count })) };
  }));
}

/** What a part of a block's state is called in its layer's. */
const partName = (blocks: readonly NamedBlock[], name: string, part: string) => (blocks.length === 1 ? part : `${name}_${part}`);

/** Blocks as one, whose outputs are added. */
function sideBySide(blocks: readonly NamedBlock[]): Block {
  if (blocks.length === 1) return blocks[0]!.block;
  const entries = blocks.map(({ name, block }) => ({
    name, block, parts: Object.keys(block.state).map((part) => [part, partName(blocks, name, part)] as const),
  }));
  return {
    parameters: Object.fromEntries(blocks.map(({ name, block }) => [name, block.parameters])) as AnySpecs,
    state: Object.fromEntries(entries.flatMap(({ block, parts }) => parts.map(([part, whole]) => [whole, block.state[part]!]))),
    forward(p: AnySpecs, u, before, beside) {
      const results = entries.map(({ name, block, parts }) =>
        block.forward(p[name], u, before && Object.fromEntries(parts.map(([part, whole]) => [part, before[whole]!])), beside));
      const handed = results.findLast((result) => result.beside)?.beside;
      return {
        out: results.map(({ out }) => out).reduce((a, b) => add(a, b)),
        state: Object.fromEntries(entries.flatMap(({ parts }, i) => parts.map(([part, whole]) => [whole, results[i]!.state[part]!]))),
        ...(handed && { beside: handed }),
      };
    },
  };
}

/** A part of the state: its path and shape, and of keys and values the window, null for none. */
interface Cache {
  readonly path: string;
  readonly part: StatePart;
  readonly window: number | null | undefined;
}

function cachesOf(c: HybridConfig, layers: readonly NamedBlock[][]): Cache[] {
  return layers.flatMap((blocks, layer) => blocks.flatMap(({ name, block }) => {
    const config = c.blocks[name]!;
    const window = config.type === "attention" ? config.window : undefined;
    return Object.entries(block.state).map(([part, about]) =>
      ({ path: `layers.${layer}.${partName(blocks, name, part)}`, part: about, window }));
  }));
}

/** In a file, all keys and values are of the same stream: each window holds as much of it as it can. */
function stateFiles(caches: readonly Cache[]): StateFiles<HybridState> {
  return {
    shapes(batch, of) {
      const read = Math.max(...caches.filter(({ window }) => window !== undefined).map(({ path }) => of(path)[1] ?? 0));
      return Object.fromEntries(caches.map(({ path, part: { shape }, window }) =>
        [path, [batch, ...(window === undefined ? shape : shape.with(0, cacheLength(read, window)))]]));
    },
  };
}
