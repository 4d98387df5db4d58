import { check } from "../../errors";
import type { Device } from "../../device";
import type { Tensor } from "../../tensor";
import { type NativeDevice, translated } from "./addon";

/** A CPU device's buffer: the addon's id of it. */
export interface CpuBuffer {
  readonly id: number;
}

/**
 * Queues a kernel of native/cpu by its name, with its buffers (an optional one that is absent is null) and
 * numbers, in the order that the kernel documents. Returns at once. Kernels read f32 and i32; those named "....f16" an f16 weight too.
 */
export type Launch = (kernel: string, buffers: readonly (Tensor | null)[], numbers: readonly number[]) => void;

/**
 * A training step launches some hundred kernels, so this path makes no objects: arguments travel in one array
 * that is used again and again (id, byte offset, byte length and type of each buffer, then the numbers).
 */
export function createLaunch(native: NativeDevice, device: Device): Launch {
  const kernels = new Map(native.describe().kernels.map((name, index) => [name, index]));
  let values = new Float64Array(256);
  return (kernel, buffers, numbers) => {
    const index = kernels.get(kernel);
    check(index !== undefined, "E_UNKNOWN_NAME", () =>
      `cpu: the addon has no kernel "${kernel}"; build it anew (node packages/kernels/scripts/build-native.mjs)`);
    const half = kernel.endsWith(".f16");
    const needed = buffers.length * 4 + numbers.length;
    if (needed > values.length) values = new Float64Array(needed * 2);
    let at = 0;
    for (const t of buffers) {
      if (t === null) {
        values[at] = -1;
      } else {
        check(t.device === device, "E_DEVICE", () => `cpu: kernel ${kernel} was given ${String(t)} of another device`);
        check(t.dtype !== "f64" && (t.dtype !== "f16" || half), "E_DTYPE", () => `cpu: kernel ${kernel} was given ${String(t)}, which it does not read`);
        values[at] = (t.buffer as CpuBuffer).id;
        values[at + 1] = t.byteOffset;
        values[at + 2] = t.byteLength;
        values[at + 3] = t.dtype === "f16" ? 2 : t.dtype === "i32" ? 1 : 0;
      }
      at += 4;
    }
    for (let i = 0; i < numbers.length; i++) values[at + i] = numbers[i]!;
    try {
      native.launch(index, values, buffers.length, numbers.length);
    } catch (error) {
      throw translated(error);
    }
  };
}
