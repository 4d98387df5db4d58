/** Hybrid stacks against the laws of every sequence model, and beside the families whose mixers they are made of. */
import {
  type Device, dispose, keep, key, leaves, loadState, memorySource, open, type Parameters, saveState, scope, tokenTensor,
} from "@lenggen/kernels";
import { checkSequenceModel, SEQUENCE_MODEL_LAWS } from "@lenggen/kernels/laws";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { deviation, deviceCases } from "../golden.fixture";
import { mamba2 } from "../mamba2/model";
import { lossesOfTraining, stirred } from "../training.fixture";
import { type HybridJson, hybridJson, parseHybridConfig } from "./config";
import { hybrid, hybridParameterCount } from "./model";
import { HYBRID_PRESETS } from "./presets";

const BLOCKS = {
  ssm1: { type: "mamba", d_state: 6 },
  ssm: { type: "mamba2", d_state: 6, headdim: 8, chunk_size: 8 },
  ssm3: { type: "mamba3", d_state: 4, headdim: 8, chunk_size: 8 },
  delta: { type: "gated_deltanet", num_heads: 2, head_dim: 4 },
  gla: { type: "gla", num_heads: 2 },
  six: { type: "rwkv6", head_size: 8, d_mix_lora: 3, d_decay_lora: 4 },
  seven: { type: "rwkv7", head_size: 8, d_decay_lora: 4, d_aaa_lora: 3, d_mv_lora: 2, d_gate_lora: 4 },
  window: { type: "attention", num_attention_heads: 4, num_key_value_heads: 2, window: 5 },
  full: { type: "attention", num_attention_heads: 2, head_dim: 6, position: "none" },
  mlp: { type: "mlp", intermediate_size: 12 },
  relu: { type: "mlp", intermediate_size: 12, activation: "relu2" },
} as const;

function stack(layers: HybridJson["layers"]): HybridJson {
  const names = new Set(layers.flat()) as Set<keyof typeof BLOCKS>;
  return { model_type: "hybrid", vocab_size: 30, hidden_size: 16, layers,
    blocks: Object.fromEntries([...names].map((name) => [name, BLOCKS[name]])) };
}

describe.each(deviceCases)("hybrids on $name", ({ name, dtype, tolerance }) => {
  let device: Device;
  beforeAll(async () => {
    device = await open(name, { fallback: true });
  });
  afterAll(() => device.close());

  describe.each([
    ["four families with a window between them", ["ssm", "mlp", "window", "delta", "ssm3", "relu", "ssm1"]],
    ["two of RWKV-7 with full attention between them, and two more families", ["seven", "full", "seven", "gla", "six"]],
    ["blocks side by side", [["ssm", "window"], "mlp", ["delta", "window", "full"]]],
  ] as const)("of %s", (_, layers) => {
    // Fewer where every launch is slow without a GPU.
    const CUTS = name === "webgpu" ? [[1, 2, 6], Array<number>(6).fill(1)] : [[1, 2, 4, 5, 6, 8], Array<number>(14).fill(1)];
    it.each(SEQUENCE_MODEL_LAWS)("keep the law of %s", (law) =>
      checkSequenceModel(stirred(hybrid(stack(layers)), 0.1), { device, dtype, cuts: CUTS, tolerance, laws: [law] }),
    // Without a GPU, compiling all kernels takes most of a minute.
    180_000);
  });

  it("of one family alone are that family", async () => {
    const given = { d_state: 6, headdim: 8, chunk_size: 8 } as const;
    const [one, other] = [hybrid(stack(["ssm", "ssm"])), mamba2({ d_model: 16, n_layer: 2, vocab_size: 30, pad_vocab_size_multiple: 1,
      ssm_cfg: { layer: "Mamba2", ...given } })];
    const { hidden, wanted } = keep(scope(() => {
      const parameters = other.init(key(1), device, dtype);
      const renamed = Object.fromEntries(Object.entries(parameters).map(([path, t]) => [path.replace("backbone.", "")
        .replace("norm_f", "norm").replace(/^embedding\./, "embedding.").replace(".mixer.", ".ssm."), t])) as Parameters;
      expect(Object.keys(renamed).toSorted()).toEqual(Object.keys(one.parameterShapes()).toSorted());
      const tokens = tokenTensor(device, Array.from({ length: 22 }, (_, i) => (i * 7) % 30), [2, 11], 30);
      return { hidden: one.forward(renamed, tokens).hidden, wanted: other.forward(parameters, tokens).hidden };
    }));
    expect(await deviation(hidden, await wanted.read())).toBe(0);
    dispose([hidden, wanted]);
  });

  it("hold what windows can see, and all of the stream without one", () => scope(() => {
    const model = hybrid(stack([["ssm", "window"], "full", "mlp"]));
    const parameters = model.init(key(2), device, dtype);
    const tokens = tokenTensor(device, Array<number>(38).fill(1), [2, 19], 30);
    const { state } = model.forward(parameters, tokens);
    const shapes = Object.fromEntries(leaves(state).map(({ path, tensor }) => [path, tensor.shape]));
    expect(shapes).toEqual({
      "layers.0.ssm_ssm": [2, 4, 8, 6], "layers.0.ssm_conv": [2, 3, 44],
      "layers.0.window_k": [2, 4, 2, 4], "layers.0.window_v": [2, 4, 2, 4],
      "layers.1.k": [2, 19, 2, 6], "layers.1.v": [2, 19, 2, 6],
    });
    expect(model.stateLeaves.map(({ path, kind }) => [path, kind])).toEqual([
      ["layers.0.ssm_ssm", "recurrent"], ["layers.0.ssm_conv", "window"], ["layers.0.window_k", "window"], ["layers.0.window_v", "window"],
      ["layers.1.k", "memory"], ["layers.1.v", "memory"],
    ]);
  }));

  it.runIf(name === "cpu")("learn a text that repeats itself", async () => {
    const losses = await lossesOfTraining(hybrid({ ...stack(["ssm", "mlp", "window", "delta", "mlp"]), vocab_size: 13 }), device, 40);
    expect(losses[0]).toBeCloseTo(Math.log(13), 0);
    expect(losses.at(-1)).toBeLessThan(0.5 * losses[0]!);
  });
});

describe("states of hybrids in files", () => {
  it.each([0, 3, 19])("come back after %i tokens, and go on alike", async (read) => {
    const device = await open("reference");
    const model = hybrid(stack([["ssm", "window"], "full", "mlp", "window"]));
    const parameters = keep(scope(() => model.init(key(2), device)));
    const at = (from: number, to: number) => tokenTensor(device, Array.from({ length: to - from }, (_, i) => ((from + i) * 7) % 30),
      [1, to - from], 30);
    const state = keep(scope(() => (read === 0 ? model.initialState(1, device) : model.forward(parameters, at(0, read)).state)));
    const parts: Uint8Array[] = [];
    for await (const piece of saveState(model, parameters, state, { read, unread: { token: 1, by: "prompt" }, seed: 0, drawn: 0 })) {
      parts.push(piece.slice());
    }
    const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
    parts.reduce((offset, part) => (bytes.set(part, offset), offset + part.length), 0);
    const loaded = await loadState(model, parameters, memorySource(bytes, "saved"));
    const after = (from: typeof state) => keep(scope(() => model.forward(parameters, at(read, read + 4), from).hidden));
    const [one, other] = [after(state), after(loaded.state as typeof state)];
    expect(await one.read()).toEqual(await other.read());
    dispose([parameters, state, loaded.state, one, other]);
    device.close();
  });
});

describe("configurations of hybrids", () => {
  it.each([
    ["hybrid-tiny-byte", 464_790], ["hybrid-delta-tiny-byte", 445_506], ["hybrid-parallel-tiny-byte", 464_598],
  ] as const)("%s has %i parameters", (preset, expected) => {
    expect(hybridParameterCount(parseHybridConfig(HYBRID_PRESETS[preset]))).toBe(expected);
  });

  it("come back as they were given", () => {
    const all = stack([["ssm", "window"], "full", "ssm3", "mlp", "delta", "gla", "six", "seven", "relu"]);
    for (const given of [all, ...Object.values(HYBRID_PRESETS)]) {
      const config = parseHybridConfig(given);
      expect(parseHybridConfig(JSON.parse(JSON.stringify(hybridJson(config))))).toEqual(config);
    }
  });

  const one = stack(["ssm", "window", "mlp"]);
  const changed = (name: string, block: object) => ({ ...one, blocks: { ...one.blocks, [name]: block } });
  it.each<[object, RegExp]>([
    [{ ...one, layers: ["ssm", "mlp"] }, /there is no field blocks\.window; correct or remove it/],
    [{ ...one, layers: ["ssm", "windows", "mlp"] }, /layers name windows, which blocks does not describe \(did you mean "window"\?\); it describes ssm, window, mlp$/],
    [{ ...one, layers: [...one.layers, "full"] }, /layers name full, which blocks does not describe; it describes ssm, window, mlp$/],
    [{ ...one, layers: [] }, /layers: expected a list of 1 to 1024, each the name of a block .*, got a list of 0/],
    [{ ...one, layers: [["ssm", "ssm"], "window", "mlp"] }, /layers\.0: expected .* different ones .*, got a list of 2/],
    [{ ...one, layers: ["norm"] }, /layers\.0: expected the name of a block \(letters, digits and _, and not "norm"\)/],
    [changed("ssm", { ...BLOCKS.ssm, d_sate: 6 }), /no field blocks\.ssm\.d_sate/],
    [changed("ssm", { type: "mamba2", d_sate: 6 }), /no field blocks\.ssm\.d_sate \(did you mean "d_state"\?\)/],
    [changed("ssm", { ...BLOCKS.ssm, hidden_size: 8 }), /no field blocks\.ssm\.hidden_size/],
    [changed("ssm", { type: "mamba4" }), /blocks\.ssm\.type: expected "attention" or .*, got "mamba4"/],
    [changed("ssm", { d_state: 4 }), /blocks\.ssm\.type is missing/],
    [changed("ssm", { ...BLOCKS.ssm, headdim: 5 }), /^config: blocks\.ssm: the head size 5 must divide the inner width 32/],
    [changed("window", { ...BLOCKS.window, num_key_value_heads: 3 }), /blocks\.window: num_key_value_heads 3 must divide num_attention/],
    [changed("window", { ...BLOCKS.window, num_attention_heads: 3 }), /blocks\.window: num_attention_heads 3 must divide hidden_size 16/],
    [changed("window", { ...BLOCKS.window, head_dim: 3 }), /blocks\.window: heads of 3: with the position "rope"/],
    [changed("window", { ...BLOCKS.window, window: 1 }), /blocks\.window\.window: expected a whole number from 2/],
    [{ ...one, blocks: [] }, /blocks: expected an object, got a list of 0/],
    [{ ...one, vocab_size: undefined }, /vocab_size is missing/],
    [[], /expected an object, got a list of 0/],
  ])("%j is refused", (json, message) =>
    expect(() => hybrid(json)).toThrow(expect.objectContaining({ code: "E_CONFIG", message: expect.stringMatching(message) })));
});
