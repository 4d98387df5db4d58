/**
 * Fuzzes the strict JSON reader against the one that JavaScript has: both read the same value, or both refuse, except
 * for repeated keys and deep nesting, which the strict one alone refuses.
 */
import { describe, expect, it } from "vitest";
import { LenggenError } from "../src/errors";
import { foldIn, hostRandom, key } from "../src/random";
import { parseJsonBytes } from "../src/strictJson";
import { INPUTS, mutate, SEED } from "./mutate";

const SEEDS = [
  '{"d_model": 768, "n_layer": 24, "vocab_size": 50277, "ssm_cfg": {"layer": "Mamba2"}, "rms_norm": true, "fused_add_norm": true}',
  String.raw`{"a": [1, -2.5e-3, 1E+9, 0], "b": "\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00", "c": null, "__proto__": {"x": false}}`,
  '[[], {}, [[]], [{"k": [true, false, null]}], "é😀", 12345678901234567890]',
  ' \n\t"text" ', "-0.0e-0", '{"1": 1, "0": 0, "": ""}',
].map((text) => new TextEncoder().encode(text));

/** The value as text, or undefined when it is refused. Throws when something else than a refusal happens. */
function attempt(parse: () => unknown, refusal: (error: unknown) => boolean): string | undefined {
  try {
    return JSON.stringify(parse());
  } catch (error) {
    if (refusal(error)) return undefined;
    throw error;
  }
}

describe("strict JSON", () => {
  it(`agrees with JSON.parse (${INPUTS} inputs, seed ${SEED})`, { timeout: 60_000 + INPUTS }, () => {
    const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    const counts = { read: 0, refused: 0, stricter: 0 };
    for (let i = 0; i < INPUTS; i++) {
      const bytes = mutate(hostRandom(foldIn(key(SEED), i)), SEEDS);
      let message = "";
      const strict = attempt(
        () => parseJsonBytes(bytes, "fuzz", { maxDepth: 8 }),
        (error) => {
          message = (error as Error).message;
          return error instanceof LenggenError && error.code === "E_FORMAT";
        },
      );
      const native = attempt(() => JSON.parse(decoder.decode(bytes)),
        (error) => error instanceof SyntaxError || error instanceof TypeError);
      const stricter = strict === undefined && /appears twice|nested more than 8 deep/.test(message);
      if (!stricter && strict !== native) {
        const input = Buffer.from(bytes).toString("base64");
        throw new Error(`input ${i} of seed ${SEED} (${input}): ${strict ?? message} against ${native ?? "refused"}`);
      }
      counts[stricter ? "stricter" : strict === undefined ? "refused" : "read"]++;
    }
    console.log(`strict JSON: ${INPUTS} inputs: ${Object.entries(counts).map(([outcome, n]) => `${outcome} ${n}`).join(", ")}`);
    for (const n of Object.values(counts)) expect(n).toBeGreaterThan(0);
  });
});
