/**
 * Kernels over a loop nest (ops/layout.ts): out[...] = f(operands[...]), each operand with strides of its own. A nest of
 * one contiguous axis is the plain elementwise kernel. The shader is made for the nest's rank and for what its last axis
 * does: vectors of four where all walk on by one element or stand still, single elements otherwise. Sizes and strides
 * travel as params. A nest whose operands are too large to be bound is cut into boxes.
 */
import { collapse, type Layout } from "../../ops/layout";
import type { Tensor } from "../../tensor";
import { type Launcher, type Part, part } from "./launcher";
import { type BindingType, program, variants } from "./program";

const WORKGROUP = 256;
/** Elements between two places where a binding may begin: 256 bytes. */
const ALIGNMENT = 64;
/** Elements that a box's operand may reach over, such that it can be bound from an aligned place before its first one. */
export const mostElements = (gpu: Launcher): number => gpu.maxBinding / 4 - ALIGNMENT;

/** What is computed at each step of a nest. */
export interface NestSpec {
  readonly name: string;
  /** What the bytes are taken for: u32 moves them as they are. */
  readonly element: "f32" | "u32";
  /** Operands that are read, in the order of the layout's strides; `out` comes last. */
  readonly reads: readonly string[];
  /** Numbers of type f32, in the shader `params.name`. */
  readonly params?: readonly string[];
  readonly declarations?: string;
  /** WGSL expression of the result, from values by the operands' names. `vector`: they are vectors of four. */
  result(vector: boolean): string;
}

/** A tensor, and the element where the nest begins in it. */
export type Operand = Tensor | { readonly tensor: Tensor; readonly start: number };

/** Runs a nest's kernel; operands in the order of the layout's strides, `out` last. Nothing happens for an empty nest. */
export type NestKernel = (gpu: Launcher, operands: readonly Operand[], layout: Layout, params?: Readonly<Record<string, number>>) => void;

/** Makes a kernel over loop nests. Call it once per spec: compiled shaders are known by what it returns. */
export function nest(spec: NestSpec): NestKernel {
  const programs = variants((rank: number, kinds: string, vector: boolean) => nestProgram(spec, rank, kinds, vector));
  return (gpu, operands, layout, params = {}) => {
    if (layout.sizes.includes(0)) return;
    for (const box of boxes(layout, mostElements(gpu))) launchBox(gpu, spec, programs, operands, box, params);
  };
}

/** The nest of tensors of `size` elements that are all walked through from end to end. */
export function flat(size: number, operands: number): Layout {
  return { sizes: [size], strides: Array.from({ length: operands }, () => [1]) };
}

/** Where a box's operand is bound: from an aligned place `base` elements before its first one, which the shader gets as a parameter. */
export function placeOf(operand: Operand, start: number, extent: number): { base: number; part: Part } {
  const { tensor, start: own } = "tensor" in operand ? operand : { tensor: operand, start: 0 };
  const base = (tensor.offset + own + start) % ALIGNMENT;
  return { base, part: part(tensor, own + start - base, base + extent) };
}

/** Part of a nest: operand k starts at its own start plus `starts[k]`, and reaches over `extents[k]` elements. */
export interface Box extends Layout {
  readonly starts: readonly number[];
  readonly extents: readonly number[];
}

/** Cuts a nest into boxes in which no operand reaches over more than `most` elements; one box where all fits. */
export function boxes(layout: Layout, most: number, starts: readonly number[] = layout.strides.map(() => 0)): Box[] {
  const { sizes, strides } = layout;
  const reach = (k: number, axis: number) => (sizes[axis]! - 1) * strides[k]![axis]!;
  const extents = strides.map((_, k) => sizes.reduce((sum, __, axis) => sum + reach(k, axis), 1));
  const widest = extents.indexOf(Math.max(...extents));
  if (extents[widest]! <= most) return [{ ...collapse(layout), starts, extents }];
  // The axis along which the widest operand reaches farthest is cut, so that transposed operands shrink in turn.
  const axis = sizes.reduce((best, _, i) => (reach(widest, i) > reach(widest, best) ? i : best), 0);
  const size = sizes[axis]!;
  let step = Math.ceil(size / Math.max(2, Math.ceil(extents[widest]! / most)));
  if (step > ALIGNMENT) step -= step % ALIGNMENT;
  return Array.from({ length: Math.ceil(size / step) }, (_, i) => {
    const piece = { sizes: sizes.with(axis, Math.min(step, size - i * step)), strides };
    return boxes(piece, most, starts.map((start, k) => start + i * step * strides[k]![axis]!));
  }).flat();
}

function launchBox(
  gpu: Launcher, spec: NestSpec, programs: (rank: number, kinds: string, vector: boolean) => ReturnType<typeof nestProgram>,
  operands: readonly Operand[], { sizes, strides, starts, extents }: Box, params: Readonly<Record<string, number>>,
): void {
  const names = [...spec.reads, "out"];
  const rank = sizes.length;
  const inner = strides.map((s) => s[rank - 1]!);
  const places = operands.map((operand, k) => placeOf(operand, starts[k]!, extents[k]!));
  const vector = sizes[rank - 1]! % 4 === 0 && inner.at(-1) === 1 && strides.every((s, k) =>
    inner[k] === 0 || (inner[k] === 1 && [places[k]!.base, ...s.slice(0, -1)].every((step) => step % 4 === 0)));
  const kinds = inner.map((step) => (step === 0 ? "0" : step === 1 ? "1" : "s")).join("");
  const numbers: Record<string, number> = { ...params };
  sizes.forEach((size, axis) => (numbers[`size${axis}`] = vector && axis === rank - 1 ? size / 4 : size));
  names.forEach((name, k) => {
    const unit = vector && inner[k] === 1 ? 4 : 1;
    numbers[`${name}_base`] = places[k]!.base / unit;
    strides[k]!.forEach((step, axis) => (numbers[`${name}_step${axis}`] = axis === rank - 1 ? step : step / unit));
  });
  const steps = sizes.reduce((product, size) => product * size, 1) / (vector ? 4 : 1);
  const buffers = { ...Object.fromEntries(spec.reads.map((name, k) => [`${name}_in`, places[k]!.part])), out: places.at(-1)!.part };
  gpu.run(programs(rank, kinds, vector), buffers, { ...numbers, steps }, Math.ceil(steps / (WORKGROUP * eachOf(vector))));
}

/** Steps of one lane: about 16 bytes of each operand. */
const eachOf = (vector: boolean) => (vector ? 1 : 4);

/** Lane l of group g takes the steps (g · each + i) · WORKGROUP + l of the nest in row-major order. */
function nestProgram(spec: NestSpec, rank: number, kinds: string, vector: boolean) {
  const names = [...spec.reads, "out"];
  const type = (k: number): BindingType => (vector && kinds[k] === "1" ? (spec.element === "f32" ? "vec4f" : "vec4u") : spec.element);
  const widened = vector ? (spec.element === "f32" ? "vec4f" : "vec4u") : spec.element;
  const axes = Array.from({ length: rank }, (_, axis) => axis);
  const place = (name: string, k: number) =>
    [`params.${name}_base`, ...axes.flatMap((axis) => {
      if (axis < rank - 1) return [`i${axis} * params.${name}_step${axis}`];
      return kinds[k] === "0" ? [] : [kinds[k] === "1" ? `i${axis}` : `i${axis} * params.${name}_step${axis}`];
    })].join(" + ");
  const indices = axes.slice(1).toReversed().map((axis) => `let i${axis} = rest % params.size${axis}; rest /= params.size${axis};`);
  const numbers = ["steps", ...axes.map((axis) => `size${axis}`),
    ...names.flatMap((name) => [`${name}_base`, ...axes.map((axis) => `${name}_step${axis}`)])];
  return program({
    name: spec.name,
    reads: Object.fromEntries(spec.reads.map((name, k) => [`${name}_in`, type(k)])) as Record<string, BindingType>,
    writes: { out: type(names.length - 1) },
    params: {
      ...Object.fromEntries(numbers.map((name) => [name, "u32" as const])),
      ...Object.fromEntries((spec.params ?? []).map((name) => [name, "f32" as const])),
    },
    workgroup: WORKGROUP,
    code: `
${spec.declarations ?? ""}
fn run(group: u32, lane: u32) {
  for (var turn = 0u; turn < ${eachOf(vector)}u; turn++) {
    let step = (group * ${eachOf(vector)}u + turn) * WORKGROUP + lane;
    if (step >= params.steps) { return; }
    var rest = step;
    ${indices.join("\n    ")}
    let i0 = rest;
    ${spec.reads.map((name, k) => `let ${name} = ${widened}(${name}_in[${place(name, k)}]);`).join("\n    ")}
    out[${place("out", names.length - 1)}] = ${spec.result(vector)};
  }
}`,
  });
}
