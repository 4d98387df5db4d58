/**
 * Set-up for `npm start` and `npm test`: dependencies, native kernels, built packages. A stage prints a line when it is
 * done, and one before where that takes long, but only when it has something to do; with nothing changed the whole
 * takes well under a second.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("..", import.meta.url));
const MINIMUM_NODE = [20, 19];

/** Runs a program to its end. Its output is kept back and shown only when it fails. */
function quietly(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: root, encoding: "utf8", maxBuffer: 1 << 26, ...options });
  const output = `${result.stdout ?? ""}${result.stderr ?? ""}${result.error ? `${result.error.message}\n` : ""}`;
  return { failed: result.status !== 0, output };
}

function stop(message, output = "") {
  if (output) process.stderr.write(output.endsWith("\n") ? output : `${output}\n`);
  process.stderr.write(`set-up: ${message}\n`);
  process.exit(1);
}

const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(1)} s`;

function checkNode() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major > MINIMUM_NODE[0] || (major === MINIMUM_NODE[0] && minor >= MINIMUM_NODE[1])) return;
  stop(`Node ${MINIMUM_NODE.join(".")} or newer is needed; this is ${process.versions.node}`);
}

/** `npm ci`, when node_modules is missing or was made from another lock file. */
function installDependencies() {
  const lock = join(root, "package-lock.json");
  const installed = join(root, "node_modules", ".package-lock.json");
  const stamp = join(root, "node_modules", ".lenggen-lock");
  const digest = createHash("sha256").update(readFileSync(lock)).digest("hex");
  const stamped = existsSync(stamp) && readFileSync(stamp, "utf8") === digest;
  if (stamped && existsSync(installed)) return;
  // An `npm install` by hand writes both files within moments of each other.
  if (!existsSync(installed) || statSync(installed).mtimeMs + 5000 < statSync(lock).mtimeMs) {
    const since = performance.now();
    console.error("set-up: installing dependencies");
    const npm = quietly("npm", ["ci", "--no-audit", "--no-fund"], { shell: process.platform === "win32" });
    if (npm.failed) stop("npm ci failed", npm.output);
    console.error(`set-up: dependencies installed (${seconds(since)})`);
  }
  writeFileSync(stamp, digest);
}

/** The addon of the cpu device. Without a C++ compiler everything still works, on the reference device. */
function buildNative() {
  const since = performance.now();
  if (!existsSync(join(root, "packages/kernels/build/cpu.node")) && process.env.CXX !== "none") {
    console.error("set-up: compiling the native kernels, which takes a minute or two the first time");
  }
  const build = quietly(process.execPath, ["packages/kernels/scripts/build-native.mjs"]);
  if (build.failed) stop("the native kernels did not compile (CXX names another compiler; CXX=none goes on without)", build.output);
  const skipped = /^skipped .*$/m.exec(build.output)?.[0];
  if (skipped) console.error(`set-up: ${skipped}`);
  else if (performance.now() - since > 2000) console.error(`set-up: native kernels built (${seconds(since)})`);
  return !skipped;
}

/** Every package's dist, by turbo, which skips what has not changed. */
function buildPackages() {
  const since = performance.now();
  const turbo = quietly(join(root, "node_modules", ".bin", process.platform === "win32" ? "turbo.cmd" : "turbo"), ["run", "build", "--filter=./packages/*", "--output-logs=errors-only"], {
    shell: process.platform === "win32",
    env: { ...process.env, TURBO_TELEMETRY_DISABLED: "1", DO_NOT_TRACK: "1", TURBO_NO_UPDATE_NOTIFIER: "1" },
  });
  if (turbo.failed) stop("the packages could not be built", turbo.output);
  if (performance.now() - since > 5000) console.error(`set-up: packages built (${seconds(since)})`);
}

/** Brings the clone up to date; returns whether the native kernels are there. */
export function setUp({ packages }) {
  checkNode();
  installDependencies();
  const native = buildNative();
  if (packages) buildPackages();
  return { native };
}
