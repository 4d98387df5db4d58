#!/usr/bin/env node
/**
 * Runs the kernels' tests with an addon that checks every memory access and every undefined operation.
 *
 *   node scripts/test-sanitized.mjs [arguments of vitest run]
 *
 * Linux with GCC or Clang. The address sanitizer must be loaded before Node, hence LD_PRELOAD. Leaks are not looked
 * for: Node itself frees little when it ends, and the tests count device memory.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const PACKAGE = fileURLToPath(new URL("..", import.meta.url));
const ROOT = join(PACKAGE, "../..");
const compiler = process.env.CXX ?? "c++";

const build = spawnSync(process.execPath, [join(PACKAGE, "scripts/build-native.mjs"), "--sanitize"], { stdio: "inherit" });
if (build.status !== 0) process.exit(build.status ?? 1);
const libraries = ["libasan.so", "libubsan.so"]
  .map((name) => spawnSync(compiler, [`-print-file-name=${name}`], { encoding: "utf8" }).stdout.trim());
if (!libraries.every((path) => path.includes("/"))) {
  console.error(`${compiler} brings no ${libraries.filter((path) => !path.includes("/")).join(", ")}: install it, or set CXX to a `
    + "compiler that has it");
  process.exit(1);
}
// Those of 16,384 steps walk over the same code as shorter ones, for minutes.
const tests = process.argv.length > 2 ? process.argv.slice(2) : ["packages/kernels/src", "--testNamePattern=^(?!.*16,384)"];
const run = spawnSync(process.execPath, [join(ROOT, "node_modules/vitest/vitest.mjs"), "run", "--testTimeout=600000", ...tests], {
  cwd: ROOT,
  stdio: "inherit",
  env: {
    ...process.env,
    LD_PRELOAD: libraries.join(":"),
    ASAN_OPTIONS: "detect_leaks=0:allocator_may_return_null=1:halt_on_error=1",
    UBSAN_OPTIONS: "print_stacktrace=1:halt_on_error=1",
    // No WebGPU: its drivers are not ours to check.
    VK_ICD_FILENAMES: "none",
    LENGGEN_CHROMIUM: "none",
    LENGGEN_CPU_ADDON: join(PACKAGE, "build/cpu.asan.node"),
  },
});
process.exit(run.status ?? 1);
