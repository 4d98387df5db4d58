import { key, wholeOf } from "@lenggen/kernels";
import { describe, expect, test } from "vitest";
import { keyRetrieval, manyKey, twoHop } from "./keys";
import { bytes, textOf } from "./task";

const text = bytes("It was a dark and stormy night; the rain fell in torrents, except at occasional intervals. ".repeat(40));
const written = (tokens: ArrayLike<number>): string => textOf(tokens);
const LENGTH = 1000;

describe("key retrieval", () => {
  test("hides one key and asks for it", () => {
    const { prompt, answer } = keyRetrieval.sample(key(1), 60, { text, depth: 0.5 });
    expect(written(prompt)).toMatch(new RegExp(`^.{26}\\[\\[${written(answer)}\\]\\].{25}\\[\\[$`));
  });

  test("may give it a name, other lengths, and noise around", () => {
    const options = { keyLength: 5, nameLength: 2, filler: "noise" } as const;
    const { prompt, answer } = keyRetrieval.sample(key(1), 200, options);
    expect(written(prompt)).toMatch(/^[a-z ]*\[\[([a-z]{2})=([a-z]{5})\]\][a-z ]*\[\[\1=$/);
    expect(answer.length).toBe(5);
    expect(keyRetrieval.promptLength(100, options)).toBe(95);
    const letters = new Set(keyRetrieval.sample(key(2), 20_000, options).prompt);
    expect(letters.size).toBe(27 + 3); // a ... z, the space, and [ ] =
  });
});

describe("many keys", () => {
  test("asks for one of several, at its depth", () => {
    const found = new Set<string>();
    for (let seed = 0; seed < 20; seed++) {
      const { prompt, answer } = manyKey.sample(key(seed), LENGTH, { text, keys: 6, depth: 0.25 });
      const pairs = [...written(prompt).matchAll(/\[\[([a-z]{2})=([a-z]{3})\]\]/g)];
      expect(new Set(pairs.map((pair) => pair[1])).size).toBe(6);
      const [, asked] = /\[\[([a-z]{2})=$/.exec(written(prompt))!;
      const right = pairs.find((pair) => pair[1] === asked)!;
      expect(right[2]).toBe(written(answer));
      expect(Math.abs(right.index / LENGTH - 0.25)).toBeLessThan(0.07);
      found.add(String(pairs.indexOf(right)));
    }
    expect(found.size).toBeGreaterThan(2); // the others stand on both sides of it
  });

  test("may have names that are alike, of a few letters drawn for each text", () => {
    const lettersOf = (seed: number) => {
      const { prompt } = manyKey.sample(key(seed), LENGTH, { text, keys: 20, nameLength: 5, nameLetters: 3 });
      const names = [...written(prompt).matchAll(/\[\[([a-z]{5})=[a-z]{3}\]\]/g)].map((match) => match[1]!);
      expect(new Set(names).size).toBe(20);
      return [...new Set(names.join(""))].sort().join("");
    };
    const drawn = new Set(Array.from({ length: 20 }, (_, seed) => lettersOf(seed)));
    for (const letters of drawn) expect(letters).toHaveLength(3);
    expect(drawn.size).toBeGreaterThan(15);
  });

  test("refuses more keys than there are names", () => {
    expect(() => manyKey.sample(key(0), 5000, { text, nameLength: 2, nameLetters: 2, keys: 5 }))
      .toThrow("can't be told apart by names of 2 letters out of 2");
    for (const nameLetters of [0, 27, 1.5])
      expect(() => manyKey.sample(key(0), 5000, { text, nameLetters })).toThrow("nameLetters must be a whole number from 1 to 26");
    expect(() => manyKey.sample(key(0), 5000, { text, nameLength: 1, keys: 27 })).toThrow("can't be told apart by names of 1 letters");
    expect(() => manyKey.sample(key(0), 5000, { text, keys: 0 })).toThrow("keys must be a whole number of at least 1");
    expect(() => manyKey.sample(key(0), 5000, { text, keyLength: 0 })).toThrow("keyLength must be");
  });
});

describe("two hops", () => {
  test("the name asked for leads to a second one and that one to the key; another chain leads elsewhere", () => {
    let both = 0;
    for (let seed = 0; seed < 20; seed++) {
      const { prompt, answer } = twoHop.sample(key(seed), LENGTH, { text, depth: 0.75 });
      const links = new Map([...written(prompt).matchAll(/\[\[([a-z]{2})>([a-z]{2})\]\]/g)].map((m) => [m[1]!, m[2]!]));
      const values = new Map([...written(prompt).matchAll(/\[\[([a-z]{2})=([a-z]{3})\]\]/g)]
        .map((m) => [m[1]!, { value: m[2]!, at: m.index }]));
      expect([links.size, values.size]).toEqual([2, 2]);
      const [, asked] = /\[\[([a-z]{2})>$/.exec(written(prompt))!;
      const second = links.get(asked!)!;
      const { value, at } = values.get(second)!;
      expect(written(answer)).toBe(`${second}=${value}`);
      expect(Math.abs(at / LENGTH - 0.75)).toBeLessThan(0.07);
      if (written(prompt).indexOf(`[[${asked}>`) < at) both++;
    }
    expect(both).toBeGreaterThan(5); // the pieces come in either order
    expect(both).toBeLessThan(20);
  });

  test("needs names", () => {
    expect(() => twoHop.sample(key(0), 500, { text, nameLength: 0 })).toThrow("nameLength must be a whole number of at least 1");
  });
});

describe("a stream with several questions", () => {
  test.each([["many-key", manyKey], ["two-hop", twoHop]] as const)("%s: holds the answer to each, at its depth", (_, task) => {
    const depths = [0, 0.2, 0.9, 1];
    const { tokens, questions } = task.haystack!(key(3), 3000, depths, { text });
    const all = written(wholeOf(tokens));
    expect(all.length).toBe(3000);
    questions.forEach(({ prompt, answer, depth }, i) => {
      expect(depth).toBe(depths[i]);
      const [, name] = /^\[\[([a-z]{2})[=>]$/.exec(written(prompt))!;
      const piece = task === manyKey ? `${name}=${written(answer)}` : written(answer);
      if (task === twoHop) expect(all).toContain(`[[${name}>${piece.split("=")[0]}]]`);
      const at = all.indexOf(`[[${piece}]]`);
      expect(at).toBeGreaterThanOrEqual(0);
      expect(Math.abs(at / 3000 - depth!)).toBeLessThan(0.04);
    });
  });

  test("refuses what can't be asked", () => {
    expect(() => keyRetrieval.haystack!(key(0), 500, [0.2, 0.4], { text })).toThrow("give a larger nameLength");
    expect(() => manyKey.haystack!(key(0), 19, [0.2, 0.4], { text })).toThrow("must be at least 20 tokens long");
    expect(() => manyKey.haystack!(key(0), 500, [1.2], { text })).toThrow("depth must be in 0 ... 1");
  });
});
