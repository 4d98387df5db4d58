/**
 * The reference device: plain TypeScript, run at once, written to be read beside the papers. Arithmetic is
 * float64; only what is stored in f32 tensors is rounded. It is what the fast devices are tested against.
 */
import type { Backend, Device, KernelTable, MemoryUse } from "../../device";
import { check } from "../../errors";
import { memoryLimitFrom } from "../memoryLimit";
import { attention } from "./attention";
import { chunkAttention } from "./chunkAttention";
import { conv } from "./conv";
import { crossEntropy } from "./crossEntropy";
import type { ReferenceBuffer } from "./data";
import { deltaRule } from "./deltaRule";
import { elementwise } from "./elementwise";
import { cumulativeSum } from "./cumulativeSum";
import { gather } from "./gather";
import { where } from "./where";
import { embedding } from "./embedding";
import { gatedDeltaRule } from "./gatedDeltaRule";
import { gatedLinearAttention } from "./gatedLinearAttention";
import { gates } from "./gates";
import { layerNorm } from "./layerNorm";
import { lerp } from "./lerp";
import { matmul } from "./matmul";
import { memory } from "./memory";
import { norm } from "./norm";
import { optimizer } from "./optimizer";
import { random } from "./random";
import { reduce } from "./reduce";
import { retrieve } from "./retrieve";
import { rope } from "./rope";
import { selectiveScan } from "./selectiveScan";
import { ssd } from "./ssd";
import { turn } from "./turn";
import { view } from "./view";

const kernels: KernelTable = {
  ...attention,
  ...chunkAttention,
  ...conv,
  ...crossEntropy,
  ...deltaRule,
  ...elementwise,
  ...embedding,
  ...where,
  ...gather,
  ...cumulativeSum,
  ...gatedDeltaRule,
  ...gatedLinearAttention,
  ...gates,
  ...layerNorm,
  ...lerp,
  ...matmul,
  ...memory,
  ...norm,
  ...optimizer,
  ...random,
  ...reduce,
  ...retrieve,
  ...rope,
  ...selectiveScan,
  ...ssd,
  ...turn,
  ...view,
};

class ReferenceDevice implements Device {
  readonly kind = "reference";
  readonly description = "plain TypeScript in float64";
  readonly dtypes = ["f32", "f64", "f16", "i32"] as const;
  readonly kernels = kernels;
  #used = 0;
  #peak = 0;
  #closed = false;

  constructor(readonly memoryLimit: number) {}

  allocate(byteLength: number): ReferenceBuffer {
    this.#checkOpen();
    check(this.#used + byteLength <= this.memoryLimit, "E_MEMORY", () =>
      `reference: there is no room for ${byteLength} bytes: tensors hold ${this.#used} of ${this.memoryLimit}; ` +
      `make the batch, the length or the model smaller`);
    let bytes: ArrayBuffer;
    try {
      bytes = new ArrayBuffer(byteLength);
    } catch (error) {
      check(!(error instanceof RangeError), "E_MEMORY", () => `reference: JavaScript has no room for ${byteLength} bytes`);
      throw error;
    }
    this.#used += byteLength;
    this.#peak = Math.max(this.#peak, this.#used);
    return { bytes };
  }

  free(buffer: ReferenceBuffer): void {
    this.#used -= buffer.bytes.byteLength;
  }

  write(buffer: ReferenceBuffer, byteOffset: number, bytes: Uint8Array): void {
    this.#checkOpen();
    new Uint8Array(buffer.bytes, byteOffset, bytes.length).set(bytes);
  }

  async read(buffer: ReferenceBuffer, byteOffset: number, byteLength: number, into = new Uint8Array(byteLength)): Promise<Uint8Array> {
    this.#checkOpen();
    into.set(new Uint8Array(buffer.bytes, byteOffset, byteLength));
    return into;
  }

  async synchronize(): Promise<void> {
    this.#checkOpen();
  }

  memory(): MemoryUse {
    return { used: this.#used, pooled: 0, peak: this.#peak };
  }

  resetPeak(): void {
    this.#peak = this.#used;
  }

  close(): void {
    this.#closed = true;
  }

  #checkOpen(): void {
    check(!this.#closed, "E_DEVICE", () => "reference: the device is closed");
  }
}

export const reference: Backend = {
  kind: "reference",
  async probe() {
    return { name: "reference", available: true, reason: "", details: { dtypes: "f32, f64, f16, i32" } };
  },
  async open({ memoryLimit }) {
    return new ReferenceDevice(await memoryLimitFrom(memoryLimit));
  },
};
