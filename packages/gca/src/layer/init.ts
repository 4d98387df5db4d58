/** Starting values: matrices normal with deviation 1/√fan-in, those back into the residual stream divided by √(2·layers); norms 1. */
import { type Device, type DType, foldIn, full, type Key, normal, type Parameters } from "@lenggen/kernels";

/** Draws every parameter from its own key, so that one added later changes no other. `depth`: layers that add to one stream. */
export function initParameters(
  shapes: Readonly<Record<string, readonly number[]>>, depth: number, key: Key, device: Device, dtype: DType,
): Parameters {
  return Object.fromEntries(Object.entries(shapes).map(([name, shape], i) => {
    if (shape.length === 1) return [name, full(device, shape, 1, dtype)] as const;
    const std = name === "embedding.weight" ? 0.02 : 1 / Math.sqrt(shape[1]! * (intoStream(name) ? 2 * depth : 1));
    return [name, normal(foldIn(key, i), device, shape, { std, dtype })] as const;
  }));
}

function intoStream(name: string): boolean {
  return name.endsWith("out.weight");
}

/** Weight decay touches matrices alone. */
export function decays(name: string): boolean {
  return !name.endsWith("norm.weight");
}
