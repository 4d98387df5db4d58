/**
 * The CPU device: C++ kernels on their own threads. JavaScript only queues work, so that the event loop
 * stays alive while the kernels run.
 */
import { COMPOSED, formsFor } from "../../composed";
import type { Backend, Ceiling, Device, DeviceBuffer, DeviceListing, KernelTable, KernelTime, MemoryUse } from "../../device";
import { check, LenggenError } from "../../errors";
import { FAMILIES } from "../../families";
import type { Family } from "../../signature";
import { memoryLimitFrom } from "../memoryLimit";
import { type Addon, loadAddon, type NativeDevice, translated } from "./addon";
import { type CpuBuffer, Packer } from "./pack";

/** All kernels that are declared and that the addon has. */
function kernelsIn(native: NativeDevice, device: Device): KernelTable {
  const packer = new Packer(native, device);
  const places = new Map(native.describe().kernels.map((name, index) => [name, index]));
  const declared = Object.values<Family>(FAMILIES).flatMap((family) => Object.entries(family));
  return Object.fromEntries(declared.flatMap(([name, signature]) => {
    const place = places.get(name);
    return place === undefined ? [] : [[name, packer.kernel(name, signature, place)]];
  }));
}

export class CpuDevice implements Device {
  readonly kind = "cpu";
  readonly description: string;
  readonly dtypes = ["f32", "f16", "i32"] as const;
  readonly kernels: KernelTable;
  /** Of an addon that is older than the rest. */
  readonly composed: Device["composed"];
  readonly threads: number;
  /** The instruction set that the kernels use. */
  readonly isa: string;
  readonly #native: NativeDevice;
  #closed = false;
  #lastUse: MemoryUse = { used: 0, pooled: 0, peak: 0 };

  constructor(native: NativeDevice, processor: string, readonly memoryLimit: number) {
    this.#native = native;
    const { isa, threads } = native.describe();
    this.isa = isa;
    this.threads = threads;
    this.description = `${processor}, ${isa}, ${threads} ${threads === 1 ? "thread" : "threads"}`;
    this.kernels = kernelsIn(native, this);
    this.composed = formsFor(this.kernels, COMPOSED);
  }

  allocate(byteLength: number): CpuBuffer {
    try {
      return { id: this.#native.allocate(byteLength) };
    } catch (error) {
      throw translated(error);
    }
  }

  grow(buffer: DeviceBuffer, byteLength: number): void {
    try {
      this.#native.grow((buffer as CpuBuffer).id, byteLength);
    } catch (error) {
      throw translated(error);
    }
  }

  free(buffer: DeviceBuffer): void {
    this.#native.free((buffer as CpuBuffer).id);
  }

  write(buffer: DeviceBuffer, byteOffset: number, bytes: Uint8Array): void {
    try {
      this.#native.write((buffer as CpuBuffer).id, byteOffset, bytes);
    } catch (error) {
      throw translated(error);
    }
  }

  async read(buffer: DeviceBuffer, byteOffset: number, byteLength: number, into?: Uint8Array): Promise<Uint8Array> {
    return this.#read((buffer as CpuBuffer).id, byteOffset, byteLength, into);
  }

  async synchronize(): Promise<void> {
    await this.#read(-1, 0, 0);
  }

  memory(): MemoryUse {
    if (this.#closed) return this.#lastUse;
    const [used, pooled, peak] = this.#native.memory();
    return { used, pooled, peak };
  }

  resetPeak(): void {
    if (!this.#closed) this.#native.resetPeak();
  }

  async profile(): Promise<KernelTime[]> {
    if (this.#closed) return [];
    await this.synchronize();
    const numbers = this.#native.profile();
    return this.#native.describe().kernels
      .map((kernel, i) => ({ kernel, calls: numbers[2 * i]!, seconds: numbers[2 * i + 1]! }))
      .filter(({ calls }) => calls > 0)
      .sort((a, b) => b.seconds - a.seconds);
  }

  resetProfile(): void {
    if (!this.#closed) this.#native.resetProfile();
  }

  async ceiling(): Promise<Ceiling> {
    return (await addonOrThrow()).ceiling(this.threads, this.isa);
  }

  /** Waits for queued work and frees all memory. Reads that were asked for before still resolve. */
  close(): void {
    if (this.#closed) return;
    this.#lastUse = { used: 0, pooled: 0, peak: this.memory().peak };
    this.#closed = true;
    this.#native.close();
  }

  async #read(id: number, byteOffset: number, byteLength: number, into?: Uint8Array): Promise<Uint8Array> {
    try {
      return await this.#native.read(id, byteOffset, byteLength, into);
    } catch (error) {
      throw translated(error);
    }
  }
}

/** `isa` as given, else from the environment variable LENGGEN_ISA, else the widest. */
function isaFrom(given: string | undefined): string {
  return given ?? process.env["LENGGEN_ISA"] ?? "";
}

async function addonOrThrow(): Promise<Addon> {
  const loaded = await loadAddon();
  if (!loaded.addon) throw new LenggenError("E_DEVICE_UNAVAILABLE", `device cpu can't be opened: ${loaded.reason}`);
  return loaded.addon;
}

async function processorName(): Promise<string> {
  const { cpus } = await import("node:os");
  return cpus()[0]?.model.trim() || process.arch;
}

export const cpu: Backend = {
  kind: "cpu",
  async probe(): Promise<DeviceListing> {
    const loaded = await loadAddon();
    if (!loaded.addon) return { name: "cpu", available: false, reason: loaded.reason, details: {} };
    const { availableParallelism } = await import("node:os");
    const isas = loaded.addon.isas().filter((isa) => isa.supported).map((isa) => isa.name);
    return {
      name: "cpu",
      available: true,
      reason: "",
      details: { processor: await processorName(), cores: availableParallelism(), isa: isas.at(-1) ?? "", isas: isas.join(", "),
        binary: loaded.path },
    };
  },
  async open({ threads, isa, memoryLimit }) {
    const { availableParallelism } = await import("node:os");
    const count = threads ?? Math.min(availableParallelism(), 256);
    check(Number.isInteger(count) && count >= 1 && count <= 256, "E_ARGUMENT",
      () => `threads must be a whole number from 1 to 256, not ${count}`);
    const limit = await memoryLimitFrom(memoryLimit);
    const addon = await addonOrThrow();
    try {
      return new CpuDevice(new addon.CpuDevice(count, isaFrom(isa), limit, limit), await processorName(), limit);
    } catch (error) {
      throw translated(error);
    }
  },
};

/** See {@link Ceiling}: measured now, with this device's threads and instruction set. Takes about two seconds. */
