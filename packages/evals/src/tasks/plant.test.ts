import { key } from "@lenggen/kernels";
import { describe, expect, it } from "vitest";
import { plantKeys } from "./plant";

const text = new TextEncoder().encode("The grass is green and the sky is blue. ".repeat(200));
const options = { key: key(1), distance: [8, 90], pause: 30, answerWeight: 5 } as const;

describe("planted keys", () => {
  const planted = plantKeys(text, [0, 4000], options);
  const written = new TextDecoder().decode(planted.tokens);
  const mentions = [...written.matchAll(/\[\[([a-z]{3})\]\]/g)].map((match) => ({ key: match[1]!, at: match.index }));

  it("come in pairs of key and question, at the distances asked for", () => {
    expect(mentions.length).toBeGreaterThan(50);
    expect(mentions.length % 2).toBe(0);
    for (let i = 0; i < mentions.length; i += 2) {
      expect(mentions[i + 1]!.key).toBe(mentions[i]!.key);
      const between = mentions[i + 1]!.at - mentions[i]!.at - "[[abc]]".length;
      expect(between).toBeGreaterThanOrEqual(8);
      expect(between).toBeLessThanOrEqual(90);
    }
  });

  it("leave the text as it was, document by document", () => {
    const without = written.replaceAll(/\[\[[a-z]{3}\]\]/g, "");
    expect(without).toBe(new TextDecoder().decode(text));
    const [, second] = planted.documents;
    expect(written.slice(second).replaceAll(/\[\[[a-z]{3}\]\]/g, "")).toBe(new TextDecoder().decode(text.subarray(4000)));
  });

  it("are the only marks: those of the text are blanked", () => {
    const marked = new TextEncoder().encode("see [[whale]] and [a] [[[b]]; ".repeat(200));
    const { tokens } = plantKeys(marked, [0], options);
    const found = [...new TextDecoder().decode(tokens).matchAll(/\[\[(?!\[)([a-z]{3})?(\]\])?/g)].map(([mark]) => mark);
    expect(found.length).toBeGreaterThan(50);
    expect(found).toEqual(found.map(() => expect.stringMatching(/^\[\[[a-z]{3}\]\]$/) as string));
    for (let i = 0; i < found.length; i += 2) expect(found[i + 1]).toBe(found[i]);
    expect(new TextDecoder().decode(marked)).toContain("[[whale]]"); // what was given is as it was
  });

  it("weigh the answer, and not the first mention", () => {
    const weighed = (at: number) => Array.from(planted.weights.subarray(at, at + 7));
    mentions.forEach(({ at }, i) => expect(weighed(at)).toEqual(i % 2 === 0 ? [1, 1, 0, 0, 0, 1, 1] : [1, 1, 5, 5, 5, 1, 1]));
    expect(planted.weights).toHaveLength(planted.tokens.length);
  });

  it("are the same for the same key only", () => {
    expect(plantKeys(text, [0, 4000], options)).toEqual(planted);
    expect(plantKeys(text, [0, 4000], { ...options, key: key(2) }).tokens).not.toEqual(planted.tokens);
  });

  it("need distances in order", () => {
    expect(() => plantKeys(text, [0], { ...options, distance: [9, 3] })).toThrowError(expect.objectContaining({ code: "E_ARGUMENT" }));
  });
});
