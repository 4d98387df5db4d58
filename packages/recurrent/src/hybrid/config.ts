/**
 * Configuration of a hybrid stack: `blocks` describes what it is made of, each by a name, and `layers` says in what order they stand. A
 * layer is one block, or a list of blocks side by side, whose outputs are added:
 *
 *   ["ssm", "mlp", "ssm", "mlp", "attention", "mlp"]      mixers of several kinds, a feed-forward part behind each (Jamba, Qwen3-Next)
 *   ["ssm", "mlp", "ssm", "attention", "mlp"]             any order (Nemotron-H)
 *   [["ssm", "attention"], "mlp"]                         mixers side by side (Falcon-H1)
 *
 * Parameters are called `layers.<place>.<block>.…`.
 */
import { check, LenggenError, nearest } from "@lenggen/kernels";
import {
  type Block, choiceField, type ConfigInput, type ConfigOptions, type ConfigOutput, type Field, flagField, listField, numberField,
  optionalField, readConfig, sectionField, wholeField,
} from "@lenggen/kernels/nn";
import { type BlockType, type FieldsOf, type Kind, KINDS, type Place, type Stack } from "./kinds";

/** A block as it is given. */
export type BlockJson = { [T in BlockType]: { readonly type: T } & ConfigInput<FieldsOf<T>> }[BlockType];

/** A block as it is read, with every field. */
export type BlockConfig = { [T in BlockType]: { readonly type: T } & ConfigOutput<FieldsOf<T>> }[BlockType];

/** The name of a block, or names of several side by side. */
export type LayerJson = string | readonly string[];

/** `config.json` of a hybrid. */
export interface HybridJson {
  readonly model_type: "hybrid";
  readonly vocab_size: number;
  readonly hidden_size: number;
  readonly blocks: Readonly<Record<string, BlockJson>>;
  readonly layers: readonly LayerJson[];
  readonly norm_eps?: number;
  readonly tie_embeddings?: boolean;
}

/** A configuration with every field; made by {@link parseHybridConfig}. */
export interface HybridConfig {
  readonly width: number;
  readonly vocabulary: number;
  /** By name, in the order in which they are first needed. */
  readonly blocks: Readonly<Record<string, BlockConfig>>;
  readonly layers: readonly (readonly string[])[];
  readonly normEps: number;
  readonly tieEmbeddings: boolean;
}

const TYPES = Object.keys(KINDS) as BlockType[];
const EVERY_FIELD = TYPES.flatMap((type) => Object.keys(KINDS[type].fields));

const isType = (value: unknown): value is BlockType => TYPES.includes(value as BlockType);

/** A block of any kind: which fields it may have, its type says. */
const blockField: Field<BlockJson, BlockConfig> = {
  expected: "an object",
  read(value, path, unknown) {
    const type = value !== null && typeof value === "object" && "type" in value ? value.type : undefined;
    const section = isType(type) ? sectionField({ type: choiceField(type), ...KINDS[type].fields })
      : sectionField({ type: choiceField(...TYPES) }, EVERY_FIELD);
    return section.read(value, path, unknown) as BlockConfig | undefined;
  },
};

/** Names of blocks stand before those of parameters; `norm` is that of a layer's own. */
const isName = (value: unknown): value is string => typeof value === "string" && /^[A-Za-z]\w{0,63}$/.test(value) && value !== "norm";

const layerField: Field<LayerJson> = {
  expected: 'the name of a block (letters, digits and _, and not "norm"), or a list of 2 to 8 different ones that stand side by side',
  read: (value) => (isName(value) || (Array.isArray(value) && value.length >= 2 && value.length <= 8 && value.every(isName)
    && new Set(value).size === value.length) ? value : undefined),
};

const layersField = listField(layerField, { from: 1, to: 1024 });

/** The names in `layers`, or undefined where that is no list of layers. */
function namesIn(layers: unknown): string[] | undefined {
  if (!Array.isArray(layers)) return undefined;
  const names = layers.flat() as unknown[];
  return names.every(isName) && names.length > 0 ? [...new Set(names)] : undefined;
}

/** Fields of a configuration whose layers have these names: a block that stands nowhere is as unknown as a misspelt field. */
const fieldsFor = (names: readonly string[]) => ({
  model_type: choiceField("hybrid"),
  vocab_size: wholeField({ to: 2 ** 24 }),
  hidden_size: wholeField({ to: 2 ** 20 }),
  blocks: sectionField(Object.fromEntries(names.map((name) => [name, blockField]))),
  layers: layersField,
  norm_eps: optionalField(numberField({ above: 0 }), 1e-5),
  tie_embeddings: optionalField(flagField(), true),
});

const partOf = (json: unknown, name: string): unknown =>
  (json !== null && typeof json === "object" && name in json ? (json as Record<string, unknown>)[name] : undefined);

/** Throws `E_CONFIG` naming the field, its value and what it may be, or the field or block that there is none of. */
export function parseHybridConfig(json: unknown, options: ConfigOptions = {}): HybridConfig {
  const blocks = partOf(json, "blocks");
  const given = blocks !== null && typeof blocks === "object" && !Array.isArray(blocks) ? Object.keys(blocks) : [];
  const names = namesIn(partOf(json, "layers")) ?? given;
  // Said before what else there is: a block that layers misspell would seem to be one that stands nowhere.
  const strangers = given.length > 0 ? names.filter((name) => !given.includes(name)) : [];
  check(strangers.length === 0, "E_CONFIG", () => `config: layers name ${strangers.join(", ")}, which blocks does not describe`
    + `${nearest(strangers[0]!, given.filter((name) => !names.includes(name)))}; it describes ${given.join(", ")}`);
  const parsed = readConfig({ fields: fieldsFor(names) }, json, options);
  const config: HybridConfig = {
    width: parsed.hidden_size,
    vocabulary: parsed.vocab_size,
    blocks: parsed.blocks,
    layers: parsed.layers.map((layer) => (typeof layer === "string" ? [layer] : layer)),
    normEps: parsed.norm_eps,
    tieEmbeddings: parsed.tie_embeddings,
  };
  blockMakers(config);
  return config;
}

/** By name, what makes each block for its place among those of its kind. Throws `E_CONFIG` for sizes that do not fit. */
export function blockMakers(c: HybridConfig): Readonly<Record<string, (place: Place) => Block>> {
  const stack: Stack = { width: c.width, normEps: c.normEps, sums: c.layers.length };
  return Object.fromEntries(Object.entries(c.blocks).map(([name, { type, ...section }]) => {
    try {
      return [name, (KINDS[type] as unknown as Kind<{}>).make(section, stack)];
    } catch (error) {
      if (!(error instanceof LenggenError) || error.code !== "E_CONFIG") throw error;
      throw new LenggenError("E_CONFIG", error.message.replace(/^config: /, `config: blocks.${name}: `));
    }
  }));
}

/** A configuration with nothing left out; it makes the same model again. */
export function hybridJson(c: HybridConfig): HybridJson {
  return {
    model_type: "hybrid",
    vocab_size: c.vocabulary,
    hidden_size: c.width,
    // JSON has no infinity, and the fields that may hold one take null for it.
    blocks: JSON.parse(JSON.stringify(c.blocks)) as HybridJson["blocks"],
    layers: c.layers.map((names) => (names.length === 1 ? names[0]! : [...names])),
    norm_eps: c.normEps,
    tie_embeddings: c.tieEmbeddings,
  };
}
