/** What a command is, and what it is given when it runs. */
import { devices, type Device, type DeviceKind, LenggenError, type OpenOptions, open } from "@lenggen/kernels";
import type { Command } from "commander";
import type { Output } from "./output";

/** Options that every command takes. */
export interface CommonOptions {
  readonly device?: string;
  readonly threads?: number;
  readonly seed: number;
  /** Whether the seed was asked for: else it is the default. */
  readonly seedGiven: boolean;
  readonly json: boolean;
}

/** Options of commands whose work is saved when they are stopped. */
export interface SavingOptions {
  readonly saveOnSignal: boolean;
}

/** Adds the flags of {@link SavingOptions}. */
export function addSavingOptions(command: Command): Command {
  return command.option("--save-on-signal",
    "SIGUSR1 and SIGUSR2 save and stop, as Ctrl-C does: batch systems send them before a job's time is over", false);
}

export interface Context {
  readonly out: Output;
  readonly common: CommonOptions;
  /** Aborts at the first Ctrl-C, and at other signals that stop: see interrupt.ts. */
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
  /** The device that was asked for, or that was found to be the best one. */
  #kind: string | undefined;
  constructor(
    private readonly common: CommonOptions,
    private readonly out: Output,
  ) {
    this.#kind = common.device;
  }

  async open(options: OpenOptions = {}): Promise<Device> {
    const all = { threads: this.common.threads, ...options };
    const device = await (this.#kind === undefined ? this.#openBest(all) : open(this.#kind as DeviceKind, all));
    this.#kind = device.kind;
    this.#opened.push(device);
    return device;
  }

  closeAll(): void {
    for (const device of this.#opened.splice(0)) device.close();
  }

  async #openBest(options: OpenOptions): Promise<Device> {
    try {
      return await open("cpu", options);
    } catch (error) {
      if (!(error instanceof LenggenError && error.code === "E_DEVICE_UNAVAILABLE")) throw error;
      // Asked only now: looking for GPUs takes time, and drivers talk on the console.
      const next = (await devices()).some(({ name, available }) => name === "webgpu" && available) ? "webgpu" : "reference";
      this.out.note(`lenggen: ${error.message.replaceAll(/\s*\n\s*/g, " ")}; going on with the ${next} `
        + `device${next === "reference" ? ", which is slow" : ""}`);
      return open(next, options);
    }
  }
}
