/** The registry of model families: models by name, by the contents of a `config.json`, and from checkpoints. */
import type { Device } from "./device";
import type { DType } from "./dtype";
import { check } from "./errors";
import type { Parameters, SequenceModel } from "./model";
import { nearest } from "./nearest";
import type { ConfigOptions } from "./nn/config";
import type { Safetensors } from "./safetensors";

/** A model with its parameters, which are the caller's to dispose. */
export interface LoadedModel {
  readonly model: SequenceModel;
  readonly parameters: Parameters;
}

/** Models of one kind of configuration. */
export interface ModelFamily {
  /** Configurations by name; the first is meant by the family's own name. */
  readonly presets: Readonly<Record<string, unknown>>;
  /** Whether a `config.json` without a `model_type` is of this family, whose published layout has none: told by the fields that it has. */
  untyped?(config: object): boolean;
  /**
   * A model from the contents of a `config.json`. Throws `E_CONFIG`, also for fields that there are none of, unless these are to be
   * reported.
   */
  make(config: unknown, options?: ConfigOptions): SequenceModel;
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
  make(config: unknown, options?: ConfigOptions): SequenceModel;
  /** A checkpoint of any of the families; with f16 its matrices are. Throws `E_CONFIG`, `E_FORMAT`, `E_WEIGHTS`. */
  load(config: unknown, weights: Safetensors, device: Device, dtype?: DType): Promise<LoadedModel>;
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
  return {
    families,
    presets: names.flatMap((name) => Object.keys(families[name]!.presets)),
    named(name) {
      const holder = names.find((family) => Object.hasOwn(families[family]!.presets, name));
      if (holder !== undefined) return families[holder]!.make(families[holder]!.presets[name]);
      if (!Object.hasOwn(families, name)) return undefined;
      const { presets, make } = families[name]!;
      return make(Object.values(presets)[0]);
    },
    make: (config, options) => of(config).make(config, options),
    load: async (config, weights, device, dtype) => of(config).load(config, weights, device, dtype),
  };
}
