import { check } from "../errors";
import type { StateLeaf } from "../model";
import { Tensor } from "../tensor";
import { leaves, type Tree } from "../tree";

/**
 * Makes the check of the states that a model is given. Without it a state of another form, such as the whole result of a pass in the
 * place of its state, would count as none, and the stream would begin anew without a word. The check throws `E_ARGUMENT` with the first
 * leaf that is missing, or the first that no state of the model has: then it is one of another model.
 */
export function stateCheck(stateLeaves: readonly StateLeaf[]): (state: Tree) => void {
  const known = stateLeaves.map(({ path }) => ({ path, names: path.split(".") }));
  const paths = new Set(known.map(({ path }) => path));
  const right = "give a pass the state that this model's forward or initialState gave, or none to begin a stream";
  return (state) => {
    for (const { path, names } of known) {
      let at: unknown = state;
      for (const name of names) at = (at as Record<string, unknown> | null | undefined)?.[name];
      check(at instanceof Tensor, "E_ARGUMENT", () => `state: ${path} is missing; ${right}`);
    }
    for (const { path } of leaves(state)) {
      check(paths.has(path), "E_ARGUMENT", () => `state: it holds ${path}, which is of another model; ${right}`);
    }
  };
}
