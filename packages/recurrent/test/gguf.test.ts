/**
 * Models as GGUF files, read back by another program's reader (@huggingface/gguf): names and shapes as llama.cpp's loader asks for them
 * (src/models/*.cpp of its v0.5.0), numbers against the parameters that they are made of. What llama.cpp computes from such files is
 * compared by scripts/check-gguf.mjs.
 */
import {
  type Device, dispose, encodeSafetensors, memorySource, modelFamilies, open, openSafetensors, saveModel, type SequenceModel, sizeOf,
  tensor, type Tensor,
} from "@lenggen/kernels";
import { byteVocabulary, type GgufVocabulary, numbersIn, numbersOf } from "@lenggen/kernels/gguf";
import { gguf, GGMLQuantizationType } from "@huggingface/gguf";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RECURRENT_FAMILIES } from "../src/families";
import { encodeModelGguf, GGUF_FAMILIES, type GgufOptions } from "../src/gguf";

let device: Device;
beforeAll(async () => {
  device = await open("reference");
});
afterAll(() => device.close());

/** A model whose numbers all differ, and are exact in half precision. */
function filled(model: SequenceModel): Record<string, Tensor> {
  return Object.fromEntries(Object.entries(model.parameterShapes()).map(([name, shape], k) =>
    [name, tensor(device, Float32Array.from({ length: sizeOf(shape) }, (_, i) => ((k * 389 + i * 7) % 2003 - 1001) / 1024), shape)]));
}

interface Read {
  readonly metadata: Readonly<Record<string, unknown>>;
  /** By name: the shape as llama.cpp has it, the fastest axis first, the type's number, and the numbers of an f32 tensor. */
  readonly tensors: Readonly<Record<string, { shape: readonly number[]; dtype: GGMLQuantizationType; numbers: Float32Array }>>;
}

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  for await (const chunk of chunks) parts.push(chunk.slice());
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** Reads a file that is in memory. */
async function read(bytes: Uint8Array<ArrayBuffer>): Promise<Read> {
  const serve = async (_: unknown, init?: RequestInit): Promise<Response> => {
    const range = /bytes=(\d+)-(\d+)/.exec(new Headers(init?.headers).get("range") ?? "");
    return new Response(range ? bytes.slice(Number(range[1]), Number(range[2]) + 1) : bytes);
  };
  const { metadata, tensorInfos, tensorDataOffset } = await gguf("https://model.gguf", { fetch: serve as typeof fetch });
  return {
    metadata: metadata as unknown as Record<string, unknown>,
    tensors: Object.fromEntries(tensorInfos.map(({ name, shape, dtype, offset }) => {
      const axes = shape.map(Number);
      const start = Number(tensorDataOffset + offset);
      const length = dtype === GGMLQuantizationType.F32 ? 4 * sizeOf(axes) : 0;
      return [name, { shape: axes, dtype, numbers: new Float32Array(bytes.slice(start, start + length).buffer) }];
    })),
  };
}

async function written(model: SequenceModel, options?: GgufOptions, vocabulary: GgufVocabulary = tokens(model.vocabulary)) {
  const parameters = filled(model);
  const file = await read(await collect(encodeModelGguf(model, numbersOf(parameters), vocabulary, options).chunks));
  const values = Object.fromEntries(await Promise.all(Object.entries(parameters).map(async ([name, t]) => [name, await t.read()]))) as
    Record<string, Float32Array>;
  dispose(parameters);
  return { file, values };
}

const tokens = (size: number): GgufVocabulary => ({ size, metadata: () => ({}) });

const MAMBA = { d_model: 8, n_layer: 2, vocab_size: 13, pad_vocab_size_multiple: 8, rms_norm: true, residual_in_fp32: true };
const CONFIGS: Readonly<Record<string, object>> = {
  mamba: { ...MAMBA, norm_epsilon: 2e-5, ssm_cfg: { layer: "Mamba1", d_state: 5, d_conv: 3, dt_rank: 2 } },
  mamba2: { ...MAMBA, tie_embeddings: false, ssm_cfg: { layer: "Mamba2", d_state: 6, headdim: 4, ngroups: 2 } },
  rwkv6: { n_layer: 2, norm_eps: 3e-5, n_embd: 12, vocab_size: 13, head_size: 4, dim_ffn: 10, d_mix_lora: 3, d_decay_lora: 5 },
  rwkv7: {
    n_layer: 2, n_embd: 64, vocab_size: 13, head_size: 64, dim_ffn: 10, d_decay_lora: 3, d_aaa_lora: 5, d_mv_lora: 2, d_gate_lora: 7,
  },
};
const make = (family: string, change: object = {}): SequenceModel =>
  RECURRENT_FAMILIES[family as keyof typeof RECURRENT_FAMILIES].make({ model_type: family, ...CONFIGS[family], ...change });

const COMMON = (family: string, width: number, inner: number) => ({
  "general.architecture": family, "general.file_type": 0, [`${family}.context_length`]: 2 ** 20, [`${family}.embedding_length`]: width,
  [`${family}.feed_forward_length`]: inner, [`${family}.block_count`]: 2, [`${family}.attention.head_count`]: 0,
});

const EXPECTED: Readonly<Record<string, { metadata: object; shapes(layer: number): object; ends: object }>> = {
  mamba: {
    metadata: {
      ...COMMON("mamba", 8, 0), "mamba.attention.layer_norm_rms_epsilon": Math.fround(2e-5), "mamba.ssm.conv_kernel": 3,
      "mamba.ssm.inner_size": 16, "mamba.ssm.state_size": 5, "mamba.ssm.time_step_rank": 2, "mamba.ssm.dt_b_c_rms": false,
    },
    ends: { "token_embd.weight": [8, 13], "output_norm.weight": [8] },
    shapes: () => ({
      "attn_norm.weight": [8], "ssm_in.weight": [8, 32], "ssm_conv1d.weight": [3, 16], "ssm_conv1d.bias": [16], "ssm_x.weight": [16, 12],
      "ssm_dt.weight": [2, 16], "ssm_dt.bias": [16], "ssm_a": [5, 16], "ssm_d": [16], "ssm_out.weight": [16, 8],
    }),
  },
  mamba2: {
    metadata: {
      ...COMMON("mamba2", 8, 0), "mamba2.attention.layer_norm_rms_epsilon": Math.fround(1e-5), "mamba2.ssm.conv_kernel": 4,
      "mamba2.ssm.inner_size": 16, "mamba2.ssm.state_size": 6, "mamba2.ssm.time_step_rank": 4, "mamba2.ssm.group_count": 2,
    },
    ends: { "token_embd.weight": [8, 13], "output_norm.weight": [8], "output.weight": [8, 13] },
    shapes: () => ({
      "attn_norm.weight": [8], "ssm_in.weight": [8, 60], "ssm_conv1d.weight": [4, 40], "ssm_conv1d.bias": [40], "ssm_dt.bias": [4],
      "ssm_a": [1, 4], "ssm_d": [1, 4], "ssm_norm.weight": [8, 2], "ssm_out.weight": [16, 8],
    }),
  },
  rwkv6: {
    metadata: {
      ...COMMON("rwkv6", 12, 10), "rwkv6.attention.layer_norm_epsilon": Math.fround(3e-5), "rwkv6.wkv.head_size": 4,
      "rwkv6.rescale_every_n_layers": 0, "rwkv6.time_mix_extra_dim": 3, "rwkv6.time_decay_extra_dim": 5,
    },
    ends: {
      "token_embd.weight": [12, 13], "token_embd_norm.weight": [12], "token_embd_norm.bias": [12], "output_norm.weight": [12],
      "output_norm.bias": [12], "output.weight": [12, 13],
    },
    shapes: () => ({
      "attn_norm.weight": [12], "attn_norm.bias": [12], "attn_norm_2.weight": [12], "attn_norm_2.bias": [12],
      "time_mix_w1.weight": [12, 15], "time_mix_w2.weight": [3, 12, 5],
      "time_mix_lerp_x.weight": [12], "time_mix_lerp_fused.weight": [12, 1, 1, 5],
      "time_mix_first.weight": [4, 3], "time_mix_decay.weight": [12], "time_mix_decay_w1.weight": [12, 5],
      "time_mix_decay_w2.weight": [5, 12], "time_mix_key.weight": [12, 12], "time_mix_value.weight": [12, 12],
      "time_mix_receptance.weight": [12, 12], "time_mix_gate.weight": [12, 12], "time_mix_ln.weight": [12], "time_mix_ln.bias": [12],
      "time_mix_output.weight": [12, 12], "channel_mix_lerp_k.weight": [12], "channel_mix_lerp_r.weight": [12],
      "channel_mix_key.weight": [12, 10], "channel_mix_value.weight": [10, 12], "channel_mix_receptance.weight": [12, 12],
    }),
  },
  rwkv7: {
    metadata: {
      ...COMMON("rwkv7", 64, 10), "rwkv7.attention.layer_norm_epsilon": Math.fround(1e-5), "rwkv7.wkv.head_size": 64,
      "rwkv7.attention.decay_lora_rank": 3, "rwkv7.attention.iclr_lora_rank": 5, "rwkv7.attention.value_residual_mix_lora_rank": 2,
      "rwkv7.attention.gate_lora_rank": 7,
    },
    ends: {
      "token_embd.weight": [64, 13], "token_embd_norm.weight": [64], "token_embd_norm.bias": [64], "output_norm.weight": [64],
      "output_norm.bias": [64], "output.weight": [64, 13],
    },
    shapes: (layer) => ({
      "attn_norm.weight": [64], "attn_norm.bias": [64], "attn_norm_2.weight": [64], "attn_norm_2.bias": [64],
      "time_mix_w0.weight": [64], "time_mix_w1.weight": [64, 3], "time_mix_w2.weight": [3, 64], "time_mix_a0.weight": [64],
      "time_mix_a1.weight": [64, 5], "time_mix_a2.weight": [5, 64], "time_mix_v0.weight": [64],
      "time_mix_v1.weight": [64, layer === 0 ? 5 : 2], "time_mix_v2.weight": [layer === 0 ? 5 : 2, 64], "time_mix_g1.weight": [64, 7],
      "time_mix_g2.weight": [7, 64], "time_mix_lerp_fused.weight": [64, 1, 1, 6], "time_mix_k_k.weight": [64],
      "time_mix_k_a.weight": [64], "time_mix_r_k.weight": [64], "time_mix_key.weight": [64, 64], "time_mix_value.weight": [64, 64],
      "time_mix_receptance.weight": [64, 64], "time_mix_ln.weight": [64], "time_mix_ln.bias": [64],
      "time_mix_output.weight": [64, 64], "channel_mix_lerp_k.weight": [64], "channel_mix_key.weight": [64, 10],
      "channel_mix_value.weight": [10, 64],
    }),
  },
};

describe.each(GGUF_FAMILIES)("%s as GGUF", (family) => {
  it("has the values, names and shapes that llama.cpp's loader asks for", async () => {
    const { file: { metadata, tensors } } = await written(make(family));
    const { metadata: values, shapes, ends } = EXPECTED[family]!;
    expect(metadata).toMatchObject(values);
    const layers = [0, 1].flatMap((i) => Object.entries(shapes(i)).map(([name, shape]) => [`blk.${i}.${name}`, shape]));
    expect(Object.fromEntries(Object.entries(tensors).map(([name, { shape }]) => [name, shape])))
      .toEqual({ ...ends, ...Object.fromEntries(layers) as object });
  });

  it("holds each number of the model but those of padding", async () => {
    const { file, values } = await written(make(family));
    const sum = (all: Iterable<Float32Array>) => [...all].reduce((total, { length }) => total + length, 0);
    const unread = family === "rwkv7" ? 64 + 2 * 5 * 64 : 0; // what llama.cpp asks for and does not read, in the first layer
    const padding = family === "mamba" ? 3 * 8 : family === "mamba2" ? 2 * 3 * 8 : 0;
    expect(sum(Object.values(file.tensors).map(({ numbers }) => numbers))).toBe(sum(Object.values(values)) - padding + unread);
    const [embedding] = Object.values(values) as [Float32Array];
    const rows = file.tensors["token_embd.weight"]!.numbers;
    expect(rows).toEqual(embedding.subarray(0, rows.length));
  });

  it("has in half precision the matrices alone, with the same numbers otherwise", async () => {
    const model = make(family);
    const [{ file: full }, { file: half }] = [await written(model), await written(model, { dtype: "f16", name: "a model" })];
    expect(half.metadata).toMatchObject({ "general.file_type": 1, "general.name": "a model" });
    const inLayer = (name: string) => name.replace(/^blk\.\d+\./, "");
    const matrices = family.startsWith("mamba") ? /^(?:token_embd|output|ssm_(?:in|x|dt|out))\.weight$/
      : /^(?:token_embd|output|(?:time|channel)_mix_(?:receptance|key|value|output|gate))\.weight$/;
    for (const [name, { dtype, numbers }] of Object.entries(half.tensors)) {
      expect([name, dtype === GGMLQuantizationType.F16]).toEqual([name, matrices.test(inLayer(name))]);
      if (dtype === GGMLQuantizationType.F32) expect(numbers).toEqual(full.tensors[name]!.numbers);
    }
  });

  it("is the same file from a checkpoint, in whatever type that holds its numbers", async () => {
    const model = make(family);
    const parameters = filled(model);
    const bytes = (numbers: ReturnType<typeof numbersOf>) => collect(encodeModelGguf(model, numbers, tokens(13)).chunks);
    const expected = await bytes(numbersOf(parameters));
    for (const dtype of ["F32", "F16"] as const) {
      const weights = await openSafetensors(memorySource(await collect(encodeSafetensors(parameters, {}, dtype))));
      expect(await bytes(numbersIn(model, weights, device))).toEqual(expected);
    }
    dispose(parameters);
  });
});

describe.each(GGUF_FAMILIES)("%s of any layout as GGUF", (family) => {
  const registry = modelFamilies(RECURRENT_FAMILIES);

  it.each(registry.families[family]!.layouts!)("is the same file from a checkpoint of %s", async (layout) => {
    // What no layout has otherwise.
    const change: Readonly<Record<string, object>> = {
      mamba: { norm_epsilon: 1e-5 }, mamba2: { ssm_cfg: { layer: "Mamba2", headdim: 4 } },
      rwkv6: { norm_eps: layout === "fla" ? 64e-5 : 1e-5, d_mix_lora: 32, d_decay_lora: 64 },
    };
    const made = registry.make({ model_type: family, ...CONFIGS[family], ...change[family] }, { layout });
    const parameters = filled(made);
    const saved = saveModel(made, parameters);
    const weights = await openSafetensors(memorySource(await collect(saved.weights)));
    const { model, weights: file } = registry.inFile(JSON.parse(saved.config), weights);
    const bytes = (numbers: ReturnType<typeof numbersOf>) => collect(encodeModelGguf(model, numbers, tokens(13)).chunks);
    expect(await bytes(numbersIn(model, file, device))).toEqual(await bytes(numbersOf(parameters)));
    dispose(parameters);
  });
});

describe("numbers in GGUF", () => {
  const negativeExp = (values: Float32Array) => values.map((x) => -Math.exp(x));
  /** [C, R] as [R, C] */
  const turned = (values: ArrayLike<number>, rows: number, columns: number) =>
    Float32Array.from({ length: rows * columns }, (_, at) => values[(at % columns) * rows + Math.floor(at / columns)]!);

  it("are those of Mamba-1 and Mamba-2, with A for A_log", async () => {
    for (const family of ["mamba", "mamba2"]) {
      const { file: { tensors }, values } = await written(make(family));
      const of = (name: string) => values[`backbone.layers.1.mixer.${name}`]!;
      expect(tensors["blk.1.ssm_a"]!.numbers).toEqual(negativeExp(of("A_log")));
      expect(tensors["blk.1.ssm_d"]!.numbers).toEqual(of("D"));
      expect(tensors["blk.1.ssm_in.weight"]!.numbers).toEqual(of("in_proj.weight"));
      expect(tensors["blk.1.ssm_conv1d.weight"]!.numbers).toEqual(of("conv1d.weight"));
      expect(tensors["blk.1.ssm_dt.bias"]!.numbers).toEqual(of(family === "mamba" ? "dt_proj.bias" : "dt_bias"));
    }
  });

  it("are those of RWKV-6, with the shares in the order w, k, v, r, g and the low-rank matrices turned", async () => {
    const { file: { tensors }, values } = await written(make("rwkv6"));
    const of = (name: string) => values[`blocks.1.att.${name}`]!;
    expect([...tensors["blk.1.time_mix_lerp_fused.weight"]!.numbers])
      .toEqual(["w", "k", "v", "r", "g"].flatMap((name) => [...of(`time_maa_${name}`)]));
    expect(tensors["blk.1.time_mix_w1.weight"]!.numbers).toEqual(turned(of("time_maa_w1"), 15, 12));
    for (let j = 0; j < 5; j++) { // [5, rank, D] as [5, D, rank]
      expect(tensors["blk.1.time_mix_w2.weight"]!.numbers.slice(36 * j, 36 * (j + 1)))
        .toEqual(turned(of("time_maa_w2").slice(36 * j, 36 * (j + 1)), 12, 3));
    }
    expect(tensors["blk.1.time_mix_decay_w2.weight"]!.numbers).toEqual(turned(of("time_decay_w2"), 12, 5));
    expect(tensors["blk.1.time_mix_first.weight"]!.numbers).toEqual(of("time_faaaa"));
    expect(tensors["token_embd_norm.bias"]!.numbers).toEqual(values["blocks.0.ln0.bias"]);
  });

  it("are those of RWKV-7, with the shares in the order r, w, k, v, a, g", async () => {
    const { file: { tensors }, values } = await written(make("rwkv7"));
    const of = (name: string) => values[`blocks.1.att.${name}`]!;
    expect([...tensors["blk.1.time_mix_lerp_fused.weight"]!.numbers])
      .toEqual(["r", "w", "k", "v", "a", "g"].flatMap((name) => [...of(`x_${name}`)]));
    expect(tensors["blk.1.time_mix_g1.weight"]!.numbers).toEqual(turned(of("g1"), 7, 64));
    expect(tensors["blk.1.time_mix_v2.weight"]!.numbers).toEqual(turned(of("v2"), 64, 2));
    expect(tensors["blk.1.time_mix_r_k.weight"]!.numbers).toEqual(of("r_k"));
    expect(tensors["blk.1.channel_mix_lerp_k.weight"]!.numbers).toEqual(values["blocks.1.ffn.x_k"]);
  });

  it("come with a vocabulary as long as the model's", async () => {
    const { file: { metadata } } = await written(make("mamba", { vocab_size: 258 }), {}, byteVocabulary());
    const names = metadata["tokenizer.ggml.tokens"] as readonly string[];
    expect([names.length, names[0], names[255], names[257]]).toEqual([258, "\\x00", "\\xff", "\\xff<257>"]);
  });
});

describe("models that llama.cpp has not", () => {
  it.each<[string, RegExp, SequenceModel]>([
    ["another family", /llama\.cpp has no gla models; those that can be written are mamba, mamba2, rwkv6, rwkv7$/,
      RECURRENT_FAMILIES.gla.make(Object.values(RECURRENT_FAMILIES.gla.presets)[0])],
    ["Mamba-1 of another width", /has an expand of 2 and no other; this model's is 3/, make("mamba", { ssm_cfg: { expand: 3 } })],
    ["Mamba-2 with limits of dt", /has no limits of dt; this model's dt_limit is 0 to 0\.5/,
      make("mamba2", { ssm_cfg: { layer: "Mamba2", headdim: 4, dt_limit: [0, 0.5] } })],
    ["RWKV-6 with another norm behind the heads", /norms the heads of RWKV with an epsilon of 0\.00064; this model's is 0\.00001/,
      make("rwkv6", { head_norm_eps: 1e-5 })],
    ["RWKV-7 with longer keys", /adds nothing to the square of a key's length; this model's length_eps is 0\.001/,
      make("rwkv7", { length_eps: 1e-3 })],
    ["RWKV-7 with small heads", /multiple of 64; this model's head_size is 32/, make("rwkv7", { head_size: 32 })],
  ])("are refused: %s", (_, message, model) => {
    expect(() => encodeModelGguf(model, numbersOf({}), tokens(model.vocabulary)))
      .toThrow(expect.objectContaining({ code: "E_CONFIG", message: expect.stringMatching(message) }));
  });

  it("are refused with a vocabulary that is not theirs", () => {
    expect(() => encodeModelGguf(make("mamba"), numbersOf({}), byteVocabulary())).toThrow(expect.objectContaining({
      code: "E_CONFIG", message: expect.stringMatching(/tokenizer has 256 tokens, the model only 13/),
    }));
  });
});
