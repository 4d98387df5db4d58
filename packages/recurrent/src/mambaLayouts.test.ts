/** The layouts of Mamba-1, 2 and 3: names are few and shapes the same, configurations differ. */
import { dispose, type Device, key, open, parseConfig, saveModel } from "@lenggen/kernels";
import { expect, it } from "vitest";
import { describeLayouts, fileOf, type HostFile, joined, readHost } from "./layouts.fixture";
import { loadMamba } from "./mamba/files";
import { mamba } from "./mamba/model";
import { mambaFromShapes } from "./mamba/shapes";
import { loadMamba2 } from "./mamba2/files";
import { mamba2 } from "./mamba2/model";
import { mamba2FromShapes } from "./mamba2/shapes";
import { loadMamba3, mamba3 } from "./mamba3/model";
import { mamba3FromShapes } from "./mamba3/shapes";

const same = (file: HostFile): HostFile => file;
const renamed = (file: HostFile): HostFile => Object.fromEntries(Object.entries(file).map(([name, t]) =>
  [name === "backbone.embedding.weight" ? "backbone.embeddings.weight" : name, t]));

const OWN = { d_model: 16, n_layer: 2, vocab_size: 30, pad_vocab_size_multiple: 1, tie_embeddings: false };
const TRANSFORMERS = { hidden_size: 16, num_hidden_layers: 2, vocab_size: 30, tie_word_embeddings: false };
const FLA = { ...TRANSFORMERS, norm_eps: 1e-5, bos_token_id: 1, eos_token_id: 2, fuse_norm: true, dt_min: 1e-3, use_l2warp: false };

const MAMBA = { ...OWN, ssm_cfg: { layer: "Mamba1", d_state: 6, d_conv: 3, expand: 2, dt_rank: 3 } };
describeLayouts({
  label: "Mamba-1", config: MAMBA, make: mamba, load: loadMamba, fromShapes: mambaFromShapes,
  layouts: [
    { layout: "mamba_ssm", config: MAMBA, rewrite: same },
    {
      layout: "transformers", rewrite: renamed,
      config: { model_type: "mamba", ...TRANSFORMERS, state_size: 6, conv_kernel: 3, intermediate_size: 32, time_step_rank: 3 },
    },
    {
      layout: "fla", rewrite: renamed, told: "transformers",
      config: { model_type: "mamba", ...FLA, state_size: 6, conv_kernel: 3, intermediate_size: 32, dt_rank: 3 },
    },
  ],
});

const MAMBA2 = { ...OWN, ssm_cfg: { layer: "Mamba2", d_state: 6, d_conv: 3, expand: 2, headdim: 8, ngroups: 1 } };
describeLayouts({
  label: "Mamba-2", config: MAMBA2, make: mamba2, load: loadMamba2, fromShapes: mamba2FromShapes,
  layouts: [
    { layout: "mamba_ssm", config: MAMBA2, rewrite: same },
    {
      layout: "transformers", rewrite: renamed,
      config: { model_type: "mamba2", ...TRANSFORMERS, state_size: 6, conv_kernel: 3, head_dim: 8, num_heads: 4, n_groups: 1 },
    },
    {
      layout: "fla", rewrite: renamed, told: "transformers",
      config: { model_type: "mamba2", ...FLA, state_size: 6, conv_kernel: 3, head_dim: 8, num_heads: 4, n_groups: 1,
        A_init_range: [1, 16], dt_limit: [0, Infinity] },
    },
  ],
});

const SSM3 = { layer: "Mamba3", d_state: 12, expand: 2, headdim: 8, ngroups: 2 };
describeLayouts({
  label: "Mamba-3", config: { ...OWN, d_intermediate: 128, ssm_cfg: SSM3 }, make: mamba3, load: loadMamba3, fromShapes: mamba3FromShapes,
  layouts: [{ layout: "mamba_ssm", config: { ...OWN, d_intermediate: 128, ssm_cfg: SSM3 }, rewrite: same }],
});
describeLayouts({
  label: "Mamba-3 with rates of decay by softplus",
  config: { ...OWN, ssm_cfg: { ...SSM3, A_softplus: true, rope_fraction: 1, is_mimo: true, mimo_rank: 2, is_outproj_norm: true } },
  make: mamba3, load: loadMamba3, fromShapes: mamba3FromShapes,
  layouts: [{
    layout: "fla", rewrite: renamed,
    config: { model_type: "mamba3", ...FLA, state_size: 12, expand: 2, head_dim: 8, num_heads: 4, n_groups: 2, rope_fraction: 1,
      is_mimo: true, mimo_rank: 2, is_outproj_norm: true },
  }],
});

it.each([
  ["Mamba-1", mamba, loadMamba, { ...OWN, tie_embeddings: true, ssm_cfg: { d_state: 4 } }],
  ["Mamba-2", mamba2, loadMamba2, { ...OWN, tie_embeddings: true, ssm_cfg: { layer: "Mamba2", d_state: 4, headdim: 8 } }],
  ["Mamba-3", mamba3, loadMamba3, { ...OWN, tie_embeddings: true, ssm_cfg: { layer: "Mamba3", d_state: 8, headdim: 8, A_softplus: true } }],
] as const)("a tied %s is one matrix in flash-linear-attention's files, and two for mamba_ssm", async (_, make, load, config) => {
  const device: Device = await open("reference");
  const model = (make as typeof mamba)(config, { layout: "fla" });
  const parameters = model.init(key(1), device);
  const { config: text, weights } = saveModel(model, parameters);
  const { openSafetensors, memorySource } = await import("@lenggen/kernels");
  const file = await openSafetensors(memorySource(await joined(weights), "file"));
  expect(Object.keys(file.tensors)).toContain("backbone.embeddings.weight");
  expect(Object.keys(file.tensors)).not.toContain("lm_head.weight");
  const loaded = await (load as typeof loadMamba)(parseConfig(text), file, device);
  expect([loaded.model.layout, loaded.model.settings]).toEqual(["fla", model.settings]);
  // What another program kept twice is read all the same.
  const twice = await readHost(file, device);
  const both = await fileOf({ ...twice, "lm_head.weight": twice["backbone.embeddings.weight"]! }, device);
  dispose((await (load as typeof loadMamba)(parseConfig(text), both, device)).parameters);
  dispose([parameters, loaded.parameters]);
  device.close();
});

it("of a Mamba-3 are refused where a program would compute something else", () => {
  const refused = (message: RegExp) => expect.objectContaining({ code: "E_CONFIG", message: expect.stringMatching(message) as string });
  const config = { ...OWN, ssm_cfg: SSM3 };
  expect(() => mamba3(config, { layout: "fla" })).toThrow(refused(/for fla: its rates of decay are a softplus.*; it can for mamba_ssm$/));
  expect(() => mamba3({ ...OWN, d_intermediate: 64, ssm_cfg: { ...SSM3, A_softplus: true } }, { layout: "fla" }))
    .toThrow(refused(/for fla: its layers have no feed-forward part.*; nor for mamba_ssm: its rates of decay are 1 \+ x/));
  expect(() => mamba3({ model_type: "mamba3", ...FLA, norm_eps: 1e-6 })).toThrow(refused(/norm_eps: expected 0.00001, got 0.000001/));
});
