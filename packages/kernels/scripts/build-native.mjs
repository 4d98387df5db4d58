#!/usr/bin/env node
/**
 * Builds the CPU device's addon from source: native/cpu/*.cpp -> build/cpu.node.
 *
 *   node scripts/build-native.mjs [--sanitize] [--families memory,matmul --out build/mine.node]
 *   node scripts/build-native.mjs --target linux-arm64     for another machine: build/linux-arm64/cpu.node
 *   node scripts/build-native.mjs --quick                  for this machine alone, unless a whole one is up to date
 *
 * Needs only a C++17 compiler (CXX, else c++, g++ or clang++; for another machine CXX, else GCC's cross compiler):
 * headers come from node-api-headers and node-addon-api, and those of the kernels' arguments from signatures.mjs. Without a compiler it
 * says so in one line and exits with 0: the packages then work on the `reference` device.
 *
 * Sources that mention LENGGEN_ISA are compiled once per instruction set; --quick takes only the widest that this
 * processor has, in a third of the time. Kernel families among them take part when native/cpu/families.h (or
 * --families) names them.
 * Objects are cached under build/objects by the hash of all that goes into them.
 */
import { execFile, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { ISAS } from "./isas.mjs";
import { writeSignatures } from "./signatures.mjs";

const PACKAGE = fileURLToPath(new URL("..", import.meta.url));
const SOURCE = join(PACKAGE, "native/cpu");
const BUILD = join(PACKAGE, "build");
const OBJECTS = join(BUILD, "objects");
const DAY = 86_400_000;

const HERE = `${process.platform}-${process.arch}`;
/** What can be compiled for on another machine, with the cross compiler and where it comes from. */
const CROSS = { "linux-arm64": { command: "aarch64-linux-gnu-g++", how: "apt-get install g++-aarch64-linux-gnu" } };

const COMMON = [
  "-std=c++17", "-O3", "-fPIC", "-pthread", "-fvisibility=hidden", "-fvisibility-inlines-hidden",
  "-Wall", "-Wextra", "-Werror",
  // Fused multiply-adds are wanted; nothing else that changes values is.
  "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math",
];

// With the last one, an error that can't be thrown because its worker is being terminated is dropped; without it, it ends the process.
const NODE_API_DEFINES = ["-DNAPI_VERSION=8", "-DNAPI_CPP_EXCEPTIONS", "-DNODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"];

const { values: options } = parseArgs({
  options: {
    sanitize: { type: "boolean", default: false },
    families: { type: "string" },
    out: { type: "string" },
    target: { type: "string", default: HERE },
    quick: { type: "boolean", default: false },
  },
});
const [platform, arch] = options.target.split("-");
const cross = options.target === HERE ? undefined : crossCompiler();

const run = promisify(execFile);
const require = createRequire(import.meta.url);

await main();

async function main() {
  const isas = ISAS[arch];
  if (!isas || platform === "win32") return skip(`there is no CPU addon for ${options.target} yet`);
  const compiler = findCompiler();
  if (!compiler) {
    const { CXX } = process.env;
    if (CXX && CXX !== "none") return skip(`CXX is "${CXX}", and no compiler runs by that name (give one program, without arguments)`);
    const how = cross?.how ?? (platform === "darwin" ? "xcode-select --install" : "apt-get install g++, or set CXX");
    return skip(CXX ? "CXX=none" : `no C++ compiler was found (${how})`);
  }
  await writeSignatures();
  const output = resolve(PACKAGE,
    options.out ?? join("build", cross ? options.target : "", options.sanitize ? "cpu.asan.node" : "cpu.node"));
  const started = performance.now();
  const stampFile = `${output}.stamp`;
  // With its size: loading an addon that was cut short, by a full disk or a copy, ends the process.
  const stampOf = (all) => `${hash(all.map((object) => object.key).join())} ${statSync(output).size}`;
  const isUpToDate = (all) => existsSync(output) && existsSync(stampFile) && readFileSync(stampFile, "utf8") === stampOf(all);
  let objects = plan(compiler, isas);
  if (options.quick && !isUpToDate(objects)) objects = plan(compiler, widestOnly(compiler.command, isas));
  if (isUpToDate(objects)) {
    console.log(`${relative(process.cwd(), output)} is up to date`);
    return;
  }
  const missing = objects.filter((object) => !existsSync(object.path));
  mkdirSync(OBJECTS, { recursive: true });
  mkdirSync(dirname(output), { recursive: true });
  const failures = await compileAll(compiler.command, missing);
  if (failures.length > 0) {
    console.error(failures.join("\n"));
    console.error(`${failures.length} of ${missing.length} sources did not compile`);
    process.exitCode = 1;
    return;
  }
  await link(compiler.command, objects, output);
  writeFileSync(stampFile, stampOf(objects));
  prune(objects);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`built ${relative(process.cwd(), output)} in ${seconds} s: ${missing.length} of ${objects.length} objects compiled`);
}

function skip(why) {
  console.log(`skipped the CPU addon: ${why}; the packages work on the "reference" device, only slower`);
}

function crossCompiler() {
  if (CROSS[options.target]) return CROSS[options.target];
  throw new Error(`--target: ${options.target} is neither this machine (${HERE}) nor one of ${Object.keys(CROSS).join(", ")}`);
}

function findCompiler() {
  const candidates = process.env.CXX ? [process.env.CXX] : cross ? [cross.command] : ["c++", "g++", "clang++"];
  for (const command of candidates) {
    const { status, stdout } = spawnSync(command, ["--version"], { encoding: "utf8" });
    if (status === 0) return { command, version: stdout };
  }
  return undefined;
}

/** The widest instruction set that this processor has, as native/cpu/supports.h finds it; all of them where it can't be asked. */
function widestOnly(command, isas) {
  mkdirSync(BUILD, { recursive: true });
  const probe = join(BUILD, `isa-probe.${process.pid}`);
  const code = `#include "${join(SOURCE, "supports.h")}"
#include <cstdio>
#define PRINT(name) if (lenggen::supports::name()) std::puts(#name);
int main() { LENGGEN_ALL_ISAS(PRINT) }
`;
  const compiled = spawnSync(command, ["-std=c++17", "-x", "c++", "-", "-o", probe], { input: code });
  const { stdout } = compiled.status === 0 ? spawnSync(probe, { encoding: "utf8" }) : {};
  rmSync(probe, { force: true });
  const widest = stdout?.trim().split("\n").at(-1);
  return isas[widest] ? { [widest]: isas[widest] } : isas;
}

/** Every object that the addon consists of, in link order, with the command that makes it. */
function plan(compiler, isas) {
  const families = familyNames();
  const sources = readdirSync(SOURCE).filter((file) => file.endsWith(".cpp")).map((file) => file.slice(0, -4)).sort();
  const text = (name) => readFileSync(join(SOURCE, `${name}.cpp`), "utf8");
  const perIsa = sources.filter((name) => /\bLENGGEN_ISA\b/.test(text(name))
    && (families.includes(name) || !text(name).includes("const Kernel ")));
  const once = sources.filter((name) => !/\bLENGGEN_ISA\b/.test(text(name)));
  const includes = [require("node-api-headers").include_dir, dirname(require.resolve("node-addon-api/napi.h"))];
  const common = [
    ...COMMON,
    // The last -O counts; checked code takes minutes to compile at -O3.
    ...(options.sanitize ? ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined",
      "-fno-omit-frame-pointer", "-g1"] : []),
    "-I", SOURCE, "-I", BUILD,
    ...includes.flatMap((folder) => ["-isystem", folder]),
  ];
  const object = (name, flags) => {
    const source = join(SOURCE, `${name}.cpp`);
    // For a family the list of families is only declarations: a new name in it recompiles the registry alone.
    const ignored = name === "registry" ? [] : [join(SOURCE, "families.h")];
    const key = hash([compiler.version, ...common, ...flags, ...contents(source, new Set(ignored))].join("\0"));
    return { name, source, flags: [...common, ...flags], key, path: join(OBJECTS, `${name}-${key}.o`) };
  };
  const list = (macro, names) => `-D${macro}(X)=${names.map((name) => `X(${name})`).join(" ")}`;
  return [
    ...once.map((name) => object(name, name === "isa" ? [list("LENGGEN_ISAS", Object.keys(isas))] : NODE_API_DEFINES)),
    ...Object.entries(isas).flatMap(([isa, flags]) => perIsa.map((name) =>
      object(name, [`-DLENGGEN_ISA=${isa}`, ...(name === "registry" ? [list("LENGGEN_FAMILIES", families)] : []), ...flags]))),
  ];
}

/** The families in native/cpu/families.h. */
function allFamilyNames() {
  const text = readFileSync(join(SOURCE, "families.h"), "utf8");
  return [...text.matchAll(/^\s*X\((\w+)\)/gm)].map(([, name]) => name);
}

function familyNames() {
  const all = allFamilyNames();
  if (options.families === undefined) return all;
  const wanted = options.families.split(",");
  const unknown = wanted.filter((name) => !all.includes(name));
  if (unknown.length > 0) throw new Error(`--families: ${unknown.join(", ")} is not in native/cpu/families.h (${all.join(", ")})`);
  return wanted;
}

/** The text of a source and of all headers of ours that it includes, directly or not. */
function contents(file, seen) {
  if (seen.has(file)) return [];
  seen.add(file);
  const text = readFileSync(file, "utf8");
  const headers = [...text.matchAll(/^\s*#\s*include\s+"([^"]+)"/gm)]
    .map(([, name]) => [dirname(file), SOURCE, BUILD].map((folder) => join(folder, name)).find(existsSync));
  return [text, ...headers.flatMap((header) => contents(header, seen))];
}

/** Compiles in parallel; returns the compiler's words for each source that failed. */
async function compileAll(command, objects) {
  const waiting = [...objects];
  const failures = [];
  const worker = async () => {
    for (let object = waiting.shift(); object; object = waiting.shift()) {
      const temporary = `${object.path}.${process.pid}.tmp`;
      try {
        await run(command, [...object.flags, "-c", object.source, "-o", temporary], { maxBuffer: 1 << 26 });
        renameSync(temporary, object.path);
      } catch (error) {
        rmSync(temporary, { force: true });
        failures.push(error.stderr || String(error));
      }
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return failures;
}

/** Links beside the target and renames, so that a process that has the old file open is left alone. */
async function link(command, objects, output) {
  const temporary = `${output}.${process.pid}.tmp`;
  // Node's own functions are resolved when it loads the addon.
  const unresolved = platform === "darwin" ? ["-undefined", "dynamic_lookup"] : ["-Wl,-z,now"];
  const sanitize = options.sanitize ? ["-fsanitize=address,undefined"] : [];
  await run(command, ["-shared", "-pthread", ...unresolved, ...sanitize, ...objects.map((object) => object.path), "-o", temporary],
    { maxBuffer: 1 << 26 });
  renameSync(temporary, output);
}

/** Drops cached objects that neither this build nor any of the last day used. */
function prune(objects) {
  const used = new Set(objects.map((object) => object.path));
  for (const file of readdirSync(OBJECTS)) {
    const path = join(OBJECTS, file);
    if (!used.has(path) && Date.now() - statSync(path).mtimeMs > DAY) rmSync(path, { force: true });
  }
}

function hash(text) {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}
