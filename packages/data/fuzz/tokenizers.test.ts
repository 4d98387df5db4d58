/**
 * Fuzzes the readers of tokenizers: a file is either refused with `E_FORMAT` or `E_CONFIG`, or makes a tokenizer that encodes texts to ids
 * that it has, whole and in pieces to the same ones, and decodes any ids; nothing else is thrown, and nothing takes long.
 */
import { readFileSync } from "node:fs";
import { foldIn, type HostRandom, hostRandom, key, LenggenError } from "@lenggen/kernels";
import { describe, expect, it } from "vitest";
import { mutate } from "../../kernels/fuzz/mutate";
import { tokenizerJson, type Tokenizer, worldTokenizer } from "../src/index";

/** Each makes a whole tokenizer, so that there are fewer of them than of other inputs. */
const INPUTS = Math.ceil(Number(process.env["LENGGEN_FUZZ_INPUTS"] ?? 20_000) / 50);
const SEED = Number(process.env["LENGGEN_FUZZ_SEED"] ?? 1);
/** Longest that reading and using one may take; on a busy machine a thousandth of it is usual. */
const MOST_MS = 5000;

const TEXTS = ["", "ab abé  <s>x</s> the\nend.", "\u{1f600}\ud800 a\u0301 字。 123", "▁▁a ▁b"];

function check(tokenizer: Tokenizer): void {
  for (const text of TEXTS) {
    const ids = tokenizer.encode(text);
    expect(ids.every((id) => id >= 0 && id < tokenizer.vocabulary)).toBe(true);
    const bytes = new TextEncoder().encode(text);
    const encoder = tokenizer.encoder();
    expect([...encoder.push(bytes.subarray(0, 3)), ...encoder.push(bytes.subarray(3)), ...encoder.end()])
      .toEqual([...tokenizer.encode(text.replaceAll("\ud800", "\ufffd"))]);
  }
  const decoder = tokenizer.decoder();
  for (const id of [0, 1, tokenizer.vocabulary - 1, tokenizer.vocabulary, -1]) expect(typeof decoder.push(id)).toBe("string");
  decoder.end();
  for (const id of [tokenizer.special.endOfText ?? 0, ...tokenizer.special.beginning]) expect(id).toBeLessThan(tokenizer.vocabulary);
}

/** What stands in the place of a value of a file. */
const VALUES: readonly unknown[] = [
  null, true, false, -1, 0, 1, 2.5, 1e300, 4_194_303, 5_000_000, "", " ", "a", "▁", "<s>", "\ud800", "first", "Isolated", "Removed",
  "ByteLevel", "Metaspace", "Split", "Digits", "Punctuation", "NFC", "NFKC", "Prepend", "Replace", "Sequence", "BPE", "Unigram", [], {},
  ["a", "b"], ["▁", 1], { Regex: "\\p{L}+|\\s" }, { Regex: "(?:a+)+$" }, { Regex: "(a|a)*b" }, { Regex: "[[a-z]&&[^b]]" },
  { Regex: "(?<=a)b" }, { Regex: "a{2,9}?" },
  { Regex: "" }, { Regex: "(" }, { Regex: "\\" }, { Regex: "a(?=b)c|(?!d)" }, { String: "a" }, { String: "." }, { type: "Digits" },
  { type: "ByteLevel", add_prefix_space: true }, { type: "Metaspace", prepend_scheme: "never" }, { type: "NFKD" },
];

/** Another value in one to three places of a JSON file. */
function mutateJson(random: HostRandom, seeds: readonly Uint8Array[]): Uint8Array {
  const pick = <T>(list: readonly T[]): T => list[random.integer(list.length)]!;
  const file = JSON.parse(new TextDecoder().decode(pick(seeds))) as object;
  for (let changes = 1 + random.integer(3); changes > 0; changes--) {
    let place = file as Record<string, unknown>;
    for (;;) {
      const names = Object.keys(place);
      if (names.length === 0) break;
      const name = pick(names);
      const value = place[name];
      if (typeof value === "object" && value !== null && random.integer(5) > 0) {
        place = value as Record<string, unknown>;
        continue;
      }
      const kind = random.integer(4);
      if (kind === 0) delete place[name];
      else if (kind === 1) place[name] = structuredClone(pick(Object.values(place)));
      else if (typeof value === "string" && value.length > 3 && kind === 2) {
        const at = random.integer(value.length);
        place[name] = value.slice(0, at) + pick(["", "+", "*", "(", "|", "[", "\\", "a", "?", "{2}"]) + value.slice(at + random.integer(3));
      } else place[name] = structuredClone(pick(VALUES));
      break;
    }
  }
  return new TextEncoder().encode(JSON.stringify(file));
}

/** A mutation in one of the last lines, which are the ones that differ from each other. */
function mutateLine(random: HostRandom, seeds: readonly Uint8Array[]): Uint8Array {
  const lines = new TextDecoder().decode(seeds[random.integer(seeds.length)]).split("\n");
  const at = lines.length - 1 - random.integer(8);
  lines[at] = new TextDecoder().decode(mutate(random, [new TextEncoder().encode(lines[at])]));
  return new TextEncoder().encode(lines.join("\n"));
}

type Mutation = (random: HostRandom, seeds: readonly Uint8Array[]) => Uint8Array;

async function fuzz(
  name: string, seeds: readonly Uint8Array[], inputs: number, own: Mutation, open: (file: Uint8Array) => Promise<Tokenizer>,
): Promise<void> {
  const counts = { accepted: 0, E_FORMAT: 0, E_CONFIG: 0 };
  for (let i = 0; i < inputs; i++) {
    const random = hostRandom(foldIn(key(SEED), i));
    const bytes = (random.integer(4) === 0 ? mutate : own)(random, seeds);
    const begun = performance.now();
    try {
      check(await open(bytes));
      counts.accepted++;
    } catch (error) {
      if (!(error instanceof LenggenError && (error.code === "E_FORMAT" || error.code === "E_CONFIG"))) {
        throw new Error(`input ${i} of seed ${SEED} (${Buffer.from(bytes).toString("base64")}): ${String(error)}`, { cause: error });
      }
      counts[error.code]++;
    }
    const took = performance.now() - begun;
    if (took > MOST_MS) throw new Error(`input ${i} of seed ${SEED} took ${took} ms (${Buffer.from(bytes).toString("base64")})`);
  }
  console.log(`${name}: ${inputs} inputs: ${Object.entries(counts).map(([outcome, n]) => `${outcome} ${n}`).join(", ")}`);
  expect(counts.accepted).toBeGreaterThan(0);
  expect(counts.E_FORMAT).toBeGreaterThan(0);
}

/** Small files of every form that is read: the fixture's, with the few tokens that some words need. */
function small(): Uint8Array[] {
  interface Fixture {
    bases: Record<string, object>;
    variants: Record<string, { base: string; overrides: object }>;
  }
  const { bases, variants } = JSON.parse(readFileSync(new URL("../test/fixtures/tokenizers.json", import.meta.url), "utf8")) as Fixture;
  const models: Record<string, object> = {
    "byte-level": {
      model: { type: "BPE", vocab: { "<s>": 0, a: 1, b: 2, "Ġ": 3, ab: 4, "Ġab": 5, "Ã": 6, "©": 7 }, merges: ["a b", "Ġ ab"] },
    },
    spaces: {
      model: { type: "BPE", unk_token: "<unk>", byte_fallback: true, fuse_unk: true, merges: [["▁", "a"], ["▁a", "b"]],
        vocab: { "<unk>": 0, "<s>": 1, "</s>": 2, "▁": 3, a: 4, b: 5, "▁a": 6, "▁ab": 7, "<0xC3>": 8, "<0xA9>": 9 } },
    },
    unigram: { model: { type: "Unigram", unk_id: 0, vocab: [["<unk>", 0], ["▁", -2], ["a", -3], ["▁ab", -4.5], ["b", -3.5]] } },
  };
  return Object.values(variants).map(({ base, overrides }) => new TextEncoder().encode(JSON.stringify({
    ...bases[base], added_tokens: [{ id: base === "spaces" ? 1 : 0, content: base === "unigram" ? "<unk>" : "<s>", special: true }],
    ...overrides, ...models[base],
  })));
}

describe("tokenizers", () => {
  it("of tokenizer.json are refused or work", { timeout: 120_000 + 50 * INPUTS }, async () => {
    const seeds = small();
    for (const seed of seeds) check(await tokenizerJson(seed, "seed"));
    await fuzz("tokenizer.json", seeds, INPUTS, mutateJson, (file) => tokenizerJson(file, "fuzz"));
  });

  it("of RWKV World are refused or work", { timeout: 120_000 + 50 * INPUTS }, async () => {
    const lines = Array.from({ length: 256 }, (_, byte) => `${byte + 1} b'\\x${byte.toString(16).padStart(2, "0")}' 1`);
    const more = ["257 ' the' 4", "258 \"it's\" 4", "259 'é' 2", "260 b'\\xc3\\xa9\\xc3' 3", "261 '\\u3000\\n' 4", "262 'abcab' 5"];
    const seeds = [[...lines, ...more], [...more, ...lines]].map((all) => new TextEncoder().encode(all.join("\n")));
    for (const seed of seeds) check(await worldTokenizer(seed, "seed"));
    // A mutation in the long list of bytes is much like any other.
    await fuzz("RWKV World", seeds, Math.ceil(INPUTS / 4), mutateLine, (file) => worldTokenizer(file, "fuzz"));
  });
});
