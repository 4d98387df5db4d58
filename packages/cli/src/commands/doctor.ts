import { cpus, release, totalmem, type } from "node:os";
import { devices, type DeviceListing, open } from "@lenggen/kernels";
import { type KernelSupport, kernelSupport } from "@lenggen/kernels/composed";
import type { CommandSpec } from "../command";
import { bytes } from "../format";
import { oneOf } from "../parse";
import { versions } from "../package";
import { table } from "../table";

/** What `lenggen doctor --json` prints. */
export interface DoctorDocument {
  /** The versions of our packages, by name. */
  readonly packages: Readonly<Record<string, string>>;
  readonly node: string;
  readonly os: string;
  readonly processor: string;
  readonly cores: number;
  /** Bytes. */
  readonly memory: number;
  readonly devices: readonly DeviceListing[];
  /** With --kernels: by device, how each kernel runs. */
  readonly kernels?: Readonly<Record<string, readonly KernelSupport[]>>;
}

export const doctor: CommandSpec = {
  name: "doctor",
  summary: "Show which devices work here, and for each that doesn't, why and how to get it.",
  examples: ["lenggen doctor", "lenggen doctor --kernels", "lenggen doctor --json"],
  define: (command) => command.option("--kernels",
    "show for each kernel whether a device has it (fused), runs other ops in its place (composed), or can't"),
  async run({ out, common }, _args, options) {
    const all = await devices();
    const names = all.map(({ name }) => name);
    const wanted = common.device === undefined ? undefined : oneOf("device", names)(common.device);
    const chosen = all.filter(({ name }) => wanted === undefined || name === wanted);
    const kernels = options["kernels"] === true ? await supportOf(chosen) : undefined;
    const document: DoctorDocument = {
      packages: versions(),
      node: process.versions.node,
      os: `${type()} ${release()} ${process.arch}`,
      processor: cpus()[0]?.model.trim() ?? "unknown",
      cores: cpus().length,
      memory: totalmem(),
      devices: chosen,
      ...(kernels && { kernels }),
    };
    out.print(`packages   ${grouped(document.packages)}`);
    out.print(`node       ${document.node}`);
    out.print(`os         ${document.os}`);
    out.print(`processor  ${document.processor}, ${document.cores} cores, ${bytes(document.memory)}`);
    for (const { name, available, reason, details } of document.devices) {
      const facts = Object.entries(details).map(([key, value]) => fact(key, value)).join("; ");
      out.print(`${name.padEnd(10)} ${available ? `available${facts ? `: ${facts}` : ""}` : `not available: ${reason}`}`);
    }
    if (kernels) for (const line of kernelLines(kernels)) out.print(line);
    out.document(document);
  },
};

/** The packages of each version, by their short names: "0.3.1 (cli, kernels); 0.3.0 (evals)". */
function grouped(packages: Readonly<Record<string, string>>): string {
  const all = Object.entries(packages);
  return [...new Set(all.map(([, version]) => version))].map((version) => `${version} (${all.filter(([, other]) => other === version)
    .map(([name]) => name.replace("@lenggen/", "")).join(", ")})`).join("; ");
}

async function supportOf(listings: readonly DeviceListing[]): Promise<Record<string, KernelSupport[]>> {
  const support: Record<string, KernelSupport[]> = {};
  for (const { name, available } of listings) {
    if (!available) continue;
    const device = await open(name);
    support[name] = kernelSupport(device);
    device.close();
  }
  return support;
}

/** A row for each kernel, a column for each device. */
function kernelLines(kernels: Readonly<Record<string, readonly KernelSupport[]>>): string[] {
  const names = Object.keys(kernels);
  const [first] = Object.values(kernels);
  if (!first) return [];
  return ["", ...table(
    ["family", "kernel", ...names, "other ops can stand in"],
    first.map(({ family, kernel, ops }, i) => [family, kernel, ...names.map((name) => kernels[name]![i]!.how),
      ops.length > 0 ? "yes" : "no"]),
  )];
}

/** Details that are counted in bytes. */
const IN_BYTES: ReadonlySet<string> = new Set(["largestBuffer", "groupMemory"]);

/** "largestBuffer", 1073741824 -> "largest buffer 1.0 GiB". */
function fact(name: string, value: string | number): string {
  const words = name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  return `${words} ${IN_BYTES.has(name) ? bytes(Number(value)) : value}`;
}
