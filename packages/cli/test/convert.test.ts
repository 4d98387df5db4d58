/** `lenggen convert`, with what is published as PyTorch's files where the shared data has some. */
import { existsSync } from "node:fs";
import { copyFile, cp, mkdir, readdir, readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { conversions } from "./conversions";
import { type Running, start } from "./lenggen";

const GOLDENS = fileURLToPath(new URL("../../../../shared/data/goldens/ckpt/", import.meta.url));

const { at, run, convert, fails } = conversions();

async function loss(checkpoint: string): Promise<unknown> {
  const { stdout, stderr } = await run("eval", "loss-by-position", "--checkpoint", checkpoint, "--text", "book.txt", "--lengths", "64",
    "--train-length", "32", "--json");
  if (stdout === "") throw new Error(stderr);
  return (JSON.parse(stdout) as { result: unknown }).result;
}

describe("a run", () => {
  it("becomes a folder with the same weights and configuration, which is evaluated to the same numbers", async () => {
    const { code, stdout } = await convert("runs/base", "out/model", "--json");
    expect(code).toBe(0);
    const { files, types } = JSON.parse(stdout) as { files: string[]; types: object };
    expect(files).toEqual([join("out/model", "model.safetensors"), join("out/model", "config.json")]);
    expect(Object.keys(types)).toEqual(["F32"]);
    expect((await readdir(at("out"))).sort()).toEqual(["model"]);
    const from = at("runs", "base", "checkpoints", "step-6");
    expect(await readFile(at("out", "model", "config.json"))).toEqual(await readFile(join(from, "config.json")));
    expect(await loss("out/model")).toEqual(await loss("runs/base"));
  });

  it("takes its tokenizer along, and nothing else", async () => {
    const from = at("with-tokenizer");
    await cp(at("runs", "base", "checkpoints", "step-6"), from, { recursive: true });
    for (const name of ["tokenizer.json", "rwkv_vocab_v20230424.txt", "notes.txt"]) await writeFile(join(from, name), name);
    expect((await convert("with-tokenizer", "copied")).code).toBe(0);
    expect((await readdir(at("copied"))).sort())
      .toEqual(["config.json", "model.safetensors", "rwkv_vocab_v20230424.txt", "tokenizer.json"]);
    expect(await readFile(at("copied", "tokenizer.json"), "utf8")).toBe("tokenizer.json");
  });

  it("becomes another program's checkpoint, of the same numbers, and its own again", async () => {
    expect((await convert("runs/base", "out/hf", "--layout", "transformers")).code).toBe(0);
    const config = JSON.parse(await readFile(at("out", "hf", "config.json"), "utf8")) as object;
    expect(config).toMatchObject({ architectures: ["Mamba2ForCausalLM"], hidden_size: expect.any(Number) as number });
    expect(await loss("out/hf")).toEqual(await loss("runs/base"));
    expect((await convert("out/hf", "out/own", "--layout", "mamba_ssm")).code).toBe(0);
    const weights = async (...names: string[]) => readFile(at(...names, "model.safetensors"));
    expect(await loss("out/own")).toEqual(await loss("runs/base"));
    expect((await weights("out", "own")).length).toBe((await weights("runs", "base", "checkpoints", "step-6")).length);
    await fails(["runs/base", "out/rwkv", "--layout", "rwkv"], 1, /layout "rwkv".*mamba_ssm, transformers, fla \[E_CONFIG\]$/);
    await fails(["runs/base", "out/none", "--layout", "tranformers"], 2, /did you mean "transformers"/);
  });

  it("becomes one file of another type", async () => {
    const { code, stdout } = await convert("runs/base", "out/half.safetensors", "--dtype", "f16");
    const said = /^\S+step-6 -> out\/half\.safetensors: \d+ tensors \(F16 \d+\), [\d.]+ KiB in/;
    expect([code, stdout]).toEqual([0, expect.stringMatching(said)]);
    await copyFile(at("runs", "base", "checkpoints", "step-6", "config.json"), at("out", "config.json"));
    expect(JSON.stringify(await loss("out/half.safetensors"))).toMatch(/\d/);
  });

  it("tells of numbers that are none, and keeps them", async () => {
    const nan = at("nan.safetensors");
    const weights = await readFile(at("runs", "base", "checkpoints", "step-6", "model.safetensors"));
    new Float32Array(weights.buffer, weights.byteOffset + weights.length - 4, 1)[0] = Number.NaN;
    await writeFile(nan, weights);
    const { code, stderr } = await convert("nan.safetensors", "out/nan.safetensors");
    const said = /^nan\.safetensors: 1 of its \d+ tensors hold NaN or infinite numbers, which are kept: \S+\n$/;
    expect([code, stderr]).toEqual([0, expect.stringMatching(said)]);
    expect((await readFile(at("out", "nan.safetensors"))).length).toBe(weights.length);
    expect(await readFile(at("out", "nan.safetensors"))).toEqual(await readFile(nan));
  });

  it("replaces only what it is told to", async () => {
    await mkdir(at("taken"));
    await writeFile(at("taken", "notes.txt"), "kept");
    await fails(["runs/base", "taken"], 1, /taken is there already; choose another name, or give --overwrite \[E_EXISTS\]/);
    for (let times = 0; times < 2; times++) expect((await convert("runs/base", "taken", "--overwrite")).code).toBe(0);
    expect((await readdir(at("taken"))).sort()).toEqual(["config.json", "model.safetensors", "notes.txt"]);
    const weights = await readFile(at("taken", "model.safetensors"));
    expect((await convert("taken", "taken", "--overwrite")).code).toBe(0); // from where it goes to
    expect(await readFile(at("taken", "model.safetensors"))).toEqual(weights);
    await mkdir(at("empty"));
    expect((await convert("runs/base", "empty/")).code).toBe(0);
  });

  it("leaves nothing of the checkpoint that it replaces", async () => {
    await mkdir(at("old"));
    const stale = ["tokenizer.json", "rwkv_vocab_v1.txt", "pytorch_model.bin", "model-00001-of-00002.safetensors",
      "model.safetensors.index.json", "notes.txt", "other.bin"];
    for (const name of stale) await writeFile(at("old", name), name);
    expect((await convert("runs/base", "old", "--overwrite")).code).toBe(0);
    expect((await readdir(at("old"))).sort()).toEqual(["config.json", "model.safetensors", "notes.txt", "other.bin"]);
  });

  it("takes a tokenizer that is named in the place of the one beside it", async () => {
    const fixture = new URL("../../data/test/fixtures/tokenizers.json", import.meta.url);
    const { bases } = JSON.parse(await readFile(fixture, "utf8")) as { bases: Record<string, unknown> };
    await mkdir(at("bpe"));
    await writeFile(at("bpe", "tokenizer.json"), JSON.stringify(bases["byte-level"]));
    expect((await convert("with-tokenizer", "named", "--tokenizer", "bpe")).code).toBe(0);
    expect((await readdir(at("named"))).sort()).toEqual(["config.json", "model.safetensors", "tokenizer.json"]);
    expect(await readFile(at("named", "tokenizer.json"))).toEqual(await readFile(at("bpe", "tokenizer.json")));
    expect((await convert("with-tokenizer", "plain", "--tokenizer", "bytes")).code).toBe(0);
    expect((await readdir(at("plain"))).sort()).toEqual(["config.json", "model.safetensors"]);
    await fails(["runs/base", "weights.safetensors", "--tokenizer", "bytes"], 2, /weights\.safetensors holds weights alone/);

    // Who gives another one than the checkpoint has is told.
    const measured = () => run("eval", "loss-by-position", "--checkpoint", "named", "--tokenizer", "bytes", "--text", "book.txt",
      "--lengths", "64", "--train-length", "32");
    const { stderr, code } = await measured();
    expect([code, stderr]).toEqual([0, expect.stringMatching(/named has a tokenizer of its own, .*tokenizer\.json, which is another/)]);
    // One beside it that can't be read is no hindrance.
    await writeFile(at("named", "tokenizer.json"), "{bad");
    expect((await measured()).code).toBe(0);
  });
});

describe("what can't be converted", () => {
  it("is said, and leaves nothing", async () => {
    await mkdir(at("damaged"));
    await copyFile(at("runs", "base", "checkpoints", "step-6", "model.safetensors"), at("damaged", "model.safetensors"));
    await writeFile(at("damaged", "config.json"), "{bad");
    await fails(["damaged", "new"], 1, /damaged\/config\.json.*\[E_FORMAT\]/);
    await writeFile(at("evil.pth"), "\u0002cbuiltins\nprint\n(X\u0005\u0000\u0000\u0000hellotR.");
    await writeFile(at("evil.pth"), Buffer.concat([Buffer.of(0x80), await readFile(at("evil.pth"))]));
    await fails(["evil.pth", "new"], 1, /evil\.pth: its pickle names "builtins\.print", .*\[E_FORMAT\]/);
    await copyFile(at("runs", "base", "checkpoints", "step-6", "model.safetensors"), at("cut.safetensors"));
    await truncate(at("cut.safetensors"), 4000);
    await fails(["cut.safetensors", "new"], 1, /cut\.safetensors.*cut short \[E_FORMAT\]/);
    await fails(["absent", "new"], 1, /checkpoint absent: there is no such folder or file \[E_MISSING\]/);
    await fails(["runs/base", "new.onnx"], 2, /no form of checkpoints is named "\.onnx".*\.safetensors, \.gguf \[E_UNKNOWN_NAME\]/);
    await fails(["runs/base", "new", "--dtype", "f61"], 2, /no --dtype is named "f61" \(did you mean "f32"\?\)/);
    await writeFile(at("text"), "");
    await fails(["runs/base", "text/new"], 1, /\[E_IO\]/);
    await fails(["runs/base", ""], 2, /has an empty name/);
    await fails(["runs/base", "runs/base", "--overwrite"], 1, /runs\/base holds a run, .*choose another name \[E_EXISTS\]/);
    await fails(["runs/base", "new.gguf", "--dtype", "bf16"], 2, /--dtype bf16: new\.gguf can't be of it, only of f32 or f16/);
    await writeFile(at("old.gguf"), "GGUF");
    await fails(["old.gguf", "new"], 1, /old\.gguf: is a file of llama\.cpp, .* nothing here reads; .*\[E_FORMAT\]/);
    await copyFile(at("runs", "base", "checkpoints", "step-6", "model.safetensors"), at("o"));
    const weights = await readFile(at("o"));
    new Float32Array(weights.buffer, weights.byteOffset + weights.length - 4, 1)[0] = 3e38;
    await writeFile(at("o"), weights);
    await fails(["o", "new", "--dtype", "f16"], 1, /^lenggen: checkpoint o: tensor "\S+" holds 3\S+e\+38, which is too large for F16/);
  });

  it("is left when it is interrupted", async () => {
    // Large enough to be met: 1.5 GB of zeros that no disk has to hold.
    const size = 1.5e9;
    const header = Buffer.from(JSON.stringify({ a: { dtype: "U8", shape: [size], data_offsets: [0, size] } }));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    await writeFile(at("large.safetensors"), Buffer.concat([length, header]));
    await truncate(at("large.safetensors"), 8 + header.length + size);
    const before = await readdir(at());
    const writing = async (): Promise<Running> => {
      const running = start(["convert", "large.safetensors", "large"], { cwd: at() });
      const begun = async () => {
        const names = await readdir(at()); // before the lock is there, such a file only tells whether one can be written
        return names.includes(".large.lock") && names.some((name) => /^\.large\.[0-9a-f-]{36}\.partial$/.test(name));
      };
      while (!(await begun())) await new Promise((resolve) => setTimeout(resolve, 5));
      return running;
    };
    const stopped = await writing();
    await fails(["runs/base", "large"], 1, /large is in use: process \d+ on .*\[E_LOCKED\]/);
    stopped.process.kill("SIGINT");
    expect((await stopped.finished).code).toBe(130);
    expect(await readdir(at())).toEqual(before);
    // What one leaves that is killed, the next one takes away.
    const killed = await writing();
    killed.process.kill("SIGKILL");
    await killed.finished;
    expect((await readdir(at())).length).toBeGreaterThan(before.length);
    expect((await convert("runs/base", "large")).code).toBe(0);
    expect(await readdir(at())).toEqual([...before, "large"].sort());
  });
});

const missing = !existsSync(join(GOLDENS, "misc.pt"));
if (missing) console.warn("conversions of PyTorch's files do not run: the shared data (data/goldens) does not lie beside the repository");

describe.skipIf(missing)("PyTorch's files", () => {
  const names = ["mamba2-fp16", "mamba2-bf16", "mamba2-strided", "mamba2-legacy", "mamba2-sharded"];
  it.each(names)("%s becomes what gives the same numbers", async (name) => {
    const { code, stderr } = await convert(join(GOLDENS, name), name);
    expect([code, stderr]).toEqual([0, ""]);
    expect(await loss(name)).toEqual(await loss(join(GOLDENS, name)));
  });

  it("without a configuration get the one that their shapes tell, if they do", async () => {
    const { code, stderr } = await convert(join(GOLDENS, "rwkv7-tiny.pth"), "rwkv");
    const said = /rwkv7-tiny\.pth has no config\.json; the one that is written follows from/;
    expect([code, stderr]).toEqual([0, expect.stringMatching(said)]);
    expect(JSON.parse(await readFile(at("rwkv", "config.json"), "utf8"))).toMatchObject({ model_type: "rwkv7" });
    // It has fewer tokens than there are bytes, so that it is only loaded; what it is, is said.
    for (const checkpoint of [join(GOLDENS, "rwkv7-tiny.pth"), "rwkv"]) {
      const { stderr: loaded } = await run("generate", checkpoint, "--prompt", "x");
      expect(loaded).toMatch(/: RWKV-7 as its authors have it: 3 layers of width 48, 3 heads of 16; 88 tokens, 101,952 parameters as bf16/);
    }

    const other = await convert(join(GOLDENS, "misc.pt"), "misc");
    expect([other.code, other.stderr]).toEqual([0, expect.stringMatching(/misc\.pt has no config\.json, and none is written: /)]);
    expect(await readdir(at("misc"))).toEqual(["model.safetensors"]);
  });
});
