import { cpus, release, totalmem, type } from "node:os";
import { devices, type DeviceListing } from "@lenggen/kernels";
import type { CommandSpec } from "../command";
import { bytes } from "../format";
import { oneOf } from "../parse";

/** What `lenggen doctor --json` prints. */
export interface DoctorDocument {
  readonly node: string;
  readonly os: string;
  readonly processor: string;
  readonly cores: number;
  /** Bytes. */
  readonly memory: number;
  readonly devices: readonly DeviceListing[];
}

export const doctor: CommandSpec = {
  name: "doctor",
  summary: "Show which devices work here, and for each that doesn't, why and how to get it.",
  examples: ["lenggen doctor", "lenggen doctor --json"],
  define: (command) => command,
  async run({ out, common }) {
    const all = await devices();
    const names = all.map(({ name }) => name);
    const wanted = common.device === undefined ? undefined : oneOf("device", names)(common.device);
    const document: DoctorDocument = {
      node: process.versions.node,
      os: `${type()} ${release()} ${process.arch}`,
      processor: cpus()[0]?.model.trim() ?? "unknown",
      cores: cpus().length,
      memory: totalmem(),
      devices: all.filter(({ name }) => wanted === undefined || name === wanted),
    };
    out.print(`node       ${document.node}`);
    out.print(`os         ${document.os}`);
    out.print(`processor  ${document.processor}, ${document.cores} cores, ${bytes(document.memory)}`);
    for (const { name, available, reason, details } of document.devices) {
      const facts = Object.entries(details).map(([key, value]) => fact(key, value)).join("; ");
      out.print(`${name.padEnd(10)} ${available ? `available${facts ? `: ${facts}` : ""}` : `not available: ${reason}`}`);
    }
    out.document(document);
  },
};

/** Details that are counted in bytes. */
const IN_BYTES: ReadonlySet<string> = new Set(["largestBuffer", "groupMemory"]);

/** "largestBuffer", 1073741824 -> "largest buffer 1.0 GiB". */
function fact(name: string, value: string | number): string {
  const words = name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  return `${words} ${IN_BYTES.has(name) ? bytes(Number(value)) : value}`;
}
