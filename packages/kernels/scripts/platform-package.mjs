#!/usr/bin/env node
/**
 * Writes the folder of the platform package that carries the compiled CPU addon, ready for `npm pack`:
 * build/npm/<platform>-<arch>. Run it after build-native.mjs, on each platform that is published for.
 *
 *   node scripts/platform-package.mjs                  writes the folder
 *   node scripts/platform-package.mjs --manifest FILE  adds all platform packages to that package.json as
 *                                                      optional dependencies (at publishing time alone: an
 *                                                      unpublished optional dependency would break the lockfile);
 *                                                      with --musl also those of Alpine, where they are published
 *
 * Platform packages have no scripts: the package manager picks one by os, cpu and libc, and the loader finds it. On a Linux
 * with musl the folder is <platform>-<arch>-musl, so that what is built there never passes for what is built with glibc.
 */
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { ISAS } from "./isas.mjs";

const PACKAGE = fileURLToPath(new URL("..", import.meta.url));
const PLATFORMS = ["linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64"];
const MUSL = ["linux-x64-musl", "linux-arm64-musl"];

const main = JSON.parse(readFileSync(join(PACKAGE, "package.json"), "utf8"));
const { values: options } = parseArgs({ options: { manifest: { type: "string" }, musl: { type: "boolean", default: false } } });
if (options.manifest) addDependencies(options.manifest);
else writePackage();

function addDependencies(file) {
  const manifest = JSON.parse(readFileSync(file, "utf8"));
  // Exact versions: the addon and the TypeScript around it are one program.
  manifest.optionalDependencies =
    Object.fromEntries([...PLATFORMS, ...(options.musl ? MUSL : [])].map((platform) => [`${main.name}-${platform}`, main.version]));
  writeFileSync(file, `${JSON.stringify(manifest, null, 2)}\n`);
}

function writePackage() {
  const libc = process.platform !== "linux" ? undefined : isGlibc() ? "glibc" : "musl";
  const platform = `${process.platform}-${process.arch}${libc === "musl" ? "-musl" : ""}`;
  const addon = join(PACKAGE, "build", "cpu.node");
  const all = [...PLATFORMS, ...MUSL];
  if (!all.includes(platform)) return fail(`there is no platform package for ${platform}; there are ${all.join(", ")}`);
  if (!existsSync(addon)) return fail("build/cpu.node is missing: run scripts/build-native.mjs first");
  const held = new Set(createRequire(import.meta.url)(addon).isas().map(({ name }) => name));
  const missing = Object.keys(ISAS[process.arch]).filter((name) => !held.has(name));
  if (missing.length > 0) return fail(`build/cpu.node lacks ${missing.join(", ")}: run scripts/build-native.mjs without --quick first`);
  const folder = join(PACKAGE, "build", "npm", platform);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const name = `${main.name}-${platform}`;
  const manifest = {
    name,
    version: main.version,
    description: `Compiled CPU kernels of ${main.name} for ${platform}`,
    license: main.license,
    ...(main.repository ? { repository: main.repository } : {}),
    os: [process.platform],
    cpu: [process.arch],
    ...(libc ? { libc: [libc] } : {}),
    files: ["cpu.node"],
    exports: { "./cpu.node": "./cpu.node", "./package.json": "./package.json" },
    engines: main.engines,
  };
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
  writeFileSync(join(folder, "README.md"), [
    `# ${name}`,
    "",
    `The compiled CPU kernels of [${main.name}](https://www.npmjs.com/package/${main.name}) for ${platform}.`,
    `Install ${main.name}: your package manager then picks the platform package that fits.`,
    "",
  ].join("\n"));
  copyFileSync(addon, join(folder, "cpu.node"));
  copyFileSync(join(PACKAGE, "LICENSE"), join(folder, "LICENSE"));
  console.log(`wrote ${relative(process.cwd(), folder)}`);
}

function isGlibc() {
  return process.report.getReport().header.glibcVersionRuntime !== undefined;
}

function fail(message) {
  console.error(`platform-package: ${message}`);
  process.exitCode = 1;
}
