/**
 * Fuzzes the reader of `config.json`, of each registered family: a configuration is either refused with E_FORMAT or E_CONFIG, or makes a
 * model whose tables can be built and which survives a round trip.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { foldIn, hostRandom, type HostRandom, key, LenggenError, type ModelFamily, parseConfig } from "@lenggen/kernels";
import { describe, expect, it } from "vitest";
import { mutate } from "../../kernels/fuzz/mutate";
import { RECURRENT_FAMILIES } from "../src/index";

const INPUTS = Math.ceil(Number(process.env["LENGGEN_FUZZ_INPUTS"] ?? 20_000) / 20);
const SEED = Number(process.env["LENGGEN_FUZZ_SEED"] ?? 1);

/** Files of other programs; of every family, what its first model is saved as, and all its presets. */
const CORPUS: Readonly<Record<string, readonly string[]>> = {
  mamba2: ["state-spaces", "transformers", "transformers-infinity", "every-field"],
};
const encoded = (config: unknown) => new TextEncoder().encode(JSON.stringify(config));

/** What may stand in the place of a field: other sizes, numbers at the ends of what there is, and values of other kinds. */
const VALUES: readonly unknown[] = [0, 1, 2, 3, 5, 37, 64, 4096, 2 ** 20, 2 ** 24, 2 ** 31, 2 ** 53, -1, -0, 0.5, 1.3, 1e-300, 1e308,
  "", "x", "__proto__", null, true, false, [], [1, 2], [[]], {}, { type: "x" }];

/** A configuration with up to three of its fields changed, those of sections and lists included: JSON still, and more often a model. */
function changed(random: HostRandom, seed: unknown): unknown {
  const config = structuredClone(seed);
  for (let change = random.integer(3); change >= 0; change--) {
    let at = config as Record<string, unknown>;
    for (;;) {
      const names = Object.keys(at);
      const name = names[random.integer(Math.max(1, names.length))] ?? "more";
      const inner = at[name];
      if (inner !== null && typeof inner === "object" && Object.keys(inner).length > 0 && random.integer(4) > 0) {
        at = inner as Record<string, unknown>;
        continue;
      }
      if (random.integer(8) === 0) delete at[name];
      else at[name] = structuredClone(VALUES[random.integer(VALUES.length)]);
      break;
    }
  }
  return config;
}

describe.each(Object.entries<ModelFamily>(RECURRENT_FAMILIES))("config.json of family %s", (family, { presets, make }) => {
  const files = (CORPUS[family] ?? []).map((name) =>
    new Uint8Array(readFileSync(fileURLToPath(new URL(`corpus/${name}.json`, import.meta.url)))));
  const models = [...Object.values(presets), make(Object.values(presets)[0]).config];
  const seeds = [...files, ...models.map(encoded)];

  it(`is refused or makes a model (${INPUTS} inputs, seed ${SEED})`, { timeout: 60_000 + 5 * INPUTS }, () => {
    const counts = { accepted: 0, E_FORMAT: 0, E_CONFIG: 0 };
    for (let i = 0; i < INPUTS; i++) {
      const random = hostRandom(foldIn(key(SEED), i));
      const bytes = i % 2 === 0 ? mutate(random, seeds) : encoded(changed(random, models[random.integer(models.length)]));
      try {
        const model = make(parseConfig(bytes));
        expect(Object.values(model.parameterShapes()).flat().every((size) => Number.isSafeInteger(size) && size >= 1)).toBe(true);
        expect(make(JSON.parse(JSON.stringify(model.config))).config).toEqual(model.config);
        counts.accepted++;
      } catch (error) {
        const code = error instanceof LenggenError ? error.code : undefined;
        if (code !== "E_FORMAT" && code !== "E_CONFIG") {
          throw new Error(`input ${i} of seed ${SEED} (${Buffer.from(bytes).toString("base64")})`, { cause: error });
        }
        counts[code]++;
      }
    }
    const outcomes = Object.entries(counts).map(([outcome, n]) => `${outcome} ${n}`);
    console.log(`config.json of ${family}: ${INPUTS} inputs: ${outcomes.join(", ")}`);
    for (const n of Object.values(counts)) expect(n).toBeGreaterThan(0);
  });
});
