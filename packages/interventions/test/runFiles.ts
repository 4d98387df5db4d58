/** What a run directory holds, for tests. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "vitest";

/** The lines of metrics. */
export async function metrics(folder: string): Promise<Record<string, unknown>[]> {
  const text = await readFile(join(folder, "metrics.jsonl"), "utf8");
  expect(text.endsWith("\n")).toBe(true);
  return text.trimEnd().split("\n").map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** Digests of the files of the newest checkpoint that the next step depends on. */
export async function digests(folder: string, step: number): Promise<string[]> {
  return Promise.all(["model.safetensors", "optimizer.safetensors"].map(async (file) =>
    createHash("sha256").update(await readFile(join(folder, "checkpoints", `step-${step}`, file))).digest("hex")));
}
