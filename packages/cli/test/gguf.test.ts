/** `lenggen convert` to GGUF. What llama.cpp makes of such files: scripts/check-gguf.mjs. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { encodeSafetensors, key, open, type SequenceModel } from "@lenggen/kernels";
import { writeWhole } from "@lenggen/kernels/node";
import { gla, GLA_PRESETS, mamba2, rwkv7, RWKV7_PRESETS } from "@lenggen/recurrent";
import { describe, expect, it } from "vitest";
import { conversions } from "./conversions";

const { at, convert, fails } = conversions();
const MODEL = {
  d_model: 8, n_layer: 1, vocab_size: 260, ssm_cfg: { layer: "Mamba2", d_state: 4, headdim: 4 }, pad_vocab_size_multiple: 16,
};

/** A checkpoint with fresh parameters. */
async function checkpoint(name: string, model: Pick<SequenceModel, "config" | "init">): Promise<void> {
  const device = await open("reference");
  await mkdir(at(name));
  await writeFile(at(name, "config.json"), JSON.stringify(model.config));
  await writeWhole(at(name, "model.safetensors"), encodeSafetensors(model.init(key(1), device)));
  device.close();
}

/** A tokenizer.json of all bytes, one merge and an end of a text: 258 ids. */
function tokenizer(): object {
  let others = 256;
  const letters = Array.from({ length: 256 }, (_, byte) =>
    String.fromCodePoint((byte > 32 && byte < 127) || (byte > 160 && byte !== 173) ? byte : others++));
  const vocab = Object.fromEntries([...letters, "th"].map((token, id) => [token, id]));
  return {
    version: "1.0", normalizer: { type: "NFC" }, post_processor: null, decoder: { type: "ByteLevel" },
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true },
    model: { type: "BPE", vocab, merges: ["t h"] },
    added_tokens: [
      { id: 257, content: "<|endoftext|>", special: true, normalized: false, single_word: false, lstrip: false, rstrip: false },
    ],
  };
}

const world = Array.from({ length: 256 }, (_, byte) => `${byte + 1} b'\\x${byte.toString(16).padStart(2, "0")}' 1\n`).join("");

describe("a run", () => {
  it("becomes one file with its bytes as tokens, in f32 or with matrices in f16", async () => {
    const full = await convert("runs/base", "out/base.gguf");
    const said = /^\S+step-6 -> out\/base\.gguf: 11 tensors \(F32 11\), [\d.]+ KiB in/;
    expect([full.code, full.stdout]).toEqual([0, expect.stringMatching(said)]);
    const half = await convert("runs/base", "out/half.gguf", "--dtype", "f16", "--json");
    const { types, bytes } = JSON.parse(half.stdout) as { types: object; bytes: number };
    expect(types).toEqual({ F16: 3, F32: 8 });
    const file = await readFile(at("out", "half.gguf"));
    expect([file.length, file.subarray(0, 4).toString()]).toEqual([bytes, "GGUF"]);
    for (const text of ["mamba2", "\\xff", "half"]) expect(file.includes(text)).toBe(true);
  });
});

describe("a checkpoint with a tokenizer", () => {
  it("takes it along, and says what llama.cpp does otherwise", async () => {
    await checkpoint("bpe", mamba2(MODEL));
    await writeFile(at("bpe", "tokenizer.json"), JSON.stringify(tokenizer()));
    const { code, stderr } = await convert("bpe", "bpe.gguf");
    expect([code, stderr]).toEqual([0, expect.stringMatching(/bpe\.gguf: llama\.cpp takes texts as they are/)]);
    const file = await readFile(at("bpe.gguf"));
    for (const text of ["gpt-2", "t h", "<|endoftext|>", "[PAD258]", "[PAD259]"]) expect([text, file.includes(text)]).toEqual([text, true]);
    expect(file.includes("[PAD260]")).toBe(false);
  });

  it("takes one from elsewhere", async () => {
    await checkpoint("plain", mamba2(MODEL));
    await writeFile(at("vocabulary.txt"), world);
    const { code } = await convert("plain", "world.gguf", "--tokenizer", "vocabulary.txt");
    expect(code).toBe(0);
    const file = await readFile(at("world.gguf"));
    for (const text of ["rwkv", "\\x00", "\\xff<0>", "\\xff<259>"]) expect([text, file.includes(text)]).toEqual([text, true]);
  });
});

describe("what can't be written", () => {
  it("is refused before anything is there", async () => {
    const small = { hidden_size: 16, num_heads: 1, num_hidden_layers: 1, vocab_size: 300 };
    await checkpoint("other", gla({ ...Object.values(GLA_PRESETS)[0], ...small }));
    await checkpoint("heads", rwkv7({ ...Object.values(RWKV7_PRESETS)[0], n_layer: 1, vocab_size: 300 }));
    await checkpoint("bare", mamba2(MODEL));
    await writeFile(at("larger.json"), JSON.stringify({
      ...tokenizer(), added_tokens: [{ id: 300, content: "<|endoftext|>", special: true, normalized: false }],
    }));
    await fails(["other", "other.gguf"], 1,
      /checkpoint other: gguf: llama\.cpp has no gla models; those that can be written are mamba, mamba2, rwkv6, rwkv7 \[E_CONFIG\]/);
    await fails(["heads", "heads.gguf"], 1, /multiple of 64; this model's head_size is 32 \[E_CONFIG\]/);
    await fails(["bare", "bare.gguf"], 1, /bare holds no tokenizer, and the model has 260 tokens, which are no bytes.* \[E_MISSING\]/);
    await fails(["bare", "bare.gguf", "--tokenizer", "larger.json"], 1, /the tokenizer has 301 tokens, the model only 260.* \[E_CONFIG\]/);
    await fails(["bare", "bare.gguf", "--dtype", "bf16"], 2, /--dtype/);
    await fails(["bare", "bare.safetensors", "--tokenizer", "larger.json"], 2, /--tokenizer is for what holds one, .* holds weights alone/);
  });
});
