import { parameterCount } from "@lenggen/kernels";
import { describe, expect, it } from "vitest";
import { parseDrtConfig, drtJson } from "./config";
import { drt } from "./model";
import { DRT_PRESETS } from "./presets";

const CONFIG = DRT_PRESETS["drt-tiny"];

describe("configurations of the DRT", () => {
  it.each([
    [{ window: 64 }, /window 64 must be larger than chunk_size 64/],
    [{ chunk_size: 0 }, /chunk_size/],
    [{ chunk_size: 5000 }, /chunk_size/],
    [{ top_k: 0 }, /top_k/],
    [{ top_k: 2.5 }, /top_k/],
    [{ upper_groups: [] }, /upper_groups/],
    [{ upper_groups: [0] }, /upper_groups/],
    [{ upper_groups: [600, 600] }, /add up to 1202 layers/],
    [{ encoder_layers: undefined }, /encoder_layers is missing/],
    [{ position: "absolute" }, /position/],
    [{ vocab_size: Infinity }, /^config: vocab_size: expected .*, got Infinity/],
    [{ rms_norm_eps: { __float__: "NaN" } }, /^config: rms_norm_eps: expected a finite number above 0, got NaN/],
    [{ rope_theta: { __float__: "Infinity" } }, /^config: rope_theta: expected .*, got Infinity/],
    [{ model_type: "mamba2" }, /model_type/],
    [{ topk: 4 }, /there is no field topk; correct or remove it/],
    [{ top_k: undefined, topk: 4 }, /there is no field topk \(did you mean "top_k"\?\)/],
    [{ num_attention_heads: 5 }, /num_attention_heads 5 must divide hidden_size 64/],
  ])("%j is refused", (change, message) =>
    expect(() => parseDrtConfig({ ...CONFIG, ...change }))
      .toThrow(expect.objectContaining({ code: "E_CONFIG", message: expect.stringMatching(message) })));

  it.each(Object.entries(DRT_PRESETS))("preset %s comes back as it was given", (_, json) => {
    const settings = parseDrtConfig(json);
    expect(parseDrtConfig(JSON.parse(JSON.stringify(drtJson(settings))))).toEqual(settings);
  });

  it("has the paper's size: about 146 million parameters, 38.6 million of them embeddings", () => {
    const model = drt(DRT_PRESETS["drt-128m"]);
    expect(parameterCount(model) / 1e6).toBeCloseTo(146, -1);
    expect(model.parameterShapes()["embedding.weight"]).toEqual([50265, 768]);
  });
});
