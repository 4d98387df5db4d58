/** RWKV-6 against golden values of other programs (data/goldens, rwkv6-tiny), and against the laws of every sequence model. */
import { describe, expect, it } from "vitest";
import { describeGolden } from "../golden.fixture";
import { describeOnDevices, describeParts, expectStartingValues } from "../rwkv/rwkv.fixture";
import { parseRwkv6Config, rwkv6Json } from "./config";
import { loadRwkv6 } from "./files";
import { rwkv6, rwkv6ParameterCount } from "./model";
import { RWKV6_PRESETS } from "./presets";

describeGolden("rwkv6-tiny", {
  load: (config, weights, device, dtype) => loadRwkv6({ ...config, d_mix_lora: 8, d_decay_lora: 12 }, weights, device, dtype),
  states: { wkv: { name: "wkv" }, attShift: { name: "att_shift" }, ffnShift: { name: "ffn_shift" } },
});

const CONFIG = { model_type: "rwkv6", n_layer: 2, n_embd: 24, vocab_size: 30, head_size: 12, dim_ffn: 40, d_mix_lora: 3, d_decay_lora: 5 };

const FAMILY = { label: "RWKV-6", sum: "wkv", config: CONFIG, make: (config: unknown) => rwkv6(config) };

describeOnDevices(FAMILY);
describeParts(FAMILY);

describe("starting values of RWKV-6", () => {
  it("are the authors'", () => expectStartingValues(
    rwkv6({ ...CONFIG, n_layer: 3, n_embd: 64, head_size: 16, vocab_size: 256, d_mix_lora: 32, d_decay_lora: 32 }),
    async ({ every, uniform, orthogonal }) => {
      await uniform("emb.weight", 1e-4);
      await orthogonal("head.weight", 1, 64); // 0.5 √(256/64)
      for (const layer of [0, 1, 2]) {
        const [down, left] = [layer / 2, 1 - layer / 3];
        const att = (part: string) => `blocks.${layer}.att.${part}`;
        for (const part of ["x", "w", "k"]) await every(att(`time_maa_${part}`), (n) => 1 - (n / 64) ** left);
        await every(att("time_maa_v"), (n) => 1 - ((n / 64) ** left + 0.3 * down));
        for (const part of ["r", "g"]) await every(att(`time_maa_${part}`), (n) => 1 - (n / 64) ** (0.5 * left));
        await every(att("time_maa_w1"), () => 0);
        await uniform(att("time_maa_w2"), 0.01);
        await every(att("time_decay"), (n) => -6 + 5 * (n / 63) ** (0.7 + 1.3 * down));
        await every(att("time_decay_w1"), () => 0);
        await uniform(att("time_decay_w2"), 0.01);
        await every(att("time_faaaa"), (n) => down * (1 - n / 63) + 0.1 * (((n + 1) % 3) - 1));
        for (const part of ["receptance", "value"]) await orthogonal(att(`${part}.weight`), 1, 64);
        for (const part of ["key", "gate"]) await orthogonal(att(`${part}.weight`), 0.1, 64);
        await every(att("output.weight"), () => 0);
        await every(att("ln_x.weight"), () => ((layer + 1) / 3) ** 0.7);
        await every(att("ln_x.bias"), () => 0);
        for (const part of ["k", "r"]) await every(`blocks.${layer}.ffn.time_maa_${part}`, (n) => 1 - (n / 64) ** (left ** 3));
        await orthogonal(`blocks.${layer}.ffn.key.weight`, 1, 40);
        for (const part of ["receptance", "value"]) await every(`blocks.${layer}.ffn.${part}.weight`, () => 0);
        for (const norm of ["ln1", "ln2"]) await every(`blocks.${layer}.${norm}.weight`, () => 1);
      }
      await every("blocks.0.ln0.weight", () => 1);
    }));
});

describe("configurations of RWKV-6", () => {
  it.each([
    ["rwkv6-1.6b", 1_599_873_024],
    ["rwkv6-3b", 3_099_863_040],
    ["rwkv6-7b", 7_635_746_816],
    ["rwkv6-14b", 14_069_088_256],
    ["rwkv6-tiny-byte", 565_632],
  ] as const)("%s has %i parameters", (preset, expected) => {
    expect(rwkv6ParameterCount(parseRwkv6Config(RWKV6_PRESETS[preset]))).toBe(expected);
  });

  it("come back as they were given", () => {
    for (const preset of Object.values(RWKV6_PRESETS)) {
      const config = parseRwkv6Config(preset);
      expect(parseRwkv6Config(JSON.parse(JSON.stringify(rwkv6Json(config))))).toEqual(config);
    }
  });

  it.each([
    [{ ...CONFIG, n_embed: 24 }, /no field n_embed/],
    [{ n_layer: 2, n_embed: 24, vocab_size: 30 }, /no field n_embed \(did you mean "n_embd"\?\)/],
    [{ ...CONFIG, head_size: 10 }, /head_size 10 must divide n_embd 24/],
    [{ n_layer: 1, n_embd: 8, vocab_size: 9, head_size: 4 }, /dim_ffn must be given/],
    [{ ...CONFIG, model_type: "rwkv7" }, /model_type: expected "rwkv6", got "rwkv7"/],
    [{ ...CONFIG, format: "rwkv-x070" }, /format: expected "rwkv-x060"/],
    [{ ...CONFIG, d_mix_lora: 0 }, /d_mix_lora/],
    [{ ...CONFIG, vocab_size: undefined }, /vocab_size is missing/],
    [[], /expected an object, got a list/],
  ])("%j is refused", (json, message) =>
    expect(() => rwkv6(json)).toThrow(expect.objectContaining({ code: "E_CONFIG", message: expect.stringMatching(message) })));
});
