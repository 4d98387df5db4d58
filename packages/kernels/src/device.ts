/**
 * Devices. A device is a queue with memory: kernels are launched in order and return at once, and only
 * opening, reading back and synchronising give promises. There is no default device: tensors know theirs. Which there are: open.ts.
 */
import type { DType } from "./dtype";

/**
 * Names of the devices: `cpu` (the native addon, Node only), `webgpu` (browsers, and Node with the npm package webgpu) and
 * `reference` (plain TypeScript, float64 where asked).
 */
export type DeviceKind = "cpu" | "webgpu" | "reference";

/** A backend's own handle of a buffer; only that backend looks inside. */
export type DeviceBuffer = object;

/** How much memory a device uses, in bytes. `used` is held by tensors, `pooled` is kept for reuse, `peak` the most ever used at a time. */
export interface MemoryUse {
  readonly used: number;
  readonly pooled: number;
  readonly peak: number;
}

/** What one kernel has used. */
export interface KernelTime {
  readonly kernel: string;
  readonly calls: number;
  readonly seconds: number;
}

/** What a device has been asked to do since it was opened. */
export interface LaunchCounts {
  /** Kernels started. One op may need several. */
  readonly dispatches: number;
  /** Copies from one buffer to another, those for reading back among them. */
  readonly copies: number;
  /** Submissions to the device, each of many dispatches. */
  readonly submissions: number;
  /** Buffers made because none that was free would do. */
  readonly allocations: number;
}

/** The kernels of a device, which only ops look into. */
export type KernelTable = Readonly<Record<string, (args: never) => unknown>>;

/**
 * What a device can do at most, in 10⁹ floating-point operations, 10⁹ exponentials and 10⁹ bytes (read and written) a second. A GPU has
 * no threads that one could count: both figures of its arithmetic are the whole adapter's.
 */
export interface Ceiling {
  readonly gflopsOneThread: number;
  readonly gflopsAllThreads: number;
  readonly gexpOneThread: number;
  readonly gexpAllThreads: number;
  readonly copyGBs: number;
}

/** A queue of kernels with its own memory. Made by {@link open}; `close` it when done. */
export interface Device {
  readonly kind: DeviceKind;
  /** What runs here, in words: processor, instruction set, threads. */
  readonly description: string;
  readonly dtypes: readonly DType[];
  /** By their names; kernels.ts gives them their types. */
  readonly kernels: KernelTable;
  /** By op: what runs in the place of kernels that this device lacks (src/composed). Absent where it has all. */
  readonly composed?: ReadonlyMap<object, (inputs: never, attributes: never, recording: boolean) => unknown> | undefined;
  /** Most bytes that tensors may hold, see {@link OpenOptions.memoryLimit}. Absent where nobody knows. */
  readonly memoryLimit?: number | undefined;
  /** Throws `E_MEMORY` when there is no room. Contents are undefined. */
  allocate(byteLength: number): DeviceBuffer;
  /**
   * Makes a buffer at least so long without a second copy of it; behind its contents there is anything then. Throws `E_MEMORY` when
   * there is no room. Absent where a device can't.
   */
  grow?(buffer: DeviceBuffer, byteLength: number): void;
  free(buffer: DeviceBuffer): void;
  /** Copies `bytes` at once; they land in queue order. */
  write(buffer: DeviceBuffer, byteOffset: number, bytes: Uint8Array): void;
  /** A copy, once all that was queued before has run: in `into`, which has `byteLength` bytes, or else in fresh, 8-byte aligned memory. */
  read(buffer: DeviceBuffer, byteOffset: number, byteLength: number, into?: Uint8Array): Promise<Uint8Array>;
  /** Resolves when all queued work is done; rejects with the first error of the queue. */
  synchronize(): Promise<void>;
  memory(): MemoryUse;
  /** Starts a new count of `peak` from what is used now. */
  resetPeak(): void;
  /**
   * Waits for all that is queued and gives the time by kernel of all launches since opening or {@link resetProfile}, the
   * longest first. Absent where a device can't tell. Wall time beyond their sum is the queue's waiting.
   */
  profile?(): Promise<readonly KernelTime[]>;
  resetProfile?(): void;
  /** Absent where launches cost nothing worth counting. */
  counts?(): LaunchCounts;
  /** What it can do at most, measured now. Absent where nobody would ask. */
  ceiling?(): Promise<Ceiling>;
  close(): void;
}

/** Options of {@link open}; those that a device has no use for are ignored. */
export interface OpenOptions {
  /** CPU: worker threads; the number of cores unless given. Results do not depend on it. */
  readonly threads?: number;
  /** CPU: instruction set; the widest that the processor has unless given. */
  readonly isa?: string;
  /**
   * Most bytes that tensors may hold (the kernels' scratch memory has the same limit again); unless given, what the machine has
   * available less 5%; on WebGPU, which can't be asked, none.
   */
  readonly memoryLimit?: number;
  /** WebGPU: whether an adapter that is software will do; unless given, whether the environment variable LENGGEN_WEBGPU_FALLBACK is 1. */
  readonly fallback?: boolean;
  /** WebGPU: time each kernel, where the adapter has timestamp queries ({@link Device.profile}); slows the device down. */
  readonly profile?: boolean;
  /** WebGPU: what to ask the adapter for. Results may differ in rounding, nothing else. */
  readonly webgpu?: WebGpuOptions;
}

/** What a WebGPU adapter is asked for; all that helps unless given. */
export interface WebGpuOptions {
  /** Optional features; throws `E_DEVICE_UNAVAILABLE` when the adapter lacks one that is given here. */
  readonly features?: readonly ("subgroups" | "shader-f16" | "timestamp-query")[];
  /** Go without more than WebGPU's default limits. */
  readonly defaultLimits?: boolean;
  /** Most bytes of a tensor that are bound at once, when less than the adapter's limit; larger ones are bound in parts. */
  readonly maxBinding?: number;
}

/** What a backend contributes to the table of devices. */
export interface Backend {
  readonly kind: DeviceKind;
  /** Says whether it can be opened here, and if not, why and how to get it. */
  probe(options?: OpenOptions): Promise<DeviceListing>;
  open(options: OpenOptions): Promise<Device>;
}

/** One line of {@link devices}. */
export interface DeviceListing {
  readonly name: DeviceKind;
  readonly available: boolean;
  /** Why it is absent and how to get it; empty when it is available. */
  readonly reason: string;
  readonly details: Readonly<Record<string, string | number>>;
}
