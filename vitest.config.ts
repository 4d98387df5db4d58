import { fileURLToPath } from "node:url";
import { playwright } from "@vitest/browser-playwright";
import { defineConfig, type TestProjectConfiguration } from "vitest/config";
import type { BrowserCommand } from "vitest/node";
import { traceCommands } from "./packages/cli/test/browser/traceCommands.ts";

const source = (path: string) => fileURLToPath(new URL(`packages/${path}`, import.meta.url));

// Tests run on the sources: one alias per entry of a room, so that no build is needed first.
const ROOMS = [
  { find: /^@lenggen\/([a-z]+)$/, replacement: source("$1/src/index.ts") },
  { find: /^@lenggen\/([a-z]+)\/(node|figures|gguf|nn|laws|pytorch)$/, replacement: source("$1/src/$2/index.ts") },
];

/** Tests of what only Node has; all others run in the browser too. */
const NODE_ONLY = [
  "packages/cli/src/**", // the command line
  "packages/*/src/node/**", // files and run directories
  "packages/kernels/src/backends/cpu/**", // the native addon
  "packages/kernels/src/backends/webgpu/{adapter,dawn}.test.ts", // the npm package webgpu; browsers that have none, played
  // How a family cuts what is too large, and counts its dispatches: the browser's Dawn is that of Node. The op's own tests run in both.
  "packages/kernels/src/backends/webgpu/{attention,chunkAttention,conv,crossEntropy,elementwise,embedding,gatedLinearAttention,gates,lerp,matmul,norm,optimizer,reduce,retrieve,slidingWindow,ssd,view}.test.ts",
  "packages/gca/src/drt/stored.test.ts", // chunks in a store, which the host handles alike for all devices
  "packages/kernels/src/leaks.test.ts", // asks V8 for a garbage collection
];

/** The browser tests on its own adapter, not on SwiftShader. */
const BROWSER_GPU = process.env["LENGGEN_BROWSER_GPU"] === "1";

/**
 * Kernels whose shaders SwiftShader compiles for two minutes. Where Node's half has tested them on SwiftShader, the browser has them in
 * the tests of models only, with gradients.
 */
const ONCE_ON_SWIFTSHADER = /swiftshader/i.test(process.env["LENGGEN_NODE_ADAPTER"] ?? "") && !BROWSER_GPU
  ? ["packages/kernels/src/extremes.test.ts",
    "packages/kernels/src/ops/{attention,chunkAttention,conv,crossEntropy,matmul,norm,retrieve,ssd}.test.ts",
    "packages/kernels/src/ops/{deltaRule,gatedDeltaRule,gatedLinearAttention,selectiveScan}.test.ts"] : [];

const node: TestProjectConfiguration = {
  resolve: { alias: ROOMS },
  test: {
    name: "node",
    include: ["packages/*/{src,test,fuzz}/**/*.test.ts", "scripts/*.test.mjs", "apps/docs/figures/**/*.test.ts"],
    exclude: ["**/*.browser.test.ts"],
    setupFiles: ["scripts/calm-polling.mjs"],
    testTimeout: 60_000,
    pool: "forks",
    // Of two cores one stays free unless told otherwise, and most of the time goes to one thread that compiles shaders.
    maxWorkers: 2,
  },
};

/**
 * The same tests in a page of a headless Chromium, on the devices that there are in a browser. WebGPU runs on SwiftShader,
 * which every machine has, unless LENGGEN_BROWSER_GPU=1 asks for the machine's own.
 */
const browser = (executablePath: string): TestProjectConfiguration => ({
  resolve: { alias: [...ROOMS, { find: /^(\.+.*)\/platform$/, replacement: "$1/platform.browser" }] },
  // Golden values lie beside the repository; the server is for this page alone.
  server: { fs: { strict: false } },
  test: {
    name: "browser",
    include: ["packages/{kernels,recurrent,gca,interventions,evals,data}/src/**/*.test.ts", "packages/*/test/**/*.browser.test.ts"],
    exclude: [...NODE_ONLY, ...ONCE_ON_SWIFTSHADER],
    testTimeout: 60_000,
    // After the tests in Node: both want all cores.
    sequence: { groupOrder: 1 },
    browser: {
      enabled: true,
      headless: true,
      screenshotFailures: false,
      commands: traceCommands as unknown as Record<string, BrowserCommand<unknown[]>>,
      instances: [{ browser: "chromium" }],
      provider: playwright({
        launchOptions: {
          executablePath,
          args: [
            "--no-sandbox", "--enable-unsafe-webgpu",
            // SwiftShader compiles the zeros that a group's memory starts with for longer than everything else; kernels write before they read.
            ...(BROWSER_GPU ? [] : ["--use-webgpu-adapter=swiftshader", "--enable-dawn-features=disable_workgroup_init"]),
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
          ],
        },
      }),
    },
  },
});

// scripts/test.mjs looks for a Chromium, and for Node's adapter; without a Chromium, only the tests in Node are there.
const chromium = process.env["LENGGEN_CHROMIUM"] ?? "none";

/** What does not run, and why, is told once, not by every file. */
const told = new Set<string>();

export default defineConfig({
  test: {
    onConsoleLog(log) {
      const again = told.has(log);
      if (log.includes("do not run: ")) told.add(log);
      return !again;
    },
    projects: [node, ...(chromium === "none" ? [] : [browser(chromium)]), "examples/train-in-a-tab"],
  },
});
