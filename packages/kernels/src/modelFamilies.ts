/** The registry of model families: models by name, by the contents of a `config.json`, and from checkpoints. */
import type { Device } from "./device";
import type { DType } from "./dtype";
import { check, LenggenError } from "./errors";
import { kindsOfNames, parametersOfFile } from "./fileNames";
import { type Parameters, parameterCount, type SequenceModel } from "./model";
import { nearest } from "./nearest";
import type { ConfigOptions } from "./nn/config";
import type { Safetensors } from "./safetensors";
import type { TensorFile } from "./tensorFile";

/** A model with its parameters, which are the caller's to dispose. */
export interface LoadedModel {
  readonly model: SequenceModel;
  readonly parameters: Parameters;
}

/** A checkpoint that was loaded by a registry, with what it is in words. */
export interface LoadedCheckpoint extends LoadedModel {
  /** "RWKV-7 as its authors have it: 12 layers of width 768, 12 heads of 64; 65,536 tokens, 191,034,624 parameters as bf16". */
  readonly about: string;
}

/** A configuration that was read from the names and shapes of a checkpoint's tensors. */
export interface ReadFromShapes {
  /** A configuration, in the form of the layout that the file is in. */
  readonly config: Readonly<Record<string, unknown>>;
  /** What it says that shapes can't tell, in words: "one group of B and C". */
  readonly assumed: readonly string[];
}

/** A model with the file that its parameters are in, none of which has been loaded. */
export interface ModelInFile {
  readonly model: SequenceModel;
  /** The file as the model reads it. */
  readonly weights: TensorFile;
}

/** Options of {@link ModelFamily.make}. */
export interface MakeOptions extends ConfigOptions {
  /** The layout that the model is saved in: one of {@link ModelFamily.layouts}. That of the configuration's form unless given. */
  readonly layout?: string;
}

/** Models of one kind of configuration. */
export interface ModelFamily {
  /** Configurations by name; the first is meant by the family's own name. */
  readonly presets: Readonly<Record<string, unknown>>;
  /** Whether a `config.json` without a `model_type` is of this family, whose published layout has none: told by the fields that it has. */
  untyped?(config: object): boolean;
  /** The layouts in which checkpoints are loaded and saved, by name; absent where there is one, lenggen's own. */
  readonly layouts?: readonly string[];
  /**
   * The configuration of a checkpoint that has none, as its names and shapes tell it; undefined where they are another family's. Throws
   * `E_WEIGHTS` where they are this one's but for some.
   */
  fromShapes?(tensors: Safetensors["tensors"]): ReadFromShapes | undefined;
  /**
   * A model from the contents of a `config.json`. Throws `E_CONFIG`, also for fields that there are none of, unless these are to be
   * reported, and for settings that the layout given has no place for.
   */
  make(config: unknown, options?: MakeOptions): SequenceModel;
  /** A checkpoint without loading it. Absent where the model that `make` gives reads the file as it is. Throws `E_CONFIG`, `E_WEIGHTS`. */
  inFile?(config: unknown, weights: TensorFile): ModelInFile;
  /** A checkpoint; with f16 its matrices are. Throws `E_CONFIG`, `E_FORMAT`, `E_WEIGHTS`. */
  load(config: unknown, weights: Safetensors, device: Device, dtype?: DType): Promise<LoadedModel>;
}

/** Some families of models, asked by name. */
export interface ModelFamilies {
  /** By the `model_type` of their configurations. */
  readonly families: Readonly<Record<string, ModelFamily>>;
  /** The names of all presets. */
  readonly presets: readonly string[];
  /** A model by the name of a preset or of a family, if there is one of that name. */
  named(name: string): SequenceModel | undefined;
  /** A model from the contents of a `config.json` of any of the families. Throws `E_CONFIG`, see {@link ModelFamily.make}. */
  make(config: unknown, options?: MakeOptions): SequenceModel;
  /**
   * The configuration of a checkpoint that has none, from its names and shapes. Throws `E_WEIGHTS` with the nearest family when they are
   * none's.
   */
  fromShapes(tensors: Safetensors["tensors"]): ReadFromShapes;
  /**
   * A checkpoint of any of the families without loading it, for who reads one parameter after the other (`parametersIn`, `inLayout`).
   * Throws `E_CONFIG`, `E_WEIGHTS`.
   */
  inFile(config: unknown, weights: TensorFile): ModelInFile;
  /**
   * A checkpoint of any of the families, without a configuration where there is none (undefined); with f16 its matrices are. Throws
   * `E_CONFIG`, `E_FORMAT`, `E_WEIGHTS`: with what each of the two is, where configuration and file are of different models.
   */
  load(config: unknown, weights: Safetensors, device: Device, dtype?: DType): Promise<LoadedCheckpoint>;
}

/** A registry of these families, by the `model_type` of their configurations. */
export function modelFamilies(families: Readonly<Record<string, ModelFamily>>): ModelFamilies {
  const names = Object.keys(families);
  const typeOf = (config: unknown): unknown => {
    if (config === null || typeof config !== "object") return undefined;
    return "model_type" in config ? config.model_type : names.find((name) => families[name]!.untyped?.(config));
  };
  const of = (config: unknown): ModelFamily => {
    const type = typeOf(config);
    const known = typeof type === "string" && Object.hasOwn(families, type);
    check(known, "E_CONFIG", () => type === undefined
      ? `config: it has no model_type, which must be one of ${names.join(", ")}; nor does it look like a file of a family without one`
      : `config: no family of models has the model_type ${JSON.stringify(type)}${typeof type === "string" ? nearest(type, names) : ""}; `
        + `there are ${names.join(", ")}`);
    return families[type]!;
  };
  const firstOf = (name: string): SequenceModel => families[name]!.make(Object.values(families[name]!.presets)[0]);
  const found = (tensors: Safetensors["tensors"]): Told | undefined => {
    for (const name of names) {
      const told = families[name]!.fromShapes?.(tensors);
      if (told) return { family: families[name]!, told };
    }
    return undefined;
  };
  const foundOrNot = (tensors: Safetensors["tensors"]): Told => {
    const file = found(tensors);
    check(file, "E_WEIGHTS", () => ofNoFamily(tensors, names.map((name) => [name, firstOf(name)])));
    return file;
  };
  /** What a file is by its names and shapes, as far as they tell. */
  const fileInWords = (tensors: Safetensors["tensors"]): string | undefined => {
    const read = withoutError(() => found(tensors));
    const model = read && withoutError(() => read.family.make(read.told.config, SILENT));
    return model && inWords(model);
  };
  return {
    families,
    presets: names.flatMap((name) => Object.keys(families[name]!.presets)),
    named(name) {
      const holder = names.find((family) => Object.hasOwn(families[family]!.presets, name));
      if (holder !== undefined) return families[holder]!.make(families[holder]!.presets[name]);
      return Object.hasOwn(families, name) ? firstOf(name) : undefined;
    },
    make(config, options) {
      const family = of(config);
      const { layout } = options ?? {};
      const { layouts = [] } = family;
      check(layout === undefined || layouts.includes(layout), "E_CONFIG", () =>
        `config: a model of family ${String(typeOf(config))} can't be saved in the layout ${JSON.stringify(layout)}`
          + `${nearest(layout!, layouts)}; there is ${layouts.length === 0 ? "but its own" : layouts.join(", ")}`);
      return family.make(config, options);
    },
    fromShapes: (tensors) => foundOrNot(tensors).told,
    inFile(config, weights) {
      const told = config === undefined ? foundOrNot(weights.tensors) : undefined;
      const [family, json] = told ? [told.family, told.told.config] : [of(config), config];
      return family.inFile?.(json, weights) ?? { model: family.make(json, { unknownFields: "report" }), weights };
    },
    async load(config, weights, device, dtype) {
      if (config === undefined) {
        const { family, told } = foundOrNot(weights.tensors);
        const loaded = await family.load(told.config, weights, device, dtype);
        const assumed = told.assumed.length === 0 ? ""
          : `; no configuration tells otherwise, so it is taken to have ${told.assumed.join(", ")}`;
        return { ...loaded, about: `${inWords(loaded.model)} as ${typesOf(weights)}${assumed}` };
      }
      try {
        const loaded = await of(config).load(config, weights, device, dtype);
        return { ...loaded, about: `${inWords(loaded.model)} as ${typesOf(weights)}` };
      } catch (error) {
        if (!(error instanceof LenggenError) || !["E_CONFIG", "E_WEIGHTS"].includes(error.code)) throw error;
        const asked = withoutError(() => inWords(of(config).make(config, SILENT)));
        const file = fileInWords(weights.tensors);
        if (file === undefined || file === asked) throw error;
        const both = asked === undefined ? "" : `; by its configuration the model is ${asked}`;
        throw new LenggenError(error.code, `${error.message}${both}; by names and shapes the file is ${file}`, { cause: error });
      }
    },
  };
}

interface Told {
  readonly family: ModelFamily;
  readonly told: ReadFromShapes;
}

/** For models that are made to say what they are, besides one whose configuration was reported on. */
const SILENT: MakeOptions = { unknownFields: "report", warn: () => {} };

function withoutError<T>(make: () => T): T | undefined {
  try {
    return make();
  } catch (error) {
    if (error instanceof LenggenError) return undefined;
    throw error;
  }
}

function inWords(model: SequenceModel): string {
  const count = (n: number) => n.toLocaleString("en");
  const { about = `a model of family ${model.family}`, vocabulary } = model;
  return `${about}; ${count(vocabulary)} tokens, ${count(parameterCount(model))} parameters`;
}

/** "f16 and f32". */
function typesOf({ tensors }: Safetensors): string {
  return [...new Set(Object.values(tensors).map(({ dtype }) => dtype.toLowerCase()))].sort().join(" and ");
}

/** Why a file is of none of the families, with the nearest by its names. */
function ofNoFamily(tensors: Safetensors["tensors"], models: readonly (readonly [string, SequenceModel])[]): string {
  const kinds = kindsOfNames(Object.keys(tensors));
  const begin = `weights: there is no configuration, and by the names of its ${Object.keys(tensors).length} tensors the file is of no `
    + "family of models that there is";
  const ranked = models.map(([name, model]) => {
    const known = kindsOfNames(parametersOfFile(model));
    return { name, shared: [...kinds].filter((kind) => known.has(kind)).length, other: [...kinds].filter((kind) => !known.has(kind)) };
  }).sort((a, b) => b.shared - a.shared);
  const [best] = ranked;
  if (!best || best.shared === 0) return `${begin} (${models.map(([name]) => name).join(", ")})`;
  return `${begin}; the nearest is ${best.name}, which has ${best.shared} of its ${kinds.size} kinds of names, and not `
    + `${best.other.slice(0, 3).join(", ")}${best.other.length > 3 ? ", ..." : ""}`;
}
