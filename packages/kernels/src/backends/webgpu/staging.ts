/**
 * Host-visible memory of a queue: the ring that a batch's params and small writes travel in, and the buffers that
 * reads are mapped from. The ring is overwritten batch after batch; the queue's order makes that safe.
 */
import { sizeClass, USAGE } from "./pool";

export class Staging {
  readonly #gpu: GPUDevice;
  readonly #layout: GPUBindGroupLayout;
  readonly #alignment: number;
  readonly #readbacks = new Map<number, GPUBuffer[]>();
  #params: GPUBuffer;
  #uploads: GPUBuffer;
  #paramsBytes = new Uint8Array(0);
  #uploadBytes = new Uint8Array(0);
  #paramsAt = 0;
  #uploadsAt = 0;
  /** Binds the params; each dispatch gives its offset. */
  paramsGroup: GPUBindGroup;

  constructor(gpu: GPUDevice, layout: GPUBindGroupLayout) {
    this.#gpu = gpu;
    this.#layout = layout;
    this.#alignment = gpu.limits.minUniformBufferOffsetAlignment;
    this.#params = this.#makeParams(1 << 14);
    this.#uploads = this.#makeUploads(1 << 14);
    this.paramsGroup = this.#bindParams();
  }

  /** Bytes that params take in the ring. */
  paramsStride(bytes: number): number {
    return Math.ceil(bytes / this.#alignment) * this.#alignment;
  }

  /** Starts a batch with so many bytes of params and of small writes. */
  begin(params: number, uploads: number): void {
    this.#paramsAt = 0;
    this.#uploadsAt = 0;
    // A bound range must lie inside the buffer even from the last offset.
    const needed = params + MOST_PARAMS;
    if (this.#paramsBytes.length < needed) {
      this.#params.destroy();
      this.#params = this.#makeParams(2 * needed);
      this.paramsGroup = this.#bindParams();
    }
    if (this.#uploadBytes.length < uploads) {
      this.#uploads.destroy();
      this.#uploads = this.#makeUploads(2 * uploads);
    }
  }

  /** The offset of the params in the ring. */
  addParams(bytes: Uint8Array): number {
    const at = this.#paramsAt;
    this.#paramsBytes.set(bytes, at);
    this.#paramsAt += this.paramsStride(bytes.length);
    return at;
  }

  addUpload(encoder: GPUCommandEncoder, target: GPUBuffer, offset: number, bytes: Uint8Array): void {
    this.#uploadBytes.set(bytes, this.#uploadsAt);
    encoder.copyBufferToBuffer(this.#uploads, this.#uploadsAt, target, offset, bytes.length);
    this.#uploadsAt += bytes.length;
  }

  /** Sends the ring, just before the submission that reads it. */
  upload(): void {
    if (this.#paramsAt > 0) this.#gpu.queue.writeBuffer(this.#params, 0, this.#paramsBytes, 0, this.#paramsAt);
    if (this.#uploadsAt > 0) this.#gpu.queue.writeBuffer(this.#uploads, 0, this.#uploadBytes, 0, this.#uploadsAt);
  }

  takeReadback(bytes: number): GPUBuffer {
    const size = sizeClass(bytes, this.#gpu.limits.maxBufferSize);
    return this.#readbacks.get(size)?.pop() ?? this.#gpu.createBuffer({ label: "readback", size, usage: USAGE.mapRead | USAGE.copyTarget });
  }

  giveReadback(buffer: GPUBuffer): void {
    // One of each size is enough for a loop that reads its loss; a large one is not worth its memory.
    const idle = this.#readbacks.get(buffer.size) ?? [];
    if (idle.length >= 4 || buffer.size > 1 << 22) return buffer.destroy();
    idle.push(buffer);
    this.#readbacks.set(buffer.size, idle);
  }

  #makeParams(size: number): GPUBuffer {
    this.#paramsBytes = new Uint8Array(size);
    return this.#gpu.createBuffer({ label: "params", size, usage: USAGE.uniform | USAGE.copyTarget });
  }

  #makeUploads(size: number): GPUBuffer {
    this.#uploadBytes = new Uint8Array(size);
    return this.#gpu.createBuffer({ label: "uploads", size, usage: USAGE.copySource | USAGE.copyTarget });
  }

  #bindParams(): GPUBindGroup {
    return this.#gpu.createBindGroup({
      label: "params", layout: this.#layout, entries: [{ binding: 0, resource: { buffer: this.#params, size: MOST_PARAMS } }],
    });
  }
}

/** Bytes of params that a kernel may have. */
export const MOST_PARAMS = 512;
