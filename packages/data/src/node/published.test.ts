/** Published tokenizers, where they lie beside the repository: the expected ids are those of llama.cpp and rwkv.cpp. */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import type { Tokenizer } from "../tokenizer";
import { tokenizerJson } from "../json/tokenizerJson";
import { worldTokenizer } from "../world";

const shared = fileURLToPath(new URL("../../../../../shared/data/", import.meta.url));
const folder = `${shared}tokenizers/`;
const there = existsSync(`${folder}golden.inp`);
if (!there) console.log(`published tokenizers do not run: there is no ${folder}golden.inp`);

const file = (name: string): Uint8Array => new Uint8Array(readFileSync(`${folder}${name}`));
const inputs = there ? readFileSync(`${folder}golden.inp`, "utf8").split("\n__ggml_vocab_test__\n") : [];
const expected = (name: string): number[][] => readFileSync(`${folder}${name}`, "utf8").split("\n").slice(0, inputs.length)
  .map((line) => line.trim().split(" ").filter((id) => id !== "").map(Number));

/** Whether a book has the same ids in pieces as whole, and comes back from them. */
function checkBook(tokenizer: Tokenizer): void {
  const given = new Uint8Array(readFileSync(`${shared}books-pg19-test/10356.txt`));
  const text = new TextDecoder().decode(given);
  const whole = tokenizer.encode(text);
  const encoder = tokenizer.encoder();
  const ids: number[] = [];
  for (let at = 0; at < given.length; at += 7001) ids.push(...encoder.push(given.subarray(at, at + 7001)));
  expect(ids.length).toBeGreaterThan(0.5 * whole.length);
  ids.push(...encoder.end());
  expect(Buffer.from(Int32Array.from(ids).buffer).equals(Buffer.from(whole.buffer))).toBe(true);
  const decoder = tokenizer.decoder();
  expect(ids.map((id) => decoder.push(id)).join("") + decoder.end()).toBe(text);
}

describe.runIf(there)("published tokenizers", () => {
  it.each([["gpt-neox-20b", "golden.gpt-neox.out", 50277], ["gpt2", "golden.gpt2.out", 50265]] as const)("%s gives the ids of llama.cpp",
    async (name, ids, vocabulary) => {
      const tokenizer = await tokenizerJson(file(`${name}.tokenizer.json`), name);
      expect(tokenizer.vocabulary).toBe(vocabulary);
      expect(inputs.map((text) => [...tokenizer.encode(text)])).toEqual(expected(ids));
      checkBook(tokenizer);
    });

  it("RWKV World gives the ids of rwkv.cpp", async () => {
    const tokenizer = await worldTokenizer(file("rwkv_vocab_v20230424.txt"), "RWKV World");
    expect(tokenizer.vocabulary).toBe(65530);
    expect([...tokenizer.encode("I'll 'd test блабла 以下は、]) -> <|endoftext|><|padding|> int")]).toEqual([
      74, 5229, 274, 101, 32223, 5092, 27980, 2795, 27980, 33, 10399, 10258, 10139, 10079, 1682, 3463, 295, 125, 25258, 7588, 2318, 125,
      790, 125, 49520, 125, 63, 21888]);
    checkBook(tokenizer);
  });
});
