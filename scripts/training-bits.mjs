/**
 * Holds the bits of short training runs on the CPU (Mamba-2 with each intervention, DRTs, baselines, post-training) against those that are
 * committed, for each instruction set that this processor has. For changes that must not change a number.
 *
 *   node scripts/training-bits.mjs [--write]
 *
 * Another compiler may fuse other products with their sums: then `--write` on the commit before a change, and the check after it. Needs
 * packages and kernels that are built (`npm test` does, or `npx turbo run build`).
 */
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const LENGGEN = join(root, "packages/cli/bin/lenggen.js");
const COMMITTED = join(root, "results/training-bits.json");

const common = ["--batch", "2", "--text", "text.txt", "--threads", "2"];
const short = (steps, context) => [...common, "--steps", String(steps), "--warmup", "2", "--context", String(context)];
const RUNS = {
  ...Object.fromEntries(["zero", "random-noise", "fitted-noise", "state-passing", "tbtt"].map((method) =>
    [`mamba2 ${method}`, ["train", "--model", "tiny-byte", "--method", method, ...short(12, 200)]])),
  "drt": ["train", "--model", "drt-tiny", ...short(8, 256)],
  "drt with two retrievals, a task": ["train", "--model", "drt-tiny-2", "--task", "key-retrieval", ...short(6, 256)],
  "full attention": ["train", "--model", "full-attention-tiny", ...short(6, 200)],
  "sliding window": ["train", "--model", "sliding-window-tiny", ...short(6, 200)],
  "mamba2 zero, post-trained": ["post-train", "--checkpoint", "mamba2-zero", "--method", "state-passing", "--steps", "6", "--context",
    "200", ...common],
};

/** Words in an order that looks like none, the same everywhere. */
function text() {
  const words = ["state", "passing", "long", "the", "a", "model", "of", "text", "and", "chunk", "reads", "far", "\n"];
  let at = 1;
  return Array.from({ length: 40_000 }, () => words[(at = (at * 16807) % 2147483647) % words.length]).join(" ");
}

/** Digests of parameters and of the optimiser's moments after each run. */
function digests(isa) {
  const folder = mkdtempSync(join(tmpdir(), "lenggen-bits-"));
  writeFileSync(join(folder, "text.txt"), text());
  const found = {};
  for (const [name, args] of Object.entries(RUNS)) {
    const out = name.replaceAll(/\W+/g, "-");
    const { status, stderr } = spawnSync(process.execPath, [LENGGEN, ...args, "--out", out],
      { cwd: folder, env: { ...process.env, LENGGEN_ISA: isa }, encoding: "utf8" });
    if (status !== 0) throw new Error(`${name} failed: ${stderr}`);
    const checkpoints = join(folder, out, "checkpoints");
    const last = readdirSync(checkpoints).sort((a, b) => Number(a.slice(5)) - Number(b.slice(5))).at(-1);
    const hash = createHash("sha256");
    for (const file of ["model.safetensors", "optimizer.safetensors"]) hash.update(readFileSync(join(checkpoints, last, file)));
    found[name] = hash.digest("hex").slice(0, 16);
  }
  rmSync(folder, { recursive: true });
  return found;
}

const { devices } = await import("@lenggen/kernels");
const isas = String((await devices()).find(({ name }) => name === "cpu").details.isas ?? "").split(", ").filter(Boolean);
const compiler = execFileSync(process.env.CXX ?? "c++", ["--version"], { encoding: "utf8" }).split("\n")[0];
const before = existsSync(COMMITTED) ? JSON.parse(readFileSync(COMMITTED, "utf8")) : { isas: {} };
const now = Object.fromEntries(isas.map((isa) => [isa, digests(isa)]));
if (process.argv.includes("--write")) {
  writeFileSync(COMMITTED, `${JSON.stringify({ compiler, isas: { ...before.isas, ...now } }, null, 2)}\n`);
  console.log(`training bits: written for ${isas.join(", ")}`);
} else {
  if (compiler !== before.compiler) console.log(`training bits: the committed ones are of another compiler (${before.compiler}), `
    + `and this is ${compiler}`);
  const changed = isas.flatMap((isa) => Object.keys(RUNS).filter((name) => now[isa][name] !== before.isas[isa]?.[name])
    .map((name) => `${isa}: ${name}`));
  for (const line of changed) console.error(`training bits: ${line} has other bits`);
  if (changed.length > 0) process.exitCode = 1;
  else console.log(`training bits: ${isas.length * Object.keys(RUNS).length} runs have the bits that are committed`);
}
