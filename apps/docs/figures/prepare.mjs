/**
 * Makes what the figures load and what needs not be committed, in apps/docs/figures/made: the text, from its npm package, and the weights
 * of the DRT in half precision, from the checkpoint that the command line brings.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { memorySource, openSafetensors, rewriteSafetensors } from "@lenggen/kernels";
import { novel } from "train-in-a-tab/novel";

const made = fileURLToPath(new URL("made", import.meta.url));
const checkpoint = fileURLToPath(new URL("../../../packages/cli/checkpoints/gca-retrieval/seed-0/drt-1/", import.meta.url));

/** Of the novel: enough for 400 small steps, with a tenth of it held out. */
const TEXT_BYTES = 300_000;

function write(name, content) {
  const file = join(made, name);
  if (!existsSync(file) || !readFileSync(file).equals(Buffer.from(content))) writeFileSync(file, content);
}

async function halved(file) {
  const bytes = new Uint8Array(readFileSync(file));
  const parts = [];
  const { chunks } = rewriteSafetensors(await openSafetensors(memorySource(bytes, file)), { dtype: "F16" });
  for await (const part of chunks) parts.push(Buffer.from(part));
  return Buffer.concat(parts);
}

export async function prepareFigures() {
  mkdirSync(made, { recursive: true });
  write("moby-dick.txt", Buffer.from(novel()).subarray(0, TEXT_BYTES));
  write("drt.json", readFileSync(join(checkpoint, "config.json")));
  write("drt.safetensors", await halved(join(checkpoint, "model.safetensors")));
  return made;
}
