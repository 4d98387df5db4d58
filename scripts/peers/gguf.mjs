/**
 * Writes a byte model as GGUF, the file of llama.cpp, for the families that both know. All numbers are single precision.
 *
 * A file is a header, named values ("metadata"), the names, shapes and places of tensors, and their numbers, each at a multiple of 32.
 * Shapes are written with the axis that changes fastest first.
 */
import { writeFileSync } from "node:fs";

const ALIGNMENT = 32;
const TYPES = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9 };
const F32 = 0;

class Bytes {
  #parts = [];
  size = 0;

  bytes(part) {
    this.#parts.push(part);
    this.size += part.length;
  }

  number(size, write) {
    const view = new DataView(new ArrayBuffer(size));
    write(view);
    this.bytes(new Uint8Array(view.buffer));
  }

  u32(value) { this.number(4, (view) => view.setUint32(0, value, true)); }
  f32(value) { this.number(4, (view) => view.setFloat32(0, value, true)); }
  i32(value) { this.number(4, (view) => view.setInt32(0, value, true)); }
  u64(value) { this.number(8, (view) => view.setBigUint64(0, BigInt(value), true)); }
  bool(value) { this.bytes(Uint8Array.of(value ? 1 : 0)); }

  string(text) {
    const encoded = new TextEncoder().encode(text);
    this.u64(encoded.length);
    this.bytes(encoded);
  }

  value(type, value) {
    if (type !== "array") {
      this[type](value);
      return;
    }
    this.u32(TYPES[value.type]);
    this.u64(value.items.length);
    for (const item of value.items) this[value.type](item);
  }

  pad() { this.bytes(new Uint8Array((ALIGNMENT - (this.size % ALIGNMENT)) % ALIGNMENT)); }
  all() { return Buffer.concat(this.#parts); }
}

/** `metadata`: [type, value] by name; `tensors`: { shape, data }, the slowest axis first, by name. */
function writeGguf(file, metadata, tensors) {
  const out = new Bytes();
  out.bytes(new TextEncoder().encode("GGUF"));
  out.u32(3);
  out.u64(Object.keys(tensors).length);
  out.u64(Object.keys(metadata).length);
  for (const [name, [type, value]] of Object.entries(metadata)) {
    out.string(name);
    out.u32(TYPES[type]);
    out.value(type, value);
  }
  let offset = 0;
  for (const [name, { shape, data }] of Object.entries(tensors)) {
    if (shape.reduce((a, b) => a * b, 1) !== data.length) throw new Error(`${name}: ${data.length} numbers for the shape ${shape}`);
    out.string(name);
    out.u32(shape.length);
    for (const size of shape.toReversed()) out.u64(size);
    out.u32(F32);
    out.u64(offset);
    offset += Math.ceil((data.length * 4) / ALIGNMENT) * ALIGNMENT;
  }
  out.pad();
  for (const { data } of Object.values(tensors)) {
    out.bytes(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    out.pad();
  }
  writeFileSync(file, out.all());
}

/**
 * A vocabulary of the 256 bytes. The kind "rwkv" is the one whose tokens may be any bytes; it is for what reads and writes text, and
 * this peer speaks in ids.
 */
const BYTE_TOKENS = {
  "tokenizer.ggml.model": ["string", "rwkv"],
  "tokenizer.ggml.tokens": ["array", { type: "string",
    items: Array.from({ length: 256 }, (_, byte) => `\\x${byte.toString(16).padStart(2, "0")}`) }],
  "tokenizer.ggml.token_type": ["array", { type: "i32", items: Array(256).fill(1) }],
};

const negativeExp = (data) => data.map((value) => -Math.exp(value));

/** What Mamba-1 and Mamba-2 share. `p`: numbers and shapes by the names of the published checkpoints. */
function mambaBase(family, p, layers, { norm_epsilon: eps = 1e-5, context }) {
  const embedding = p["backbone.embedding.weight"];
  const first = (name) => p[`backbone.layers.0.mixer.${name}`];
  const tensors = { "token_embd.weight": embedding, "output_norm.weight": p["backbone.norm_f.weight"] };
  if (p["lm_head.weight"]) tensors["output.weight"] = p["lm_head.weight"];
  for (let i = 0; i < layers; i++) {
    const mixer = (name) => p[`backbone.layers.${i}.mixer.${name}`];
    const convolution = mixer("conv1d.weight");
    Object.assign(tensors, {
      [`blk.${i}.attn_norm.weight`]: p[`backbone.layers.${i}.norm.weight`],
      [`blk.${i}.ssm_in.weight`]: mixer("in_proj.weight"),
      [`blk.${i}.ssm_conv1d.weight`]: { ...convolution, shape: [convolution.shape[0], convolution.shape.at(-1)] },
      [`blk.${i}.ssm_conv1d.bias`]: mixer("conv1d.bias"),
      [`blk.${i}.ssm_out.weight`]: mixer("out_proj.weight"),
    });
  }
  const metadata = {
    "general.architecture": ["string", family],
    [`${family}.context_length`]: ["u32", context],
    [`${family}.embedding_length`]: ["u32", embedding.shape[1]],
    [`${family}.feed_forward_length`]: ["u32", 0],
    [`${family}.attention.head_count`]: ["u32", 0],
    [`${family}.block_count`]: ["u32", layers],
    [`${family}.ssm.conv_kernel`]: ["u32", first("conv1d.weight").shape.at(-1)],
    [`${family}.ssm.inner_size`]: ["u32", first("out_proj.weight").shape[1]],
    [`${family}.attention.layer_norm_rms_epsilon`]: ["f32", eps],
  };
  return { metadata, tensors };
}

function mamba(p, layers, config) {
  const { metadata, tensors } = mambaBase("mamba", p, layers, config);
  for (let i = 0; i < layers; i++) {
    const mixer = (name) => p[`backbone.layers.${i}.mixer.${name}`];
    const a = mixer("A_log");
    Object.assign(tensors, {
      [`blk.${i}.ssm_x.weight`]: mixer("x_proj.weight"),
      [`blk.${i}.ssm_dt.weight`]: mixer("dt_proj.weight"),
      [`blk.${i}.ssm_dt.bias`]: mixer("dt_proj.bias"),
      [`blk.${i}.ssm_a`]: { shape: a.shape, data: negativeExp(a.data) },
      [`blk.${i}.ssm_d`]: mixer("D"),
    });
  }
  return {
    metadata: {
      ...metadata,
      "mamba.ssm.state_size": ["u32", p["backbone.layers.0.mixer.A_log"].shape[1]],
      "mamba.ssm.time_step_rank": ["u32", p["backbone.layers.0.mixer.dt_proj.weight"].shape[1]],
      "mamba.ssm.dt_b_c_rms": ["bool", false],
    },
    tensors,
  };
}

function mamba2(p, layers, config) {
  const { metadata, tensors } = mambaBase("mamba2", p, layers, config);
  const groups = config.ssm_cfg.ngroups ?? 1;
  const heads = p["backbone.layers.0.mixer.A_log"].data.length;
  const inner = p["backbone.layers.0.mixer.out_proj.weight"].shape[1];
  for (let i = 0; i < layers; i++) {
    const mixer = (name) => p[`backbone.layers.${i}.mixer.${name}`].data;
    Object.assign(tensors, {
      [`blk.${i}.ssm_dt.bias`]: { shape: [heads], data: mixer("dt_bias") },
      [`blk.${i}.ssm_a`]: { shape: [heads, 1], data: negativeExp(mixer("A_log")) },
      [`blk.${i}.ssm_d`]: { shape: [heads, 1], data: mixer("D") },
      [`blk.${i}.ssm_norm.weight`]: { shape: [groups, inner / groups], data: mixer("norm.weight") },
    });
  }
  return {
    metadata: {
      ...metadata,
      "mamba2.ssm.state_size": ["u32", config.ssm_cfg.d_state],
      "mamba2.ssm.time_step_rank": ["u32", heads],
      "mamba2.ssm.group_count": ["u32", groups],
    },
    tensors,
  };
}

/** The last two axes exchanged. */
function transposed({ shape, data }) {
  const [rows, columns] = shape.slice(-2);
  const out = new Float32Array(data.length);
  for (let from = 0; from < data.length; from += rows * columns) {
    for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[from + j * rows + i] = data[from + i * columns + j];
  }
  return { shape: [...shape.slice(0, -2), columns, rows], data: out };
}

/** RWKV-6, from the names of the authors' files. The shares of the token before stand in one tensor, in the order w, k, v, r, g. */
function rwkv6(p, layers, config) {
  const { n_embd: width, head_size: headSize } = config;
  const flat = ({ data }) => ({ shape: [data.length], data });
  const norm = (from, to) => ({ [`${to}.weight`]: p[`${from}.weight`], [`${to}.bias`]: p[`${from}.bias`] });
  const tensors = {
    "token_embd.weight": p["emb.weight"], "output.weight": p["head.weight"],
    ...norm("blocks.0.ln0", "token_embd_norm"), ...norm("ln_out", "output_norm"),
  };
  for (let i = 0; i < layers; i++) {
    const [from, to] = [`blocks.${i}`, `blk.${i}`];
    const fused = new Float32Array(5 * width);
    for (const [k, name] of ["w", "k", "v", "r", "g"].entries()) fused.set(p[`${from}.att.time_maa_${name}`].data, k * width);
    Object.assign(tensors, norm(`${from}.ln1`, `${to}.attn_norm`), norm(`${from}.ln2`, `${to}.attn_norm_2`),
      norm(`${from}.att.ln_x`, `${to}.time_mix_ln`), {
        [`${to}.time_mix_lerp_x.weight`]: flat(p[`${from}.att.time_maa_x`]),
        [`${to}.time_mix_lerp_fused.weight`]: { shape: [5, 1, 1, width], data: fused },
        [`${to}.time_mix_w1.weight`]: transposed(p[`${from}.att.time_maa_w1`]),
        [`${to}.time_mix_w2.weight`]: transposed(p[`${from}.att.time_maa_w2`]),
        [`${to}.time_mix_decay.weight`]: flat(p[`${from}.att.time_decay`]),
        [`${to}.time_mix_decay_w1.weight`]: transposed(p[`${from}.att.time_decay_w1`]),
        [`${to}.time_mix_decay_w2.weight`]: transposed(p[`${from}.att.time_decay_w2`]),
        [`${to}.time_mix_first.weight`]: { shape: [width / headSize, headSize], data: p[`${from}.att.time_faaaa`].data },
        [`${to}.channel_mix_lerp_k.weight`]: flat(p[`${from}.ffn.time_maa_k`]),
        [`${to}.channel_mix_lerp_r.weight`]: flat(p[`${from}.ffn.time_maa_r`]),
      });
    for (const name of ["receptance", "key", "value", "output", "gate"]) {
      tensors[`${to}.time_mix_${name}.weight`] = p[`${from}.att.${name}.weight`];
    }
    for (const name of ["receptance", "key", "value"]) tensors[`${to}.channel_mix_${name}.weight`] = p[`${from}.ffn.${name}.weight`];
  }
  return {
    metadata: {
      "general.architecture": ["string", "rwkv6"],
      "rwkv6.context_length": ["u32", config.context],
      "rwkv6.embedding_length": ["u32", width],
      "rwkv6.block_count": ["u32", layers],
      "rwkv6.attention.head_count": ["u32", 0],
      "rwkv6.attention.layer_norm_epsilon": ["f32", 1e-5],
      "rwkv6.rescale_every_n_layers": ["u32", 0],
      "rwkv6.wkv.head_size": ["u32", headSize],
      "rwkv6.time_mix_extra_dim": ["u32", config.d_mix_lora],
      "rwkv6.time_decay_extra_dim": ["u32", config.d_decay_lora],
      "rwkv6.feed_forward_length": ["u32", config.dim_ffn],
    },
    tensors,
  };
}

/** How a family is written: from numbers and shapes by the names of its published checkpoints, layers and configuration. */
const WRITERS = { mamba, mamba2, rwkv6 };

/** The families that can be written. */
export const FAMILIES = Object.keys(WRITERS);

/** Writes a model of bytes. `context`: how many tokens it will be read, which llama.cpp has to know. */
export async function writeModel(file, model, parameters, context) {
  const names = Object.keys(parameters);
  const p = Object.fromEntries(await Promise.all(names.map(async (name) => {
    const { shape } = parameters[name];
    return [name, { shape, data: await parameters[name].read() }];
  })));
  const layers = 1 + Math.max(...model.stateLeaves.map(({ layer }) => layer));
  const { metadata, tensors } = WRITERS[model.family](p, layers, { ...model.config, context });
  writeGguf(file, { ...metadata, "general.file_type": ["u32", 0], ...BYTE_TOKENS }, tensors);
}
