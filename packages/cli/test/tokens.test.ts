/** Models of tokens: trained, gone on with, measured and written with, each with its own tokenizer and no other. */
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readTokenizer } from "@lenggen/data/node";
import { lenggen } from "./lenggen";
import { CONFIG, type Workplace, workplace } from "./trained";

let place: Workplace;
const at = (path: string) => join(place.folder, path);
const run = (...args: string[]) => lenggen([...args, "--device", "reference"], { cwd: place.folder, env: { LENGGEN_CACHE: at("cache") } });
const json = async <T>(...args: string[]): Promise<T> => {
  const { code, stdout, stderr } = await run(...args, "--json");
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as T;
};
const train = (...more: string[]) => run("train", "--text", "book.txt", "--context", "32", "--batch", "2", "--warmup", "0", "--model",
  "tokens.json", ...more);

beforeAll(async () => {
  place = await workplace();
  const file = new URL("../../data/test/fixtures/tokenizers.json", import.meta.url);
  const { bases } = JSON.parse(await readFile(file, "utf8")) as { bases: Record<string, object> };
  await writeFile(at("tokenizer.json"), JSON.stringify(bases["byte-level"]));
  await writeFile(at("other.json"), JSON.stringify(bases["spaces"]));
  await writeFile(at("unigram.json"), JSON.stringify(bases["unigram"]));
  await writeFile(at("tokens.json"), JSON.stringify({ ...CONFIG, vocab_size: 448 }));
  await writeFile(at("book.txt"), "It was the best of times – it was the worst of times. Ünd so weiter. ".repeat(200));
  expect(await train("--out", "run", "--steps", "2", "--tokenizer", "tokenizer.json")).toMatchObject({ code: 0 });
});
afterAll(() => place.remove());

describe("a run with a tokenizer", () => {
  it("is complete: its checkpoints hold the tokenizer, and run.json says which it is", async () => {
    const folder = at("run/checkpoints/step-2");
    expect((await readdir(folder)).sort()).toEqual(
      ["config.json", "model.safetensors", "optimizer.safetensors", "tokenizer.json", "trainer.json"]);
    expect(await readFile(join(folder, "tokenizer.json"))).toEqual(await readFile(at("tokenizer.json")));
    const { settings, about } = JSON.parse(await readFile(at("run/run.json"), "utf8")) as
      { settings: { tokenizer: unknown; data: { tokens: number } }; about: { tokenizer: string } };
    const { tokenizer } = await readTokenizer(folder);
    expect(settings.tokenizer).toEqual({ kind: "json", hash: tokenizer.hash });
    expect(settings.data.tokens).toBe(tokenizer.encode(await readFile(at("book.txt"), "utf8")).length);
    expect(about.tokenizer).toBe("tokenizer.json");
  });

  it("goes on with its own tokenizer, and with no other", async () => {
    const { code, stdout, stderr } = await train("--out", "run", "--steps", "3", "--schedule", "constant", "--resume");
    expect(stderr).toMatch(/schedule/);
    expect([code, stdout]).toEqual([1, ""]);
    await rm(at("more"), { recursive: true, force: true });
    const options = ["--out", "more", "--schedule", "constant"];
    expect(await train(...options, "--steps", "1", "--tokenizer", "tokenizer.json")).toMatchObject({ code: 0 });
    const more = await train(...options, "--steps", "2", "--resume");
    expect(more).toMatchObject({ code: 0 });
    expect(more.stdout).toMatch(/loss \d\.\d{3} nats\/token, \d\.\d{3} bits\/byte, 128 tokens in/);
    const other = await train(...options, "--steps", "3", "--resume", "--tokenizer", "unigram.json");
    expect(other.error).toMatch(/can't be resumed with these:.*tokenizer\.hash.*\[E_CONFIG\]/);
  });

  it("is the base of another, which takes the tokenizer over", async () => {
    const passed = await json<{ textTokens: number; bytesPerToken: number; lossNatsPerToken: number; lossBitsPerByte: number }>(
      "post-train", "--method", "state-passing", "--checkpoint", "run", "--text", "book.txt", "--out", "passed",
      "--steps", "1", "--batch", "2");
    expect(passed.bytesPerToken).toBeGreaterThan(1.2);
    expect(passed.lossBitsPerByte).toBeCloseTo(passed.lossNatsPerToken / Math.LN2 / passed.bytesPerToken, 10);
    expect(await readdir(at("passed/checkpoints/step-1"))).toContain("tokenizer.json");
  });
});

describe("measures of a model of tokens", () => {
  it("give losses per token and in bits per byte of the tokens that are scored", async () => {
    interface Evaluated {
      tokenizer: unknown;
      read: { sequences: number; tokens: number; textTokens: number; textBytes: number };
      result: { lengths: { position: number; perplexity: number; bitsPerByte: number }[] };
    }
    const { read, result } = await json<Evaluated>("eval", "loss-by-position", "--checkpoint", "run", "--text", "book.txt",
      "--lengths", "64", "--samples", "1");
    const { tokenizer } = await readTokenizer(at("tokenizer.json"));
    const book = await readFile(at("book.txt"), "utf8");
    const ids = tokenizer.encode(book);
    expect(read).toEqual({ sequences: 1, tokens: 65, textTokens: ids.length, textBytes: Buffer.from(book).length });
    // Of the second half of the length: tokens 33 to 64 are predicted.
    const bytes = [...ids.subarray(33, 65)].reduce((sum, id) => sum + tokenizer.bytesOf(id)!.length, 0);
    const { perplexity, bitsPerByte } = result.lengths[0]!;
    expect(bitsPerByte).toBeCloseTo((32 * Math.log(perplexity)) / Math.LN2 / bytes, 8);
  });

  it("say tokens where positions are tokens", async () => {
    const shown = await run("eval", "loss-by-position", "--checkpoint", "run", "--text", "book.txt", "--lengths", "64");
    expect(shown.stdout).toMatch(/position \(tokens\)/);
    expect(shown.stdout).toMatch(/nats\/token/);
    expect(shown.stdout).toMatch(/of the text's [\d,]+ tokens/);
    const cut = await run("eval", "effective-remembrance", "--checkpoint", "run", "--text", "book.txt", "--lengths", "64");
    expect(cut.stdout).toMatch(/tokens cut off \(t\)/);
    expect(cut.stdout).not.toMatch(/one curve/);
    const two = await run("eval", "state-statistics", "--checkpoint", "run", "--text", "book.txt", "--lengths", "16,64");
    expect(two.stdout).toMatch(/one curve, to the longest of the lengths: 64/);
  });

  it("are refused where they speak bytes", async () => {
    const { code, error } = await run("eval", "passkey", "--checkpoint", "run", "--lengths", "256");
    expect([code, error]).toEqual([1, expect.stringMatching(/passkey speaks bytes, and run\S+ has the tokenizer.*\[E_CONFIG\]/)]);
    const trained = await train("--out", "task", "--steps", "1", "--tokenizer", "tokenizer.json", "--task", "recall");
    expect(trained.error).toMatch(/task recall speaks bytes.*\[E_CONFIG\]/);
  });
});

describe("writing with a model of tokens", () => {
  interface Written {
    text: string;
    tokens: number[];
    promptTokens: number;
    ended: string;
  }

  it("reads a prompt in tokens and writes whole characters", async () => {
    const { tokenizer } = await readTokenizer(at("tokenizer.json"));
    const { text, tokens, promptTokens } = await json<Written>("generate", "run", "--prompt", "It was – ünd", "--tokens", "40",
      "--temperature", "2");
    expect(promptTokens).toBe(tokenizer.encode("It was – ünd").length);
    const bytes = tokens.flatMap((id) => [...(tokenizer.bytesOf(id) ?? new TextEncoder().encode("\ufffd"))]);
    expect(text).toBe(new TextDecoder().decode(Uint8Array.from(bytes)));
  });

  it("goes on from a saved state to the same tokens", async () => {
    const options = ["--temperature", "1", "--seed", "3"];
    const whole = await json<Written>("generate", "run", "--prompt", "It was", "--tokens", "12", ...options);
    const first = await json<Written>("generate", "run", "--prompt", "It was", "--tokens", "5", ...options, "--save-state", "state");
    const second = await json<Written>("generate", "run", "--state", "state", "--tokens", "7", ...options);
    expect([...first.tokens, ...second.tokens]).toEqual(whole.tokens);

    // In the ids of another tokenizer the state would mean another text.
    for (const other of ["bytes", "unigram.json"]) {
      const { code, stdout, error } = await run("generate", "run", "--state", "state", "--prompt", "x", "--tokenizer", other);
      const said = /--state state: was made with another tokenizer \([0-9a-f]{12}\) than .*leave --tokenizer out.*\[E_CONFIG\]$/;
      expect([code, stdout, error]).toEqual([1, "", expect.stringMatching(said)]);
    }
    // States of before the tokenizer was recorded are taken as they are.
    const file = await readFile(at("state"));
    const length = Number(file.readBigUInt64LE(0));
    const header = file.subarray(8, 8 + length).toString();
    const older = header.replace(/,?\\"tokenizer\\":\\"[0-9a-f]{64}\\"/, "");
    expect(older.length).toBeLessThan(header.length);
    await writeFile(at("older"), Buffer.concat([file.subarray(0, 8), Buffer.from(older.padEnd(length)), file.subarray(8 + length)]));
    expect((await json<Written>("generate", "run", "--state", "older", "--tokens", "7", ...options)).tokens).toEqual(second.tokens);
  });

  it("ends where the model ends the text", async () => {
    await mkdir(at("ending"));
    for (const name of ["config.json", "model.safetensors", "tokenizer.json"])
      await copyFile(at(`run/checkpoints/step-2/${name}`), at(`ending/${name}`));
    const { tokens: [likeliest] } = await json<Written>("generate", "ending", "--prompt", "It was", "--tokens", "1", "--temperature", "0");
    const { tokenizer } = await readTokenizer(at("ending"));
    const { bases } = JSON.parse(await readFile(new URL("../../data/test/fixtures/tokenizers.json", import.meta.url), "utf8")) as
      { bases: Record<string, { model: { vocab: Record<string, number> } }> };
    const token = Object.entries(bases["byte-level"]!.model.vocab).find(([, id]) => id === likeliest)?.[0];
    // A token that stands for nothing here is beyond the tokenizer's ids.
    if (token === undefined) return expect(tokenizer.bytesOf(likeliest!)).toBeUndefined();
    await writeFile(at("ending/tokenizer_config.json"), JSON.stringify({ eos_token: token }));
    const { text, ended } = await json<Written>("generate", "ending", "--prompt", "It was", "--tokens", "9", "--temperature", "0");
    expect([text, ended]).toEqual(["", "end of text"]);
  });
});

describe("a tokenizer that is not right", () => {
  it("is refused where there is none", async () => {
    const { error } = await train("--out", "none", "--steps", "1");
    expect(error).toMatch(/the model has a vocabulary of 448 and no tokenizer:.*give one with --tokenizer \[E_CONFIG\]/);
  });

  it("is refused where the model has too few rows", async () => {
    const { error } = await train("--out", "none", "--steps", "1", "--tokenizer", "other.json");
    expect(error).toMatch(/other\.json has ids up to \d+, and the model a vocabulary of 448 only.*\[E_CONFIG\]/);
    const small = await run("train", "--text", "book.txt", "--model", "small.json", "--out", "none", "--steps", "1", "--tokenizer",
      "tokenizer.json");
    expect(small.error).toMatch(/vocabulary of 256 only.*\[E_CONFIG\]/);
  });

  it("is refused where it is damaged, of another kind or not there, and nothing is written", async () => {
    await writeFile(at("bad.json"), '{"model": {"type": "WordPiece"');
    await writeFile(at("piece.json"), '{"model": {"type": "WordPiece", "vocab": {}}}');
    for (const [name, message] of [["bad.json", /bad\.json.*\[E_FORMAT\]/], ["piece.json", /"WordPiece" is not read.*\[E_CONFIG\]/],
      ["gone.json", /gone\.json.*\[E_MISSING\]/]] as const) {
      const { code, error } = await train("--out", "none", "--steps", "1", "--tokenizer", name);
      expect([code, error]).toEqual([expect.any(Number), expect.stringMatching(message)]);
    }
    expect(await readdir(place.folder)).not.toContain("none");
  });
});

it("no tokenizer's library is loaded where bytes are the tokens", async () => {
  const loaded = async (name: string, ...args: string[]): Promise<string[]> => {
    const { code, stderr } = await lenggen(args, { cwd: place.folder, env: { NODE_V8_COVERAGE: at(name) } });
    if (code !== 0) throw new Error(stderr);
    const files = await Promise.all((await readdir(at(name))).map((file) => readFile(at(`${name}/${file}`), "utf8")));
    return files.flatMap((text) => (JSON.parse(text) as { result: { url: string }[] }).result.map(({ url }) => url));
  };
  const isLibrary = (url: string): boolean => url.includes("@huggingface/");
  expect((await loaded("help", "--help")).filter(isLibrary)).toEqual([]);
  const bytes = ["--text", "book.txt", "--context", "32", "--batch", "2", "--warmup", "0", "--steps", "1", "--device", "reference"];
  const trained = await loaded("bytes", "train", ...bytes, "--model", "small.json", "--out", "of-bytes");
  expect(trained.some((url) => url.includes("/packages/data/"))).toBe(true);
  expect(trained.filter(isLibrary)).toEqual([]);
  const written = await loaded("tokens", "generate", "run", "--prompt", "It", "--tokens", "1", "--device", "reference");
  expect(written.some((url) => url.includes("@huggingface/tokenizers"))).toBe(true);
});
