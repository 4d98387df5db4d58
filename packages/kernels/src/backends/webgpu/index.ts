/**
 * The WebGPU device, in browsers (pages and workers) and in Node. Kernels are WGSL; the queue is queue.ts, memory is
 * pool.ts, compilation is pipelines.ts, and what a launch checks and copies is launcher.ts.
 */
import type { Backend, Ceiling, Device, DeviceBuffer, DeviceListing, KernelTable, KernelTime, LaunchCounts, MemoryUse,
  OpenOptions } from "../../device";
import { check, LenggenError } from "../../errors";
import { findAdapter, type FoundAdapter } from "./adapter";
import { attention } from "./attention";
import { chunkAttention } from "./chunkAttention";
import { conv } from "./conv";
import { crossEntropy } from "./crossEntropy";
import { deltaRule } from "./deltaRule";
import { elementwise } from "./elementwise";
import { cumulativeSum } from "./cumulativeSum";
import { gather } from "./gather";
import { where } from "./where";
import { embedding } from "./embedding";
import { gatedLinearAttention } from "./gatedLinearAttention";
import { gates } from "./gates";
import { createLauncher, type Launcher } from "./launcher";
import { layerNorm } from "./layerNorm";
import { lerp } from "./lerp";
import { matmul } from "./matmul";
import { memory } from "./memory";
import { norm } from "./norm";
import { optimizer } from "./optimizer";
import { Pipelines } from "./pipelines";
import { Pool, type WebGpuBuffer } from "./pool";
import { Queue } from "./queue";
import { random } from "./random";
import { reduce } from "./reduce";
import { retrieve } from "./retrieve";
import { rope } from "./rope";
import { selectiveScan } from "./selectiveScan";
import { ssd } from "./ssd";
import { turn } from "./turn";
import { view } from "./view";

const createKernels = (gpu: Launcher): KernelTable => ({
  ...attention(gpu),
  ...chunkAttention(gpu),
  ...conv(gpu),
  ...crossEntropy(gpu),
  ...deltaRule(gpu),
  ...elementwise(gpu),
  ...embedding(gpu),
  ...where(gpu),
  ...gather(gpu),
  ...cumulativeSum(gpu),
  ...gatedLinearAttention(gpu),
  ...gates(gpu),
  ...layerNorm(gpu),
  ...lerp(gpu),
  ...matmul(gpu),
  ...memory(gpu),
  ...norm(gpu),
  ...optimizer(gpu),
  ...random(gpu),
  ...reduce(gpu),
  ...retrieve(gpu),
  ...rope(gpu),
  ...selectiveScan(gpu),
  ...ssd(gpu),
  ...turn(gpu),
  ...view(gpu),
});

export class WebGpuDevice implements Device {
  readonly kind = "webgpu";
  readonly description: string;
  readonly memoryLimit: number | undefined;
  readonly dtypes = ["f32", "f16", "i32"] as const;
  readonly kernels: KernelTable;
  readonly profile?: () => Promise<readonly KernelTime[]>;
  readonly resetProfile?: () => void;
  /** The device itself: for tests that lose it, and to share buffers with other code. */
  readonly gpu: GPUDevice;
  /** For programs that are not kernels of the table: the ceilings of a benchmark. */
  readonly launcher: Launcher;
  readonly #pool: Pool;
  readonly #queue: Queue;
  #lost: LenggenError | undefined;
  #closed = false;
  #open: Promise<unknown> = Promise.resolve();

  constructor(gpu: GPUDevice, description: string, options: { memoryLimit: number | undefined; maxBinding: number; profile: boolean }) {
    this.gpu = gpu;
    this.memoryLimit = options.memoryLimit;
    this.description = description;
    const { limits } = gpu;
    const pipelines = new Pipelines(gpu);
    this.#queue = new Queue(gpu, pipelines, options.profile && gpu.features.has("timestamp-query"));
    this.#pool = new Pool(gpu, options.memoryLimit ?? Infinity, (failure) => this.#queue.fail(failure),
      (buffer) => this.#queue.retire(buffer));
    this.launcher = createLauncher(
      this,
      {
        maxBinding: Math.min(options.maxBinding, limits.maxStorageBufferBindingSize),
        groupMemory: limits.maxComputeWorkgroupStorageSize,
        groupSize: Math.min(limits.maxComputeInvocationsPerWorkgroup, limits.maxComputeWorkgroupSizeX),
        subgroups: gpu.features.has("subgroups"),
        halves: gpu.features.has("shader-f16"),
      },
      { pool: this.#pool, queue: this.#queue, pipelines, alignment: limits.minStorageBufferOffsetAlignment },
    );
    this.kernels = createKernels(this.launcher);
    const { profiler } = this.#queue;
    if (profiler) {
      this.profile = async () => {
        await this.synchronize();
        await profiler.settled();
        return profiler.times();
      };
      this.resetProfile = () => profiler.reset();
    }
    gpu.onuncapturederror = (event) => {
      event.preventDefault();
      this.#queue.fail(new LenggenError("E_DEVICE", `webgpu: ${event.error.message.trim()}`, { cause: event.error }));
    };
    void this.#watchLoss();
  }

  allocate(byteLength: number): WebGpuBuffer {
    this.#checkUsable();
    return this.#pool.take(byteLength);
  }

  free(buffer: DeviceBuffer): void {
    if (!this.#closed) this.#pool.give(buffer as WebGpuBuffer);
  }

  write(buffer: DeviceBuffer, byteOffset: number, bytes: Uint8Array): void {
    this.#checkUsable();
    this.#queue.write(buffer as WebGpuBuffer, byteOffset, bytes.slice());
  }

  async read(buffer: DeviceBuffer, byteOffset: number, byteLength: number, into?: Uint8Array): Promise<Uint8Array> {
    return this.#await(() => this.#queue.read({ buffer: buffer as WebGpuBuffer, offset: byteOffset, size: byteLength }, into));
  }

  async synchronize(): Promise<void> {
    await this.#await(() => this.#queue.synchronize());
  }

  memory(): MemoryUse {
    return this.#pool.memory();
  }

  resetPeak(): void {
    this.#pool.resetPeak();
  }

  /** Loaded when somebody asks: pages that only compute go without. */
  async ceiling(): Promise<Ceiling> {
    return (await import("./ceiling")).webGpuCeiling(this);
  }

  counts(): LaunchCounts {
    return { ...this.#queue.counts, allocations: this.#pool.allocations };
  }

  /** Reads that were asked for before still resolve. */
  close(): void {
    if (this.#closed) return;
    this.#queue.flush();
    this.#closed = true;
    const finish = (): void => this.gpu.destroy();
    void this.#open.then(finish, finish);
  }

  async #watchLoss(): Promise<void> {
    const { reason, message } = await this.gpu.lost;
    if (this.#closed) return;
    this.#lost = new LenggenError("E_DEVICE_LOST",
      `webgpu: the device was lost (${message.trim() || reason || "unknown reason"}), and what it held with it; ` +
      `open a device anew and go on from the last checkpoint`);
  }

  #checkUsable(): void {
    check(!this.#closed, "E_DEVICE", () => "webgpu: the device is closed");
    if (this.#lost) throw this.#lost;
  }

  /** Runs a wait of the queue; when the device was lost meanwhile, that is the error. */
  async #await<T>(wait: () => Promise<T>): Promise<T> {
    this.#checkUsable();
    const result = wait();
    this.#open = Promise.allSettled([this.#open, result]);
    try {
      const value = await result;
      if (this.#lost) throw this.#lost;
      return value;
    } catch (error) {
      if (error instanceof LenggenError) throw error;
      // The wait may learn of the loss before we do.
      await Promise.race([this.gpu.lost, new Promise((resolve) => setTimeout(resolve, 1000))]);
      throw this.#lost ?? new LenggenError("E_DEVICE", `webgpu: ${error instanceof Error ? error.message : String(error)}`,
        { cause: error });
    }
  }
}

/** Limits that are asked for when the adapter has more than the default. */
const LIMITS = [
  "maxBufferSize", "maxStorageBufferBindingSize", "maxComputeWorkgroupStorageSize", "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
] as const;
const FEATURES = ["subgroups", "shader-f16", "timestamp-query"] as const;

function listingOf(found: FoundAdapter): DeviceListing {
  if (!found.adapter) return { name: "webgpu", available: false, reason: found.reason, details: {} };
  const { info, features, limits } = found.adapter;
  const software = info.isFallbackAdapter;
  return {
    name: "webgpu",
    available: !software,
    reason: software
      ? `the only adapter is ${nameOf(info)}, which is software and slower than the cpu device; for tests, open it all the same with `
        + "the option fallback, or set LENGGEN_WEBGPU_FALLBACK=1"
      : "",
    details: {
      adapter: nameOf(info),
      type: software ? "software" : "hardware",
      features: FEATURES.filter((name) => features.has(name)).join(", ") || "none",
      largestBuffer: limits.maxBufferSize,
      groupMemory: limits.maxComputeWorkgroupStorageSize,
    },
  };
}

const nameOf = ({ vendor, architecture, device, description }: GPUAdapterInfo): string =>
  description || [vendor, architecture, device].filter(Boolean).join(" ") || "an adapter without a name";

/** `fallback` as given, else whether the environment variable LENGGEN_WEBGPU_FALLBACK is 1. */
function fallbackFrom(given: boolean | undefined): boolean {
  return given ?? (typeof process !== "undefined" && process.env?.["LENGGEN_WEBGPU_FALLBACK"] === "1");
}

export const webgpu: Backend = {
  kind: "webgpu",
  async probe({ fallback } = {}) {
    const listing = listingOf(await findAdapter());
    return fallbackFrom(fallback) && listing.details["adapter"] !== undefined ? { ...listing, available: true, reason: "" } : listing;
  },
  async open({ memoryLimit, profile = false, webgpu: wanted = {} }: OpenOptions) {
    check(memoryLimit === undefined || (Number.isSafeInteger(memoryLimit) && memoryLimit >= 1), "E_ARGUMENT", () =>
      `memoryLimit must be a whole number of bytes of at least 1, not ${memoryLimit}`);
    const { features = FEATURES, defaultLimits = false, maxBinding = Infinity } = wanted;
    check(maxBinding >= 1024, "E_ARGUMENT", () => `webgpu.maxBinding must be at least 1024 bytes, not ${maxBinding}`);
    const { adapter, reason } = await findAdapter();
    if (!adapter) throw new LenggenError("E_DEVICE_UNAVAILABLE", `device webgpu can't be opened: ${reason}`);
    for (const name of wanted.features ?? []) {
      check(adapter.features.has(name), "E_DEVICE_UNAVAILABLE",
        () => `device webgpu can't be opened: its adapter ${nameOf(adapter.info)} lacks the feature ${name}`);
    }
    const requiredLimits = defaultLimits ? {} : Object.fromEntries(LIMITS.map((name) => [name, adapter.limits[name]]));
    let device: GPUDevice;
    try {
      device = await adapter.requestDevice({ requiredFeatures: features.filter((name) => adapter.features.has(name)), requiredLimits });
    } catch (error) {
      throw new LenggenError("E_DEVICE_UNAVAILABLE",
        `device webgpu can't be opened: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    }
    return new WebGpuDevice(device, `${nameOf(adapter.info)} by WebGPU`, { memoryLimit, maxBinding, profile });
  },
};
