import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { withoutBinary } from "./addon";
import { isMusl } from "./libc";

const PACKAGE = fileURLToPath(new URL("../../..", import.meta.url));
const built = existsSync(join(PACKAGE, "build/cpu.node"));
if (!built) console.warn("tests of the platform package do not run: packages/kernels/build/cpu.node is not built");

const system = (sharedObjects: string[], glibcVersionRuntime?: string, libraries: string[] = [], platform = "linux") => ({
  platform,
  report: () => ({ header: glibcVersionRuntime === undefined ? {} : { glibcVersionRuntime }, sharedObjects }),
  libraries: async () => libraries,
});

describe("the C library", () => {
  it("is musl where Node's report or /lib says so", async () => {
    expect(await isMusl(system(["/lib/ld-musl-x86_64.so.1"]))).toBe(true);
    expect(await isMusl(system([], undefined, ["apk", "ld-musl-aarch64.so.1"]))).toBe(true);
    expect(await isMusl({ ...system([], undefined, ["libc.musl-x86_64.so.1"]), report: () => undefined })).toBe(true);
  });

  it("is not where Node stands on glibc, also beside an installed musl, nor on other systems", async () => {
    expect(await isMusl(system(["/lib/x86_64-linux-gnu/libc.so.6"], "2.36", ["ld-musl-x86_64.so.1"]))).toBe(false);
    expect(await isMusl(system([]))).toBe(false);
    expect(await isMusl(system([], undefined, ["ld-musl-x86_64.so.1"], "darwin"))).toBe(false);
    expect(await isMusl()).toBe(
      (process.report.getReport() as { header: { glibcVersionRuntime?: string } }).header.glibcVersionRuntime === undefined
        && process.platform === "linux");
  });

  it("is named in the reason, with what works and how to build", () => {
    expect(withoutBinary("linux-x64", true))
      .toMatch(/linux-x64 on musl, Alpine.*reference device works.*node:20-slim.*apk add g\+\+.*build-native\.mjs.*LENGGEN_CPU_ADDON/);
    expect(withoutBinary("linux-x64", true)).not.toMatch(/optional/);
    expect(withoutBinary("linux-x64", false)).toMatch(/install @lenggen\/kernels-linux-x64.*--omit=optional/);
  });
});

describe("the platform package", () => {
  const folder = mkdtempSync(join(tmpdir(), "lenggen-libc-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const script = (node: string[], ...args: string[]) =>
    spawnSync(process.execPath, [...node, join(PACKAGE, "scripts/platform-package.mjs"), ...args], { encoding: "utf8" });
  const manifest = (name: string) => JSON.parse(readFileSync(join(PACKAGE, "build/npm", name, "package.json"), "utf8")) as Record<string,
    unknown>;

  it.runIf(built && process.platform === "linux")("carries the C library that it was built with, and that of musl has a name of its own",
    () => {
    const report = "data:text/javascript,process.report.getReport=()=>(";
    expect(script(["--import", `${report}{header:{glibcVersionRuntime:'2.36'}})`]).status).toBe(0);
    expect(manifest(`linux-${process.arch}`))
      .toMatchObject({ name: `@lenggen/kernels-linux-${process.arch}`, os: ["linux"], cpu: [process.arch], libc: ["glibc"] });
    expect(script(["--import", `${report}{header:{}})`]).status).toBe(0);
    const musl = `linux-${process.arch}-musl`;
    expect(manifest(musl)).toMatchObject({ name: `@lenggen/kernels-${musl}`, os: ["linux"], cpu: [process.arch], libc: ["musl"] });
    rmSync(join(PACKAGE, "build/npm", musl), { recursive: true });
  });

  it("is an optional dependency of what is published, that of musl where asked for", () => {
    const file = join(folder, "package.json");
    const dependencies = (...more: string[]) => {
      writeFileSync(file, "{}");
      expect(script([], "--manifest", file, ...more).status).toBe(0);
      return Object.keys((JSON.parse(readFileSync(file, "utf8")) as { optionalDependencies: object }).optionalDependencies);
    };
    const usual = ["linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64"].map((name) => `@lenggen/kernels-${name}`);
    expect(dependencies()).toEqual(usual);
    expect(dependencies("--musl")).toEqual([...usual, "@lenggen/kernels-linux-x64-musl", "@lenggen/kernels-linux-arm64-musl"]);
  });
});
