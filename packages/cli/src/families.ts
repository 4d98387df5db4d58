/** The table of model families that the command line knows. A new family is one line here. */
import { DRT_PRESETS, drt, loadDrt, loadTransformer, TRANSFORMER_PRESETS, transformer } from "@lenggen/gca";
import { check, type Device, type DType, nearest, type Parameters, type Safetensors, type SequenceModel } from "@lenggen/kernels";
import type { ConfigOptions } from "@lenggen/kernels/nn";
import { loadMamba2, mamba2, MAMBA2_PRESETS } from "@lenggen/recurrent";

/** A model with its parameters, which are the caller's to dispose. */
export interface LoadedModel {
  readonly model: SequenceModel;
  readonly parameters: Parameters;
}

/** Models of one kind of configuration. */
export interface Family {
  /** Configurations by name; the first is meant by the family's own name. */
  readonly presets: Readonly<Record<string, unknown>>;
  /** A model from the contents of a `config.json`. Throws `E_CONFIG`, also for fields that there are none of, unless these are to be reported. */
  make(config: unknown, options?: ConfigOptions): SequenceModel;
  /** A checkpoint; with f16 its matrices are. Throws `E_CONFIG`, `E_FORMAT`, `E_WEIGHTS`. */
  load(config: unknown, weights: Safetensors, device: Device, dtype?: DType): Promise<LoadedModel>;
}

/** Families by the `model_type` of their configurations. */
export const FAMILIES: Readonly<Record<string, Family>> = {
  mamba2: { presets: MAMBA2_PRESETS, make: mamba2, load: loadMamba2 },
  drt: { presets: DRT_PRESETS, make: drt, load: loadDrt },
  transformer: { presets: TRANSFORMER_PRESETS, make: transformer, load: loadTransformer },
};

/** The names of all presets. */
export const MODEL_PRESETS: readonly string[] = Object.values(FAMILIES).flatMap(({ presets }) => Object.keys(presets));

/** A model by the name of a preset or of a family, if there is one of that name. */
export function presetNamed(name: string): SequenceModel | undefined {
  const family = Object.values(FAMILIES).find(({ presets }) => Object.hasOwn(presets, name));
  if (family) return family.make(family.presets[name]);
  if (!Object.hasOwn(FAMILIES, name)) return undefined;
  const { presets, make } = FAMILIES[name]!;
  return make(Object.values(presets)[0]);
}

/** The family that a `config.json` is of, by its `model_type`; the published layout of Mamba-2 has none. Throws `E_CONFIG` for another. */
export function familyOf(config: unknown): Family {
  const type = config !== null && typeof config === "object" && "model_type" in config ? config.model_type : "mamba2";
  const names = Object.keys(FAMILIES);
  const known = typeof type === "string" && Object.hasOwn(FAMILIES, type);
  check(known, "E_CONFIG", () =>
    `config: no family of models has the model_type ${JSON.stringify(type)}${typeof type === "string" ? nearest(type, names) : ""}; there are ${names.join(", ")}`);
  return FAMILIES[type]!;
}
