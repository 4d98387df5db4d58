/** RWKV-7 against golden values of other programs (data/goldens, rwkv7-tiny), and against the laws of every sequence model. */
import { describe, expect, it } from "vitest";
import { describeGolden } from "../golden.fixture";
import { describeOnDevices, describeParts, expectStartingValues } from "../rwkv/rwkv.fixture";
import { parseRwkv7Config, type Rwkv7Config, rwkv7Json } from "./config";
import { loadRwkv7 } from "./files";
import { rwkv7, rwkv7ParameterCount } from "./model";
import { RWKV7_PRESETS } from "./presets";

const RANKS = { d_decay_lora: 8, d_aaa_lora: 6, d_mv_lora: 4, d_gate_lora: 10 };

/** [B,H,V,K] as the authors' program for single tokens has it -> [B,H,K,V]. */
function keyFirst(values: ArrayLike<number>, shape: readonly number[]): number[] {
  const [V, K] = shape.slice(-2) as [number, number];
  return Array.from({ length: values.length }, (_, i) => {
    const [v, k, matrix] = [i % V, Math.floor(i / V) % K, Math.floor(i / (V * K))];
    return values[(matrix * V + v) * K + k]!;
  });
}

describeGolden("rwkv7-tiny", {
  load: (config, weights, device, dtype) => loadRwkv7({ ...config, ...RANKS }, weights, device, dtype),
  states: { wkv7: { name: "wkv", as: keyFirst }, attShift: { name: "att_shift" }, ffnShift: { name: "ffn_shift" } },
});

const CONFIG = { model_type: "rwkv7", n_layer: 2, n_embd: 24, vocab_size: 30, head_size: 12, dim_ffn: 40,
  d_decay_lora: 5, d_aaa_lora: 4, d_mv_lora: 3, d_gate_lora: 6 };

const FAMILY = { label: "RWKV-7", sum: "wkv7", config: CONFIG, make: (config: unknown) => rwkv7(config) };

describeOnDevices(FAMILY);
describeParts(FAMILY);

describe("starting values of RWKV-7", () => {
  it("are the authors'", () => expectStartingValues(
    rwkv7({ ...CONFIG, n_layer: 3, n_embd: 64, head_size: 32, vocab_size: 256 }),
    async ({ every, uniform, orthogonal }) => {
      await uniform("emb.weight", 1e-4);
      await orthogonal("head.weight", 1, 64); // 0.5 √(256/64)
      const line = (n: number) => n / 63 - 0.5;
      const zigzag = (n: number) => {
        const z = ((n % 32) - 15.5) / 15.5;
        return z * Math.abs(z);
      };
      for (const layer of [0, 1, 2]) {
        const [down, left] = [layer / 2, 1 - layer / 3];
        const att = (part: string) => `blocks.${layer}.att.${part}`;
        for (const [part, power] of [["r", 0.2], ["w", 0.9], ["k", 0.7], ["v", 0.7], ["a", 0.9], ["g", 0.2]] as const) {
          await every(att(`x_${part}`), (n) => 1 - (n / 64) ** (power * left));
        }
        await every(att("w0"), (n) => -6 + 6 * (n / 63) ** (1 + down ** 0.3) + 0.5 + 2.5 * zigzag(n));
        await every(att("a0"), (n) => -0.19 + 0.3 * zigzag(n) + 0.4 * line(n));
        if (layer > 0) await every(att("v0"), (n) => 0.73 - 0.4 * line(n));
        for (const [part, rank] of [["w", 5], ["a", 4], ["g", 6], ...(layer > 0 ? [["v", 3] as const] : [])] as const) {
          await every(att(`${part}1`), () => 0);
          await orthogonal(att(`${part}2`), 0.1, rank);
        }
        await every(att("k_k"), (n) => 0.71 - 0.1 * line(n));
        await every(att("k_a"), () => 1.02);
        await every(att("r_k"), () => -0.04);
        for (const part of ["receptance", "value"]) await orthogonal(att(`${part}.weight`), 1, 64);
        await orthogonal(att("key.weight"), 0.1, 64);
        await every(att("output.weight"), () => 0);
        await every(att("ln_x.weight"), () => ((layer + 1) / 3) ** 0.7);
        await every(att("ln_x.bias"), () => 0);
        await every(`blocks.${layer}.ffn.x_k`, (n) => 1 - (n / 64) ** (left ** 4));
        await orthogonal(`blocks.${layer}.ffn.key.weight`, 1, 40);
        await every(`blocks.${layer}.ffn.value.weight`, () => 0);
        for (const norm of ["ln1", "ln2"]) await every(`blocks.${layer}.${norm}.weight`, () => 1);
      }
      await every("blocks.0.ln0.weight", () => 1);
    }));
});

describe("configurations of RWKV-7", () => {
  it.each([
    ["rwkv7-0.1b", 191_034_624],
    ["rwkv7-0.4b", 450_767_872],
    ["rwkv7-1.5b", 1_527_404_544],
    ["rwkv7-2.9b", 2_947_735_040],
    ["rwkv7-7.2b", 7_199_141_888],
    ["rwkv7-13.3b", 13_269_245_952],
    ["rwkv7-tiny-byte", 552_864],
  ] as const)("%s has %i parameters", (preset, expected) => {
    expect(rwkv7ParameterCount(parseRwkv7Config(RWKV7_PRESETS[preset]))).toBe(expected);
  });

  it("come back as they were given", () => {
    for (const preset of Object.values(RWKV7_PRESETS)) {
      const config = parseRwkv7Config(preset);
      expect(parseRwkv7Config(JSON.parse(JSON.stringify(rwkv7Json(config))))).toEqual(config);
    }
  });

  it("have ranks that follow from the width where none are given", () => {
    const ranks = ({ decayRank, rateRank, valueRank, gateRank }: Rwkv7Config) => [decayRank, rateRank, valueRank, gateRank];
    const at = (n_embd: number) => ranks(parseRwkv7Config({ n_layer: 1, n_embd, vocab_size: 9 }));
    expect([at(64), at(768), at(4096)]).toEqual([[32, 32, 32, 32], [64, 64, 32, 128], [160, 160, 96, 320]]);
  });

  it.each([
    [{ ...CONFIG, n_embed: 24 }, /no field n_embed/],
    [{ n_layer: 2, n_embed: 24, vocab_size: 30 }, /no field n_embed \(did you mean "n_embd"\?\)/],
    [{ ...CONFIG, head_size: 10 }, /head_size 10 must divide n_embd 24/],
    [{ ...CONFIG, model_type: "rwkv6" }, /model_type: expected "rwkv7", got "rwkv6"/],
    [{ ...CONFIG, format: "rwkv-x060" }, /format: expected "rwkv-x070"/],
    [{ ...CONFIG, d_gate_lora: 0 }, /d_gate_lora/],
    [{ ...CONFIG, vocab_size: undefined }, /vocab_size is missing/],
    [[], /expected an object, got a list/],
  ])("%j is refused", (json, message) =>
    expect(() => rwkv7(json)).toThrow(expect.objectContaining({ code: "E_CONFIG", message: expect.stringMatching(message) })));
});
