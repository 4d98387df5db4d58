/**
 * Half-precision weights in shaders. With the feature shader-f16 they are bound as what they are; without it as words of two numbers,
 * which WGSL can unpack anywhere. Either way what is read is an f32, the same one.
 */
import type { Tensor } from "../../tensor";
import { type BindingType, program } from "./program";

/** How an operand is stored: as f32, as f16 with the feature shader-f16, or as f16 in words of two. */
export type Stored = "f32" | "f16" | "words";

/** How a tensor is stored for kernels of a device with or without the feature. */
export function storedAs({ dtype }: Tensor, { halves }: { readonly halves: boolean }): Stored {
  if (dtype !== "f16") return "f32";
  return halves ? "f16" : "words";
}

/** Type that an operand or output is bound as; `vector`: four numbers at a time. */
export function boundAs(vector: boolean, stored: Stored = "f32"): BindingType {
  if (stored === "f32") return vector ? "vec4f" : "f32";
  if (stored === "f16") return vector ? "vec4h" : "f16";
  return vector ? "vec2u" : "u32";
}

/**
 * WGSL of `fn load_<name>(at: u32)`: number `at` of a binding as f32, or its quad `at` as vec4f. An odd `at` needs no alignment of its
 * own; the binding starts at a whole word (see {@link shiftHalves}).
 */
export function loadCode(name: string, stored: Stored, vector: boolean): string {
  const type = vector ? "vec4f" : "f32";
  const value = {
    f32: `${name}[at]`,
    f16: `${type}(${name}[at])`,
    words: vector ? `vec4f(unpack2x16float(${name}[at].x), unpack2x16float(${name}[at].y))` : `unpack2x16float(${name}[at / 2u])[at % 2u]`,
  }[stored];
  return `fn load_${name}(at: u32) -> ${type} { return ${value}; }`;
}

export const SHIFT_WORKGROUP = 64;

/** out [words] = the halves of x [words + 1] from its second one on: no copy moves memory by two bytes. */
export const shiftHalves = program({
  name: "f16: shift",
  reads: { x: "u32" },
  writes: { out: "u32" },
  params: { words: "u32" },
  workgroup: SHIFT_WORKGROUP,
  code: `
fn run(group: u32, lane: u32) {
  let i = group * WORKGROUP + lane;
  if (i < params.words) { out[i] = (x[i] >> 16u) | (x[i + 1u] << 16u); }
}`,
});
