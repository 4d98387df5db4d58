/**
 * Fuzzes the safetensors reader: whatever the bytes, opening and loading either works or throws a LenggenError
 * of code E_FORMAT, or E_DTYPE for a type that is not read, and nothing is allocated beyond what the file's size explains. `run.mjs` runs
 * this with more inputs.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { open } from "../src/open";
import { LenggenError } from "../src/errors";
import { openSafetensors } from "../src/safetensors";
import { memorySource } from "../src/source";
import { dispose } from "../src/tensor";
import { CORPUS } from "./corpus";
import { INPUTS, mutateSafetensors, SEED, tryAll } from "./mutate";

const folder = fileURLToPath(new URL("corpus/", import.meta.url));

const device = await open("reference");

/** Opens and loads everything; says whether they were loaded or refused. Throws when something worse than a refusal happens. */
async function attempt(bytes: Uint8Array): Promise<string> {
  device.resetPeak();
  let outcome = "loaded";
  try {
    const file = await openSafetensors(memorySource(bytes, "fuzz"));
    dispose(Object.values(await file.loadAll(device)));
  } catch (error) {
    if (!(error instanceof LenggenError && ["E_FORMAT", "E_DTYPE"].includes(error.code))) throw error;
    outcome = "refused";
  }
  const { used, peak } = device.memory();
  // U8 becomes i32: at most four bytes for each of the file.
  if (used !== 0 || peak > 4 * bytes.length) throw new Error(`holds ${used} bytes, at most ${peak}, for a file of ${bytes.length}`);
  return outcome;
}

describe("the corpus", () => {
  if (process.env["LENGGEN_FUZZ_WRITE"]) {
    for (const [name, bytes] of Object.entries(CORPUS)) writeFileSync(`${folder}${name}.safetensors`, bytes);
  }

  it("is on disk as the script makes it", () => {
    expect(readdirSync(folder).sort()).toEqual(Object.keys(CORPUS).map((name) => `${name}.safetensors`).sort());
    const different = Object.entries(CORPUS).filter(([name, bytes]) => !readFileSync(`${folder}${name}.safetensors`).equals(bytes));
    expect(different.map(([name]) => name)).toEqual([]);
  });

  it.each(Object.entries(CORPUS))("%s does as its name says", async (name, bytes) => {
    // The data bytes are 0x40, so whole numbers of 64 bits are too large for i32: such files open, but do not load.
    const expected = /^bad|two|every|padded/.test(name) ? "refused" : "loaded";
    expect(await attempt(bytes)).toBe(expected);
    if (name.startsWith("good")) await openSafetensors(memorySource(bytes));
  });
});

describe("mutations", () => {
  it(`of the corpus are loaded or refused (${INPUTS} inputs, seed ${SEED})`, { timeout: 60_000 + INPUTS }, async () => {
    const seeds = Object.values(CORPUS);
    expect(await tryAll("safetensors", (random) => mutateSafetensors(random, seeds), attempt)).toEqual(["loaded", "refused"]);
  });
});
