/** Names of tensors in files, as far as they tell what a file is. */
import type { SequenceModel } from "./model";

/** How many kinds of names are looked at: more than any family has. */
const MOST_KINDS = 10_000;

/** Names with their numbers left open, so that all layers count as one: `blocks.N.att.w1`. */
export function kindsOfNames(names: readonly string[]): ReadonlySet<string> {
  const kinds = new Set<string>();
  for (const name of names) {
    kinds.add(name.slice(0, 200).replaceAll(/(?<=^|\.)\d+(?=\.|$)/g, "N"));
    if (kinds.size >= MOST_KINDS) break;
  }
  return kinds;
}

/** All names that a model's parameters may have in files. */
export function parametersOfFile(model: Pick<SequenceModel, "parameterShapes" | "checkpoint">): readonly string[] {
  const { written = {}, read = {}, rearranged = {} } = model.checkpoint ?? {};
  return [model.parameterShapes(), written, read, rearranged].flatMap((part) => Object.keys(part));
}
