import { DTYPES, type TypedArray } from "../../dtype";
import type { Tensor } from "../../tensor";

/** A reference device's buffer: plain bytes in JavaScript memory. */
export interface ReferenceBuffer {
  readonly bytes: ArrayBuffer;
}

/** The numbers of a tensor on the reference device, as a live view. Arithmetic on them is float64 throughout. */
export function data(t: Tensor): TypedArray {
  return new DTYPES[t.dtype].array((t.buffer as ReferenceBuffer).bytes, t.byteOffset, t.size);
}
