/** What a command is, and what it is given when it runs. */
import { devices, type Device, type DeviceKind, type OpenOptions, open } from "@lenggen/kernels";
import type { Command } from "commander";
import type { Output } from "./output";

/** Options that every command takes. */
export interface CommonOptions {
  readonly device?: string;
  readonly threads?: number;
  readonly seed: number;
  readonly json: boolean;
}

export interface Context {
  readonly out: Output;
  readonly common: CommonOptions;
  /** Aborts at the first Ctrl-C. */
  readonly signal: AbortSignal;
  /** Opens the device that was asked for: cpu unless it is missing, then webgpu on a real GPU, then reference, with a note. */
  openDevice(options?: OpenOptions): Promise<Device>;
}

export interface CommandSpec {
  readonly name: string;
  readonly summary: string;
  /** Shown below the options of `--help`, after the words "For example:". */
  readonly examples: readonly string[];
  /** Adds the command's own arguments and options. */
  define(command: Command): Command;
  run(context: Context, args: readonly string[], options: Readonly<Record<string, unknown>>): Promise<void>;
}

/** Opens devices for one run of a command and closes them after it. */
export class Devices {
  readonly #opened: Device[] = [];
  constructor(
    private readonly common: CommonOptions,
    private readonly out: Output,
  ) {}

  async open(options: OpenOptions = {}): Promise<Device> {
    const device = await open((this.common.device ?? (await this.#best())) as DeviceKind, { threads: this.common.threads, ...options });
    this.#opened.push(device);
    return device;
  }

  closeAll(): void {
    for (const device of this.#opened.splice(0)) device.close();
  }

  async #best(): Promise<DeviceKind> {
    const listings = await devices();
    const { available, reason } = listings.find(({ name }) => name === "cpu")!;
    if (available) return "cpu";
    const next = listings.some((listing) => listing.name === "webgpu" && listing.available) ? "webgpu" : "reference";
    this.out.note(`lenggen: going on with the ${next} device${next === "reference" ? ", which is slow" : ""}; cpu is not available: ${reason}`);
    return next;
  }
}
