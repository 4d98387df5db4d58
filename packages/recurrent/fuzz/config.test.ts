/**
 * Fuzzes the reader of `config.json`: a configuration is either refused with E_FORMAT or E_CONFIG, or makes a model whose
 * tables can be built and which survives a round trip.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { foldIn, hostRandom, key, LenggenError, parseConfig } from "@lenggen/kernels";
import { describe, expect, it } from "vitest";
import { mutate } from "../../kernels/fuzz/mutate";
import { mamba2Json, parseMamba2Config } from "../src/mamba2/config";
import { mamba2 } from "../src/mamba2/model";

const INPUTS = Number(process.env["LENGGEN_FUZZ_INPUTS"] ?? 20_000);
const SEED = Number(process.env["LENGGEN_FUZZ_SEED"] ?? 1);
const SEEDS = ["state-spaces", "transformers", "transformers-infinity", "every-field"].map((name) =>
  new Uint8Array(readFileSync(fileURLToPath(new URL(`corpus/${name}.json`, import.meta.url)))));

describe("config.json", () => {
  it(`is refused or makes a model (${INPUTS} inputs, seed ${SEED})`, { timeout: 60_000 + INPUTS }, () => {
    const counts = { accepted: 0, E_FORMAT: 0, E_CONFIG: 0 };
    for (let i = 0; i < INPUTS; i++) {
      const bytes = mutate(hostRandom(foldIn(key(SEED), i)), SEEDS);
      try {
        const model = mamba2(parseConfig(bytes));
        expect(Object.values(model.parameterShapes()).flat().every((size) => Number.isSafeInteger(size) && size >= 1)).toBe(true);
        expect(parseMamba2Config(JSON.parse(JSON.stringify(mamba2Json(model.settings))))).toEqual(model.settings);
        counts.accepted++;
      } catch (error) {
        const code = error instanceof LenggenError ? error.code : undefined;
        if (code !== "E_FORMAT" && code !== "E_CONFIG") {
          throw new Error(`input ${i} of seed ${SEED} (${Buffer.from(bytes).toString("base64")})`, { cause: error });
        }
        counts[code]++;
      }
    }
    console.log(`config.json: ${INPUTS} inputs: ${Object.entries(counts).map(([outcome, n]) => `${outcome} ${n}`).join(", ")}`);
    for (const n of Object.values(counts)) expect(n).toBeGreaterThan(0);
  });
});
