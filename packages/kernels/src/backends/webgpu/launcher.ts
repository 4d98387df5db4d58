/** What the kernel families are given: a way to launch programs on tensors, and what the device can do. */
import type { Device } from "../../device";
import { DTYPES } from "../../dtype";
import { check } from "../../errors";
import { showShape } from "../../shape";
import { Tensor } from "../../tensor";
import { SHIFT_WORKGROUP, shiftHalves } from "./half";
import type { Pipelines } from "./pipelines";
import type { Pool, WebGpuBuffer } from "./pool";
import type { BindingType, ParamType, Program } from "./program";
import type { BufferRange, Queue } from "./queue";
import { MOST_PARAMS } from "./staging";

/** Elements `start` to `start + length` of a tensor: what a kernel binds of one that is too large to be bound whole. */
export interface Part {
  readonly tensor: Tensor;
  readonly start: number;
  readonly length: number;
}

type Named<B> = { readonly [K in keyof B]: Tensor | Part | null | undefined };

/** Limits and features that kernels may use; all work with WebGPU's defaults and no feature. */
export interface Capabilities {
  /** Bytes of one binding. Larger tensors are bound in parts, see {@link rowParts}. */
  readonly maxBinding: number;
  /** Bytes of a group's own memory: at least 16,384. */
  readonly groupMemory: number;
  /** Invocations of a group: at least 256. */
  readonly groupSize: number;
  /** Whether `subgroupAdd` and its kin may be used. */
  readonly subgroups: boolean;
  /** Whether shaders may have f16: the feature shader-f16. Tensors of f16 there are without it too. */
  readonly halves: boolean;
}

export interface Launcher extends Capabilities {
  /**
   * Queues a program with its buffers and numbers by name, on so many groups (any number; 0 does nothing). A buffer
   * that is the program's to write may be read and written; no other of the launch may overlap it.
   */
  run<R extends Readonly<Record<string, BindingType | undefined>>, W extends Readonly<Record<string, BindingType | undefined>>,
  P extends Readonly<Record<string, ParamType>>>(
    program: Program<R, W, P>, buffers: Named<R> & Named<W>, params: { readonly [K in keyof P]: number }, groups: number,
  ): void;
  /** Copies `length` elements of 4 bytes between tensors that do not share a buffer. */
  copy(source: Tensor, sourceStart: number, target: Tensor, targetStart: number, length: number): void;
}

/** Elements `start` to `start + length` of a tensor. */
export function part(tensor: Tensor, start: number, length: number): Part {
  return { tensor, start, length };
}

/** Rows `start` to `start + count` of tensors that are too large to be bound whole. */
export interface RowRange {
  readonly start: number;
  readonly count: number;
}

/**
 * Cuts rows into ranges such that each tensor, of so many 4-byte elements a row (`widths`), can be bound range by range.
 * Ranges start at 256-byte boundaries where they can; one range where all fits. Throws `E_MEMORY` when not even one row fits.
 */
export function rowParts(rows: number, widths: readonly number[], maxBinding: number): RowRange[] {
  const widest = Math.max(1, ...widths);
  let count = Math.floor(maxBinding / 4 / widest);
  if (count >= rows) return [{ start: 0, count: rows }];
  check(count >= 1, "E_MEMORY", () =>
    `webgpu: a row of ${widest} numbers is larger than the ${maxBinding} bytes that this device binds at once; make the model smaller`);
  if (count > 64) count -= count % 64;
  return Array.from({ length: Math.ceil(rows / count) }, (_, i) => ({ start: i * count, count: Math.min(count, rows - i * count) }));
}

/** What tensors of f16 may be bound as. */
const HALF_TYPES: ReadonlySet<BindingType> = new Set(["f16", "vec4h", "u32", "vec2u"]);

/** Groups beyond this many go into a second dimension; WebGPU's default limit. */
const MOST_GROUPS = 65535;

export function createLauncher(device: Device, capabilities: Capabilities,
  parts: { pool: Pool; queue: Queue; pipelines: Pipelines; alignment: number }): Launcher {
  const { pool, queue, pipelines, alignment } = parts;

  const rangeOf = (kernel: string, name: string, type: BindingType, given: Tensor | Part): BufferRange => {
    const { tensor, start, length } = given instanceof Tensor ? { tensor: given, start: 0, length: given.size } : given;
    check(tensor.device === device, "E_DEVICE", () => `webgpu: kernel ${kernel} was given ${String(tensor)} of another device as ${name}`);
    check(tensor.dtype !== "f16" || HALF_TYPES.has(type), "E_DTYPE",
      () => `webgpu: kernel ${kernel} was given ${String(tensor)} as ${name}, which it does not read`);
    const buffer = tensor.buffer as WebGpuBuffer;
    const { bytes } = DTYPES[tensor.dtype];
    buffer.firstUse ??= kernel;
    const size = length * bytes;
    check(size <= capabilities.maxBinding, "E_MEMORY", () =>
      `webgpu: kernel ${kernel}: ${name} ${showShape(tensor.shape)} has ${size} bytes, and this device binds at most `
      + `${capabilities.maxBinding} at once; ` +
      `make the batch, the length or the model smaller`);
    // Nothing can't be bound; a kernel of no elements does not look. What is bound are whole words.
    return { buffer, offset: tensor.byteOffset + start * bytes, size: Math.max(Math.ceil(size / 4) * 4, 16) };
  };

  const standIn = (size: number): BufferRange => ({ buffer: pool.take(size), offset: 0, size });
  /** A copy of halves that begin in the middle of a word, from the beginning of a buffer on. */
  const shifted = ({ buffer, offset, size }: BufferRange): BufferRange => {
    const words = standIn(size + 4);
    const there = Math.min(words.size, buffer.size - (offset - 2));
    queue.copy({ buffer, offset: offset - 2, size: there }, { ...words, size: there });
    const stand = standIn(size);
    const params = encodeParams(shiftHalves, { words: size / 4 }, Math.ceil(size / 4 / SHIFT_WORKGROUP));
    queue.dispatch({ pipeline: pipelines.get(shiftHalves), ranges: [words, stand], params,
      groups: gridOf(Math.ceil(size / 4 / SHIFT_WORKGROUP)) });
    pool.give(words.buffer);
    return stand;
  };

  const run = (program: Program, buffers: Readonly<Record<string, Tensor | Part | null | undefined>>, params: Readonly<Record<string,
    number>>, groups: number): void => {
    if (groups === 0) return;
    const ranges: BufferRange[] = [];
    const temporary: { from: BufferRange; to: BufferRange; writable: boolean }[] = [];
    const halves: BufferRange[] = [];
    for (const { name, type, writable } of program.bindings) {
      const given = buffers[name];
      check(given, "E_ARGUMENT", () => `webgpu: kernel ${program.name} was launched without ${name}`);
      const range = rangeOf(program.name, name, type, given);
      if (range.offset % 4 !== 0) {
        halves.push(shifted(range));
        ranges.push(halves.at(-1)!);
        continue;
      }
      // A buffer can't be bound twice where one is written, nor from any byte: then a copy stands in.
      const shared = ranges.some((other, i) => other.buffer === range.buffer && (writable || program.bindings[i]!.writable));
      if (shared || range.offset % alignment !== 0) {
        const stand = standIn(range.size);
        const size = Math.min(range.size, range.buffer.size - range.offset);
        temporary.push({ from: { ...range, size }, to: { ...stand, size }, writable });
        ranges.push(stand);
      } else ranges.push(range);
    }
    for (const { from, to } of temporary) queue.copy(from, to);
    queue.dispatch({ pipeline: pipelines.get(program), ranges, params: encodeParams(program, params, groups), groups: gridOf(groups) });
    for (const { from, to, writable } of temporary) {
      if (writable) queue.copy(to, from);
      pool.give(to.buffer);
    }
    for (const { buffer } of halves) pool.give(buffer);
  };

  return {
    ...capabilities,
    run,
    copy(source, sourceStart, target, targetStart, length) {
      if (length === 0) return;
      const size = length * 4;
      queue.copy(
        { buffer: source.buffer as WebGpuBuffer, offset: source.byteOffset + sourceStart * 4, size },
        { buffer: target.buffer as WebGpuBuffer, offset: target.byteOffset + targetStart * 4, size },
      );
    },
  };
}

function gridOf(groups: number): [number, number] {
  const x = Math.min(groups, MOST_GROUPS);
  return [x, Math.ceil(groups / x)];
}

function encodeParams({ name, numbers }: Program, params: Readonly<Record<string, number>>, groups: number): Uint8Array {
  const bytes = new Uint8Array(Math.ceil((numbers.length * 4) / 16) * 16);
  check(bytes.length <= MOST_PARAMS, "E_ARGUMENT",
    () => `webgpu: kernel ${name} has ${numbers.length} params; at most ${MOST_PARAMS / 4} fit`);
  const view = new DataView(bytes.buffer);
  numbers.forEach((number, i) => {
    const value = number.name === "groups" ? groups : params[number.name];
    check(value !== undefined, "E_ARGUMENT", () => `webgpu: kernel ${name} was launched without ${number.name}`);
    if (number.type === "f32") view.setFloat32(i * 4, value, true);
    else if (number.type === "i32") view.setInt32(i * 4, value, true);
    else view.setUint32(i * 4, value, true);
  });
  return bytes;
}
