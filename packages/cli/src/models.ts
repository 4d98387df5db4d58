/** Models from the command line: presets and configurations. */
import { nearest, type SequenceModel } from "@lenggen/kernels";
import { modelIn } from "./checkpoints";
import { MODELS } from "./families";
import { UsageError } from "./usage";

/** What `--model` takes, for help; {@link MODEL_LIST} says which there are. */
export const MODEL_HELP = "the name of a preset or of a family, which means its first preset, or the path of a config.json";

/** All presets by family. */
const presetsBetween = (between: string): string =>
  Object.entries(MODELS.families).map(([family, { presets }]) => `${family}: ${Object.keys(presets).join(", ")}`).join(between);

/** All models by name, to stand below a command's help. */
export const MODEL_LIST = `\nModels, by family:\n  ${presetsBetween("\n  ")}`;

/** A model by the name of a preset or a family, or by the path of a `config.json`. */
export async function modelNamed(name: string): Promise<SequenceModel> {
  const preset = MODELS.named(name);
  if (preset) return preset;
  if (!name.endsWith(".json")) {
    throw new UsageError(
      `no model preset is named "${name}"${nearestModel(name)}; `
      + `there are ${presetsBetween("; ")}; or give the path of a config.json`,
      "E_UNKNOWN_NAME");
  }
  return modelIn(name);
}

/** Mamba-2's presets go without its name, so that with it another family's would be the nearest. */
function nearestModel(name: string): string {
  const families = Object.entries(MODELS.families);
  const own = families.flatMap(([family, { presets }]) => Object.keys(presets).filter((preset) => name === `${family}-${preset}`));
  return nearest(own[0] ?? name, own.length > 0 ? own : [...MODELS.presets, ...families.map(([family]) => family)]);
}
