/**
 * What a model of a published size costs to train on a processor: a Mamba-2 of 130 million parameters with random weights (24 layers,
 * 50,288 rows), sequences of 2,048 tokens, 5 steps of 1, 2 and 4 micro-batches. Prints JSON: bytes of memory at the peak, tokens a second,
 * and the share of the measured ceiling that one step of one micro-batch reaches.
 *
 *   node scripts/train-130m.mjs
 *
 * Linux alone says how much memory a process had at most. Needs the packages built (npm test or npm start does it).
 */
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "./pack.mjs";

const LENGGEN = join(root, "packages/cli/bin/lenggen.js");
const STEPS = 5;
/** How often the peak is looked at; it only grows, so that no rise is missed but one of the very end. */
const EVERY_MS = 50;

/** Runs a command to its end; gives the most memory that it had, in bytes. */
function peakOf(args) {
  return new Promise((done, failed) => {
    const child = spawn(process.execPath, [LENGGEN, ...args], { stdio: ["ignore", "ignore", "inherit"] });
    let peak = 0;
    const watch = setInterval(() => {
      try {
        peak = Math.max(peak, 1024 * Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))?.[1] ?? 0));
      } catch {
        // It has just ended.
      }
    }, EVERY_MS);
    child.on("exit", (code) => {
      clearInterval(watch);
      if (code === 0) done(peak);
      else failed(new Error(`lenggen ${args.join(" ")} ended with ${code}`));
    });
  });
}

const folder = mkdtempSync(join(tmpdir(), "lenggen-130m-"));
try {
  const runs = [];
  for (const microBatches of [1, 2, 4]) {
    const run = join(folder, String(microBatches));
    const peakBytes = await peakOf(["train", "--model", "130m", "--tokenizer", "bytes", "--text", "sotu", "--context", "2048", "--batch",
      "1", "--micro-batches", String(microBatches), "--steps", String(STEPS), "--warmup", "1", "--out", run]);
    const metrics = readFileSync(join(run, "metrics.jsonl"), "utf8").trim().split("\n").map((line) => JSON.parse(line));
    const { tokens, seconds, loss } = metrics.at(-1);
    // The first step has the memory to get from the system.
    const tokensPerSecond = (tokens - metrics[0].tokens) / (seconds - metrics[0].seconds);
    runs.push({
      microBatches, steps: STEPS, peakBytes, tokensPerSecond: Number(tokensPerSecond.toFixed(1)), firstLoss: metrics[0].loss, loss,
    });
    rmSync(run, { recursive: true });
  }
  const { device, ceiling, results: [step] } = JSON.parse(execFileSync(process.execPath,
    [LENGGEN, "bench", "large-training-step", "--threads", "2", "--json"], { encoding: "utf8" }));
  console.log(JSON.stringify({ device, ceiling, step, runs }, null, 1));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
