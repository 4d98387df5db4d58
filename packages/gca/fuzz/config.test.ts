/**
 * Fuzzes the readers of `config.json`: a configuration is either refused with E_FORMAT or E_CONFIG, or makes a model whose
 * tables can be built and which survives a round trip.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { foldIn, hostRandom, key, LenggenError, parseConfig } from "@lenggen/kernels";
import { describe, expect, it } from "vitest";
import { mutate } from "../../kernels/fuzz/mutate";
import { drt, transformer } from "../src/index";

const INPUTS = Number(process.env["LENGGEN_FUZZ_INPUTS"] ?? 20_000);
const SEED = Number(process.env["LENGGEN_FUZZ_SEED"] ?? 1);

describe.each([["drt", drt], ["transformer", transformer]] as const)("config.json of %s", (name, make) => {
  const seeds = [new Uint8Array(readFileSync(fileURLToPath(new URL(`corpus/${name}.json`, import.meta.url))))];

  it(`is refused or makes a model (${INPUTS} inputs, seed ${SEED})`, { timeout: 60_000 + INPUTS }, () => {
    const counts = { accepted: 0, E_FORMAT: 0, E_CONFIG: 0 };
    for (let i = 0; i < INPUTS; i++) {
      const bytes = mutate(hostRandom(foldIn(key(SEED), i)), seeds);
      try {
        const model = make(parseConfig(bytes));
        expect(Object.values(model.parameterShapes()).flat().every((size) => Number.isSafeInteger(size) && size >= 1)).toBe(true);
        expect(make(JSON.parse(JSON.stringify(model.config))).settings).toEqual(model.settings);
        counts.accepted++;
      } catch (error) {
        const code = error instanceof LenggenError ? error.code : undefined;
        if (code !== "E_FORMAT" && code !== "E_CONFIG") {
          throw new Error(`input ${i} of seed ${SEED} (${Buffer.from(bytes).toString("base64")})`, { cause: error });
        }
        counts[code]++;
      }
    }
    console.log(`${name}: ${INPUTS} inputs: ${Object.entries(counts).map(([outcome, n]) => `${outcome} ${n}`).join(", ")}`);
    for (const n of Object.values(counts)) expect(n).toBeGreaterThan(0);
  });
});
