/**
 * `npm test`: set-up, then vitest over all packages. Arguments after `--` go to vitest: `npm test -- ssd`, and with
 * `--project node`, `--project browser` or `--project tab` (the example page) a part.
 * The packages and the example page are built too, as tests run the command that users run and open the page that they get.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { root, setUp } from "./setup.mjs";

const { native } = await setUp({ tests: true });
if (!native) console.error("test: the cpu device is missing, so every test that runs on each device runs without it");

// Loaded now, as set-up may just have installed what it needs.
const { findChromium, webgpuInNode } = await import("./webgpu.mjs");
const webgpu = webgpuInNode();
if (webgpu.reason) console.error(`test: in Node, tests on device webgpu do not run: ${webgpu.reason}`);
const chromium = findChromium();
if (chromium.reason) console.error(`test: tests in a browser do not run: ${chromium.reason}`);

const vitest = spawn(process.execPath, [join(root, "node_modules/vitest/vitest.mjs"), "run", ...process.argv.slice(2)], {
  stdio: "inherit",
  cwd: root,
  env: { ...process.env, ...webgpu.variables, LENGGEN_CHROMIUM: chromium.path ?? "none", LENGGEN_NODE_ADAPTER: webgpu.adapter ?? "none" },
});
process.on("SIGINT", () => {});
process.on("SIGTERM", () => vitest.kill("SIGTERM"));
vitest.on("exit", (code, signal) => process.exit(code ?? (signal === "SIGINT" ? 130 : 1)));
