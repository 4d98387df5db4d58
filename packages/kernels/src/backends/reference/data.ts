import { DTYPES, fromBytes, type TypedArray } from "../../dtype";
import type { Tensor } from "../../tensor";

/** A reference device's buffer: plain bytes in JavaScript memory. */
export interface ReferenceBuffer {
  readonly bytes: ArrayBuffer;
}

/**
 * The numbers of a tensor on the reference device, as a live view; of f16, which is only read, as a copy. Arithmetic on them is
 * float64 throughout.
 */
export function data(t: Tensor): TypedArray {
  if (t.dtype === "f16") return fromBytes(new Uint8Array((t.buffer as ReferenceBuffer).bytes, t.byteOffset, t.byteLength), "f16");
  return new DTYPES[t.dtype].array((t.buffer as ReferenceBuffer).bytes, t.byteOffset, t.size);
}
