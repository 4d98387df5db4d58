/**
 * Set-up for `npm start` and `npm test`: dependencies, native kernels, built packages. A stage prints a line when it is
 * done, and one before where that takes long, but only when it has something to do; with nothing changed the whole
 * takes well under a second. What does not need the other runs side by side.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("..", import.meta.url));
const MINIMUM_NODE = [20, 19];

const running = new Set();
let interrupted = false;

/**
 * Ctrl-C, or the end asked for otherwise: what runs ends too. npm would go on by itself for a while and fight with that of the next
 * attempt, which begins with an empty node_modules anyhow, so that it is not asked.
 */
function interrupt() {
  if (interrupted || running.size === 0) process.exit(130);
  interrupted = true;
  for (const child of running) child.kill("SIGKILL");
}

/** Runs a program to its end. Its output is kept back and shown only when it fails. */
function quietly(command, args, options = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"], ...options });
    running.add(child);
    let output = "";
    const add = (text) => (output += text);
    child.stdout.setEncoding("utf8").on("data", add);
    child.stderr.setEncoding("utf8").on("data", add);
    const end = (failed, more = "") => {
      running.delete(child);
      if (!interrupted) resolve({ failed, output: output + more });
      else if (running.size === 0) process.exit(130);
    };
    child.on("error", (error) => end(true, `${error.message}\n`));
    child.on("close", (status) => end(status !== 0));
  });
}

function stop(message, output = "") {
  if (output) process.stderr.write(output.endsWith("\n") ? output : `${output}\n`);
  process.stderr.write(`set-up: ${message}\n`);
  for (const child of running) child.kill();
  process.exit(1);
}

const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(1)} s`;

function checkNode() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major > MINIMUM_NODE[0] || (major === MINIMUM_NODE[0] && minor >= MINIMUM_NODE[1])) return;
  stop(`Node ${MINIMUM_NODE.join(".")} or newer is needed; this is ${process.versions.node}`);
}

/** `npm ci`, when node_modules is missing or was made from another lock file. */
async function installDependencies() {
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
    const npm = await quietly("npm", ["ci", "--no-audit", "--no-fund"], { shell: process.platform === "win32" });
    if (npm.failed) stop("npm ci failed", npm.output);
    console.error(`set-up: dependencies installed (${seconds(since)})`);
  }
  writeFileSync(stamp, digest);
}

/**
 * The addon of the cpu device: for all processors, or `quick`, for this one alone, in a third of the time. Without a C++ compiler
 * everything still works, on the reference device.
 */
async function buildNative(quick) {
  const since = performance.now();
  if (!existsSync(join(root, "packages/kernels/build/cpu.node")) && process.env.CXX !== "none") {
    console.error(`set-up: compiling the native kernels, which takes ${quick ? "about a minute" : "a minute or two"} the first time`);
  }
  const build = await quietly(process.execPath, ["packages/kernels/scripts/build-native.mjs", ...(quick ? ["--quick"] : [])]);
  if (build.failed) stop("the native kernels did not compile (CXX names another compiler; CXX=none goes on without)", build.output);
  const skipped = /^skipped .*$/m.exec(build.output)?.[0];
  if (skipped) console.error(`set-up: ${skipped}`);
  else if (performance.now() - since > 2000) console.error(`set-up: native kernels built (${seconds(since)})`);
  return !skipped;
}

const turbo = (args, variables = {}) =>
  quietly(join(root, "node_modules", ".bin", process.platform === "win32" ? "turbo.cmd" : "turbo"), ["run", "build", ...args], {
    shell: process.platform === "win32",
    env: { ...process.env, TURBO_TELEMETRY_DISABLED: "1", DO_NOT_TRACK: "1", TURBO_NO_UPDATE_NOTIFIER: "1", ...variables },
  });

/** Whether turbo has the whole build of every package, declarations and all, of the sources as they are. */
async function isBuilt() {
  const { output } = await turbo(["--filter=./packages/*", "--dry=json"]);
  try {
    return JSON.parse(output.slice(output.indexOf("{"), output.lastIndexOf("}") + 1)).tasks.every((task) => task.cache.status === "HIT");
  } catch {
    return false;
  }
}

/**
 * Every dist, of the packages and, for tests, of the example page, by turbo, which skips what has not changed. What is only to be run is
 * built without declarations, in a fifth of the time, unless the whole is there.
 */
async function buildPackages(tests) {
  const since = performance.now();
  const variables = tests || (await isBuilt()) ? {} : { LENGGEN_DECLARATIONS: "none" };
  const built = await turbo([...(tests ? [] : ["--filter=./packages/*"]), "--output-logs=errors-only"], variables);
  if (built.failed) stop("the packages could not be built", built.output);
  if (performance.now() - since > 5000) console.error(`set-up: packages built (${seconds(since)})`);
}

/**
 * Brings the clone up to date; returns whether the native kernels are there. `tests`: for them the kernels of every processor,
 * declarations and the example page are built as well.
 */
export async function setUp({ tests }) {
  checkNode();
  process.on("SIGINT", interrupt).on("SIGTERM", interrupt);
  await installDependencies();
  const [native] = await Promise.all([buildNative(!tests), buildPackages(tests)]);
  process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
  return { native };
}
