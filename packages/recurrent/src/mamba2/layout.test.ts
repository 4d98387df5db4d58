/** What is saved, held against what the programs that it is for take. */
import { type Device, encodeSafetensors, key, memorySource, open, openSafetensors, type Parameters, parseConfig } from "@lenggen/kernels";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseMamba2Config } from "./config";
import { loadMamba2, saveMamba2 } from "./files";
import { type Mamba2, mamba2, type Mamba2Options } from "./model";
import { MAMBA2_PRESETS } from "./presets";

/** Fields of `MambaConfig` and arguments of `Mamba2` in state-spaces/mamba at e9594ce (2026-07-23). */
const MAMBA_CONFIG = new Set([
  "d_model", "d_intermediate", "n_layer", "vocab_size", "ssm_cfg", "attn_layer_idx", "attn_cfg", "rms_norm", "residual_in_fp32",
  "fused_add_norm", "pad_vocab_size_multiple", "tie_embeddings",
]);
const SSM_CFG = new Set([
  "layer", "d_state", "d_conv", "conv_init", "expand", "headdim", "d_ssm", "ngroups", "A_init_range", "D_has_hdim", "rmsnorm",
  "norm_before_gate", "dt_min", "dt_max", "dt_init_floor", "dt_limit", "bias", "conv_bias", "chunk_size", "use_mem_eff_path",
]);

// As data URLs, which Node and browsers can read.
const FIXTURES = import.meta.glob<string>("../../test/fixtures/transformers-mamba2/*/*", { query: "?url&inline", import: "default" });
async function fixture(file: string): Promise<Uint8Array> {
  return new Uint8Array(await (await fetch(await FIXTURES[`../../test/fixtures/transformers-mamba2/${file}`]!())).arrayBuffer());
}

const OWN = { d_model: 16, n_layer: 1, vocab_size: 30, pad_vocab_size_multiple: 16, ssm_cfg: { layer: "Mamba2", d_state: 8, headdim: 8 } };
const withSsm = (change: object) => ({ ...OWN, ssm_cfg: { ...OWN.ssm_cfg, ...change } });
const TRANSFORMERS = { model_type: "mamba2", hidden_size: 16, num_hidden_layers: 1, vocab_size: 64, state_size: 8, head_dim: 8,
  n_groups: 1 };

describe("checkpoints for other programs", () => {
  let device: Device;
  beforeAll(async () => {
    device = await open("reference");
  });
  afterAll(() => device.close());

  async function save(model: Mamba2, parameters: Parameters, options?: Mamba2Options) {
    const { config, weights } = saveMamba2(model, parameters, options);
    const file = await openSafetensors(memorySource(await joined(weights), "model.safetensors"));
    return { config, json: parseConfig(config) as Record<string, unknown>, file, names: Object.keys(file.tensors) };
  }

  it.each(Object.entries({ ...MAMBA2_PRESETS, untied: { ...OWN, tie_embeddings: false } }))(
    "of %s have no field that mamba_ssm does not know", (_, preset) => {
    const { config } = mamba2(preset, { layout: "mamba_ssm" }).checkpoint;
    const json = JSON.parse(config) as { ssm_cfg: object };
    expect(Object.keys(json).filter((name) => !MAMBA_CONFIG.has(name))).toEqual([]);
    expect(Object.keys(json.ssm_cfg).filter((name) => !SSM_CFG.has(name))).toEqual([]);
    expect(JSON.stringify(json)).not.toContain("null");
    expect(parseMamba2Config(json)).toEqual(parseMamba2Config(preset));
  });

  it("for mamba_ssm hold every tensor of its state_dict, the tied output matrix too", async () => {
    const model = mamba2(OWN);
    const parameters = model.init(key(1), device);
    const { names, file, json } = await save(model, parameters);
    expect(model.layout).toBe("mamba_ssm");
    expect(names.sort()).toEqual([
      "backbone.embedding.weight", "backbone.norm_f.weight", "lm_head.weight",
      ...["norm.weight", ...["A_log", "D", "conv1d.bias", "conv1d.weight", "dt_bias", "in_proj.weight", "norm.weight", "out_proj.weight"]
        .map((name) => `mixer.${name}`)]
        .map((name) => `backbone.layers.0.${name}`),
    ].sort());
    const [embedding, head] = await Promise.all(["backbone.embedding.weight", "lm_head.weight"]
      .map(async (name) => (await file.load(name, device)).read()));
    expect(head).toEqual(embedding);
    const loaded = await loadMamba2(json, file, device);
    expect(loaded.model.config).toEqual(model.config);
    expect(Object.keys(loaded.parameters)).toEqual(Object.keys(parameters));
  });

  it.each(["default", "finite-limit"])("that transformers wrote are saved as it wrote them: %s", async (name) => {
    const given = parseConfig(await fixture(`${name}/config.json`)) as Record<string, unknown>;
    const original = await openSafetensors(memorySource(await fixture(`${name}/model.safetensors`), "model.safetensors"));
    const { model, parameters } = await loadMamba2(given, original, device);
    expect(model.layout).toBe("transformers");
    const { config, file, names } = await save(model, parameters);
    const json = parseConfig(config) as Record<string, unknown>;
    for (const [field, value] of Object.entries(json)) expect([field, value]).toEqual([field, given[field]]);
    expect(names.sort()).toEqual(Object.keys(original.tensors).sort());
    for (const tensor of names) {
      const [saved, wanted] = await Promise.all([file, original].map(async (from) => (await from.load(tensor, device)).read()));
      expect(saved).toEqual(wanted);
    }
    if (name === "default") expect(json).not.toHaveProperty("time_step_limit");
  });

  it("for transformers have a point in every float, since it tells whole numbers by that", () => {
    const { config } = mamba2({ ...TRANSFORMERS, layer_norm_epsilon: 1, time_step_min: 1, time_step_max: 2,
      time_step_limit: [0, 1e21] }).checkpoint;
    expect(config).toContain('"layer_norm_epsilon": 1.0,');
    expect(config).toContain('"time_step_max": 2.0,');
    expect(config).toContain('"time_step_limit": [0.0, 1e+21]');
    expect(config).toContain('"vocab_size": 64,');
    expect(mamba2({ ...TRANSFORMERS, time_step_limit: [1e-3, Infinity] }).checkpoint.config)
      .toContain('"time_step_limit": [0.001, {"__float__": "Infinity"}]');
  });

  it.each(Object.entries({ ...MAMBA2_PRESETS, own: OWN, untied: { ...OWN, tie_embeddings: false } }))(
    "come back the same from either form: %s", (_, preset) => {
    const settings = parseMamba2Config(preset);
    for (const layout of ["mamba_ssm", "transformers"] as const) {
      const { config } = mamba2(preset, { layout }).checkpoint;
      const again = mamba2(parseConfig(config));
      expect([again.layout, again.settings]).toEqual([layout, settings]);
      expect(again.checkpoint).toEqual(mamba2(preset, { layout }).checkpoint);
    }
  });

  it("of a padded vocabulary tell transformers of all rows, and us of the tokens", async () => {
    const model = mamba2(OWN);
    const { json, names, file } = await save(model, model.init(key(1), device), { layout: "transformers" });
    expect(json).toMatchObject({ architectures: ["Mamba2ForCausalLM"], model_type: "mamba2", vocab_size: 32, unpadded_vocab_size: 30,
      tie_word_embeddings: true });
    expect(names).toContain("backbone.embeddings.weight");
    expect(names).not.toContain("lm_head.weight");
    expect((await loadMamba2(json, file, device)).model.vocabulary).toBe(30);
    expect(() => parseMamba2Config({ ...json, unpadded_vocab_size: 12 }))
      .toThrow(expect.objectContaining({ code: "E_CONFIG", message: expect.stringMatching(/do not make a vocab_size of 32/) }));
  });

  it.each([
    ["mamba_ssm", { ...OWN, norm_epsilon: 1e-6 },
      /for mamba_ssm: its norms have an epsilon of 0.00001, and this model's 0.000001; it can for transformers and fla$/],
    ["mamba_ssm", withSsm({ dt_limit: [0, 0.02] }),
      /for mamba_ssm: .* limits of dt, 0 to 0.02, when it generates token by token; it can for transformers and fla$/],
    ["mamba_ssm", { ...TRANSFORMERS, layer_norm_epsilon: 1e-6 }, /for mamba_ssm: its norms/],
    ["mamba_ssm", withSsm({ expand: 1.5 }),
      /for mamba_ssm: its expand must be a whole number, and is 1.5; it can for fla$/],
    ["transformers", withSsm({ ngroups: 2 }),
      /for transformers: it norms the gated output over its whole width, not in the 2 groups that this model has; it can for mamba_ssm and fla$/],
    ["transformers", { ...withSsm({ ngroups: 2 }), norm_epsilon: 1e-6 }, /whole width.*; it can for fla$/],
  ] as const)("for %s is refused what it has no field for: %j", async (layout, config, message) => {
    const refusal = expect.objectContaining({ code: "E_CONFIG", message: expect.stringMatching(message) });
    expect(() => mamba2(config, { layout })).toThrow(refusal);
    const model = mamba2(config); // as it came, for us to read
    const parameters = model.init(key(1), device);
    await expect(save(model, parameters, { layout })).rejects.toThrow(refusal);
    const { config: text, file } = await save(model, parameters);
    expect((await loadMamba2(parseConfig(text), file, device)).model.settings).toEqual(model.settings);
  });

  it("are for no other program", () => {
    expect(() => mamba2(OWN, { layout: "gguf" as never })).toThrow(expect.objectContaining({ code: "E_ARGUMENT" }));
  });

  it("of a tied model may hold the output matrix alone, or both under other names", async () => {
    const model = mamba2(OWN);
    const { "backbone.embedding.weight": matrix, ...rest } = model.init(key(1), device);
    for (const names of [["lm_head.weight"], ["backbone.embeddings.weight", "lm_head.weight"]]) {
      const stored = { ...rest, ...Object.fromEntries(names.map((name) => [name, matrix!])) };
      const file = await openSafetensors(memorySource(await joined(encodeSafetensors(stored)), "model.safetensors"));
      const { parameters } = await loadMamba2(OWN, file, device);
      expect(await parameters["backbone.embedding.weight"]!.read()).toEqual(await matrix!.read());
    }
  });
});

async function joined(file: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  for await (const part of file) parts.push(part.slice());
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}
