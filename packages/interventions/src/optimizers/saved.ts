/** Reading back what an optimiser has saved. */
import { check, type Parameters, sameShape, showShape } from "@lenggen/kernels";
import type { SavedOptimizer } from "../optimizer";

/** Tensors like the parameters, by the names of those behind a prefix. Throws `E_WEIGHTS` when one is missing or of another shape. */
export function savedLike({ tensors, where }: SavedOptimizer, prefix: string, parameters: Parameters): Parameters {
  return Object.fromEntries(Object.entries(parameters).map(([name, { shape }]) => {
    const found = tensors[prefix + name];
    check(found, "E_WEIGHTS", () => `${where} lacks ${prefix}${name}`);
    check(sameShape(found.shape, shape), "E_WEIGHTS", () =>
      `${where}: ${prefix}${name} is ${showShape(found.shape)}; the configuration wants ${showShape(shape)}`);
    return [name, found];
  }));
}
