/**
 * Device buffers, kept for reuse. All work is in queue order, so a freed buffer may be handed out again at once: who
 * wrote or read it before is earlier in the queue.
 *
 * The cap: tensors and idle buffers together hold at most twice the bytes that tensors have held at their peak. That is
 * room enough for a training step of constant shapes to allocate nothing after the first: what it frees of one size and
 * asks for of another at its peak lies idle beside what it uses.
 */
import type { MemoryUse } from "../../device";
import { check, LenggenError } from "../../errors";

/** Usage flags, which Node has no globals for. */
export const USAGE = { mapRead: 0x1, copySource: 0x4, copyTarget: 0x8, uniform: 0x40, storage: 0x80, queryResolve: 0x200 } as const;

/** A buffer of the WebGPU device. */
export interface WebGpuBuffer {
  readonly id: number;
  readonly gpu: GPUBuffer;
  /** Bytes that it has, at least those that were asked for. */
  readonly size: number;
  /** The kernel that first used it, for the message when its allocation turns out to have failed. */
  firstUse: string | undefined;
}

/** Rounds up so that sizes fall into few classes: multiples of 256 bytes, and from 4 KiB eight classes per power of two. */
export function sizeClass(bytes: number, largest: number): number {
  const step = bytes <= 4096 ? 256 : 2 ** (Math.floor(Math.log2(bytes - 1)) - 3);
  const rounded = Math.max(256, Math.ceil(bytes / step) * step);
  return rounded <= largest ? rounded : Math.ceil(bytes / 4) * 4;
}

export class Pool {
  readonly #gpu: GPUDevice;
  readonly #limit: number;
  /** Told when the device says, later, that a buffer could not be made. */
  readonly #failed: (failure: LenggenError) => void;
  readonly #retire: (buffer: GPUBuffer) => void;
  /** Idle buffers by size; a Map keeps the order of insertion, so that its first entry is the one longest unused. */
  readonly #idle = new Map<number, WebGpuBuffer[]>();
  #count = 0;
  #used = 0;
  #pooled = 0;
  #peak = 0;
  #highWater = 0;
  /** Buffers made since the device was opened. */
  allocations = 0;

  /** `retire` destroys a buffer when the queue no longer needs it. */
  constructor(gpu: GPUDevice, limit: number, failed: (failure: LenggenError) => void, retire: (buffer: GPUBuffer) => void) {
    this.#gpu = gpu;
    this.#limit = limit;
    this.#failed = failed;
    this.#retire = retire;
  }

  take(byteLength: number): WebGpuBuffer {
    const largest = this.#gpu.limits.maxBufferSize;
    check(byteLength <= largest, "E_MEMORY", () =>
      `webgpu: a tensor of ${byteLength} bytes is over this device's largest buffer of ${largest} bytes; make the batch, the length or `
        + "the model smaller");
    const size = sizeClass(byteLength, largest);
    check(this.#used + size <= this.#limit, "E_MEMORY", () =>
      `webgpu: there is no room for ${byteLength} bytes: tensors hold ${this.#used} of ${this.#limit}; make the batch, the length or `
        + "the model smaller");
    const buffer = this.#reuse(size) ?? this.#create(size);
    this.#used += size;
    this.#peak = Math.max(this.#peak, this.#used);
    this.#highWater = Math.max(this.#highWater, this.#used);
    return buffer;
  }

  give(buffer: WebGpuBuffer): void {
    this.#used -= buffer.size;
    this.#pooled += buffer.size;
    const idle = this.#idle.get(buffer.size);
    if (idle) idle.push(buffer);
    else this.#idle.set(buffer.size, [buffer]);
    this.#shrink(2 * this.#highWater - this.#used);
  }

  memory(): MemoryUse {
    return { used: this.#used, pooled: this.#pooled, peak: this.#peak };
  }

  resetPeak(): void {
    this.#peak = this.#used;
  }

  #reuse(size: number): WebGpuBuffer | undefined {
    const idle = this.#idle.get(size);
    const buffer = idle?.pop();
    if (!buffer) return undefined;
    if (idle!.length === 0) this.#idle.delete(size);
    this.#pooled -= size;
    return buffer;
  }

  #create(size: number): WebGpuBuffer {
    if (this.#used + this.#pooled + size > this.#limit) this.#shrink(this.#limit - this.#used - size);
    this.allocations++;
    this.#gpu.pushErrorScope("validation");
    this.#gpu.pushErrorScope("out-of-memory");
    const gpu = this.#gpu.createBuffer({ size, usage: USAGE.storage | USAGE.copySource | USAGE.copyTarget });
    const buffer: WebGpuBuffer = { id: ++this.#count, gpu, size, firstUse: undefined };
    // The device answers later; what was launched on the buffer by then did nothing.
    void this.#watch(buffer, [this.#gpu.popErrorScope(), this.#gpu.popErrorScope()]);
    return buffer;
  }

  async #watch(buffer: WebGpuBuffer, scopes: readonly Promise<GPUError | null>[]): Promise<void> {
    // A lost device rejects; that is reported elsewhere.
    const errors = await Promise.all(scopes.map((scope) => scope.catch(() => null)));
    const error = errors.find((e) => e !== null);
    if (!error) return;
    const user = buffer.firstUse ? `kernel ${buffer.firstUse}` : "a tensor";
    this.#failed(new LenggenError("E_MEMORY",
      `webgpu: the device has no room for ${buffer.size} bytes that ${user} needs: ${error.message.trim()}; ` +
      `make the batch, the length or the model smaller`, { cause: error }));
  }

  /** Retires idle buffers, those of the size longest unused first, until at most `cap` bytes are idle. */
  #shrink(cap: number): void {
    while (this.#pooled > cap) {
      const [size] = this.#idle.keys();
      if (size === undefined) return;
      this.#retire(this.#reuse(size)!.gpu);
    }
  }
}
