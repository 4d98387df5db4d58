/** Which process holds something, so that another one can tell whether it still lives: on this machine at once, on another never. */
import { execFile } from "node:child_process";
import { readFile, readlink } from "node:fs/promises";
import { hostname, uptime } from "node:os";
import { promisify } from "node:util";
import type { JsonObject } from "../strictJson";

/** A process, told apart from others of its number: before a reboot, in another container, or after it has ended. */
export interface Owner {
  readonly process: number;
  readonly host: string;
  /** On Linux the boot's id and the namespace of process numbers; elsewhere the time of the boot, in seconds. */
  readonly boot: string | number;
  /** When the process started, as the system has it; empty where it does not tell. */
  readonly started: string;
}

/** Seconds by which two readings of one boot's time may differ: clocks are set. */
const BOOT_SPREAD = 60;

/** This process. */
export async function thisProcess(): Promise<Owner> {
  return { process: process.pid, host: hostname(), boot: await bootOf(), started: (await startOf(process.pid)) ?? "" };
}

/** Whether the process lives; undefined when that can't be told from here. */
export async function isAlive(owner: Owner): Promise<boolean | undefined> {
  if (!sameBoot(owner, { host: hostname(), boot: await bootOf() })) return undefined;
  const started = await startOf(owner.process);
  if (started === undefined) return false;
  return started === "" || owner.started === "" ? undefined : started === owner.started;
}

/** An owner that was written as JSON; undefined for anything else. */
export function parseOwner(value: JsonObject): Owner | undefined {
  const { process: id, host, boot, started } = value;
  const whole = Number.isSafeInteger(id) && typeof host === "string" && typeof started === "string"
    && (typeof boot === "string" || typeof boot === "number");
  return whole ? { process: id as number, host, boot, started } : undefined;
}

function sameBoot(a: Pick<Owner, "host" | "boot">, b: Pick<Owner, "host" | "boot">): boolean {
  if (typeof a.boot === "number" && typeof b.boot === "number") return a.host === b.host && Math.abs(a.boot - b.boot) < BOOT_SPREAD;
  return a.boot === b.boot;
}

async function bootOf(): Promise<string | number> {
  try {
    return `${(await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim()} ${await readlink("/proc/self/ns/pid")}`;
  } catch {
    return Math.round(Date.now() / 1000 - uptime());
  }
}

/** When a process started; empty when that is not known, undefined when there is no such process. */
async function startOf(id: number): Promise<string | undefined> {
  try {
    process.kill(id, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return undefined; // EPERM: another user's
  }
  if (process.platform === "linux") return startOnLinux(id);
  if (process.platform !== "darwin") return "";
  return promisify(execFile)("ps", ["-o", "lstart=", "-p", String(id)]).then(({ stdout }) => stdout.trim(), () => "");
}

async function startOnLinux(id: number): Promise<string | undefined> {
  const text = await readFile(`/proc/${id}/stat`, "utf8").catch(() => "");
  // The name in parentheses may hold anything; behind it come the state (field 3) and, as field 22, the start in ticks since the boot.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  if (fields[0] === "Z" || fields[0] === "X") return undefined; // it has ended, and its parent has not asked yet
  return fields[19] ?? "";
}
