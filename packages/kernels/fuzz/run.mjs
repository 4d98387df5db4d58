#!/usr/bin/env node
/**
 * Fuzzes the readers of files that nobody vouches for.
 *
 *   node packages/kernels/fuzz/run.mjs [--inputs 1000000] [--seed 1] [--write-corpus]
 *
 * `npm test` runs 20,000 inputs of the same stream. A failure prints the input, so that it can join the corpus.
 */
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    inputs: { type: "string", default: "1000000" },
    seed: { type: "string", default: "1" },
    "write-corpus": { type: "boolean", default: false },
  },
});
const vitest = join(dirname(createRequire(import.meta.url).resolve("vitest/package.json")), "vitest.mjs");
const { status } = spawnSync(process.execPath, [vitest, "run", "packages/kernels/fuzz"], {
  cwd: fileURLToPath(new URL("../../..", import.meta.url)),
  stdio: "inherit",
  env: {
    ...process.env,
    LENGGEN_FUZZ_INPUTS: values["write-corpus"] ? "1000" : values.inputs,
    LENGGEN_FUZZ_SEED: values.seed,
    ...(values["write-corpus"] ? { LENGGEN_FUZZ_WRITE: "1" } : {}),
  },
});
process.exit(status ?? 1);
