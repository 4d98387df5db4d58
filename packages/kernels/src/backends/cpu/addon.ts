/**
 * Finds and loads the native addon: the clone's own build first, then the prebuilt platform package. Node modules are
 * imported on demand, so that a bundle for the browser may hold this file.
 */
import type { Ceiling } from "../../device";
import { LenggenError, type ErrorCode } from "../../errors";
import { isMusl } from "./libc";

/** The addon's device; see native/cpu/cpuDevice.cpp. Errors carry a `code`. */
export interface NativeDevice {
  launch(kernel: number, values: Float64Array, buffers: number, numbers: number): void;
  allocate(bytes: number): number;
  grow(id: number, bytes: number): void;
  free(id: number): void;
  write(id: number, byteOffset: number, bytes: Uint8Array): void;
  read(id: number, byteOffset: number, byteLength: number, into?: Uint8Array): Promise<Uint8Array>;
  memory(): [used: number, pooled: number, peak: number];
  resetPeak(): void;
  /** Calls and seconds of each kernel so far, two numbers a kernel, in the order of `describe().kernels`. */
  profile(): Float64Array;
  resetProfile(): void;
  close(): void;
  describe(): { isa: string; threads: number; kernels: string[] };
}

export interface Addon {
  readonly CpuDevice: new (threads: number, isa: string, memoryLimit: number, scratchLimit: number) => NativeDevice;
  isas(): { name: string; supported: boolean }[];
  ceiling(threads: number, isa: string): Promise<Ceiling>;
}

export type Loaded = { readonly addon: Addon; readonly path: string } | { readonly addon: null; readonly reason: string };

/**
 * Where this module lies; undefined in bundles in the form of CommonJS. In a constant of its own, since bundlers take `new URL(x,
 * import.meta.url)` for a file that they should bring along.
 */
const HERE: string | undefined = import.meta.url;

let loaded: Promise<Loaded> | undefined;

/** Loads the addon once; a failure says what is missing and how to get it. */
export function loadAddon(): Promise<Loaded> {
  return (loaded ??= load());
}

async function load(): Promise<Loaded> {
  if (typeof process === "undefined" || !process.versions?.node) {
    return { addon: null, reason: "the CPU device needs Node; it does not run in a browser" };
  }
  const { createRequire } = await import("node:module");
  const { existsSync, readFileSync } = await import("node:fs");
  const { join } = await import("node:path");
  const { fileURLToPath, pathToFileURL } = await import("node:url");
  const here = HERE ?? pathToFileURL(typeof __filename === "string" ? __filename : join(process.cwd(), "bundle.cjs")).href;
  const require = createRequire(here);
  const attempt = (path: string): Loaded => {
    try {
      return { addon: require(path) as Addon, path };
    } catch (error) {
      return { addon: null, reason: `its binary ${path} does not load: ${error instanceof Error ? error.message : String(error)}` };
    }
  };

  const given = process.env["LENGGEN_CPU_ADDON"];
  if (given) return attempt(given);
  // The folder of this package: three floors above this file in a clone, one above dist when published. The name is
  // checked, since a bundle may lie anywhere.
  for (const up of ["../../..", ".."]) {
    const root = fileURLToPath(new URL(up, here));
    const manifest = join(root, "package.json");
    const built = join(root, "build", "cpu.node");
    if (!existsSync(built) || !existsSync(manifest)) continue;
    if ((JSON.parse(readFileSync(manifest, "utf8")) as { name?: string }).name === "@lenggen/kernels") return attempt(built);
  }
  // Package managers that know no libc install both of Linux, of which one loads.
  const platform = `${process.platform}-${process.arch}`;
  let failed: Loaded | undefined;
  for (const suffix of ["", "-musl"]) {
    let prebuilt: string;
    try {
      prebuilt = require.resolve(`@lenggen/kernels-${platform}${suffix}/cpu.node`);
    } catch {
      continue;
    }
    const result = attempt(prebuilt);
    if (result.addon) return result;
    failed ??= result;
  }
  const musl = await isMusl();
  if (failed && !failed.addon && !musl) return failed;
  return { addon: null, reason: withoutBinary(platform, musl) };
}

/** Why there is no binary for this platform, and how to get one. */
export function withoutBinary(platform: string, musl: boolean): string {
  if (musl) {
    return `there is no binary for ${platform} on musl, Alpine's C library, for those that packages bring are for glibc; `
      + "the reference device works. " +
      `For this one take an image with glibc (node:20-slim for node:20-alpine), or compile it: in a clone of the repository run "apk `
      + `add g++", ` +
      `"npm ci" and "node packages/kernels/scripts/build-native.mjs", and let LENGGEN_CPU_ADDON name its packages/kernels/build/cpu.node`;
  }
  return `there is no binary for ${platform}: in a clone run "node packages/kernels/scripts/build-native.mjs" (needs a C++ compiler), ` +
    `elsewhere install @lenggen/kernels-${platform} of this version (npm leaves it out with --omit=optional, and sometimes with a `
    + "lockfile made on another platform)";
}

/** An error of the addon as one of ours. */
export function translated(error: unknown): LenggenError {
  if (error instanceof LenggenError) return error;
  const { code, message } = error as { code?: unknown; message?: unknown };
  return new LenggenError(typeof code === "string" && code.startsWith("E_") ? (code as ErrorCode) : "E_DEVICE", `cpu: ${String(message)}`,
    { cause: error });
}
