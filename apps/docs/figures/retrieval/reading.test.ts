import { readFileSync } from "node:fs";
import { devices, open } from "@lenggen/kernels";
import { describe, expect, it } from "vitest";
import { prepareFigures } from "../prepare.mjs";
import { stillOfReading } from "./matrix";
import { openReader, readAndAsk } from "./reading";
import { answerLength, askerOf, CHUNK, chunksOf, findingOf, keysOf, type Landmark, picksOf, plain, type Recorded, verdictOf } from "./text";

const here = (name: string) => new URL(name, import.meta.url);
const recorded = JSON.parse(readFileSync(here("recorded.json"), "utf8")) as Recorded;
const cpu = (await devices()).find(({ name }) => name === "cpu")!;
if (!cpu.available) console.warn(`the recorded reading is not done again: not run: ${cpu.reason}`);
const question = recorded.landmarks.length - 2;

describe("the recorded reading", () => {
  it("finds the key", () => {
    expect(recorded.answer).toBe(keysOf(recorded.text).get(recorded.name)!.key);
    expect(verdictOf(recorded)).toBe("right");
    expect(findingOf(recorded, question)).toMatch(/^The landmark of the question picks 8 of 14 earlier chunks, .* holds the key\.$/);
    for (const { shares, chunk } of recorded.landmarks) {
      expect(shares.length).toBe(chunk);
      if (chunk > 0) expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 3);
    }
  });

  it("is what the still shows", () => {
    expect(readFileSync(here("still.svg"), "utf8") === stillOfReading(recorded),
      "still.svg is older than recorded.json: run apps/docs/scripts/record-figures.mjs retrieval").toBe(true);
  });

  it.runIf(cpu.available)("is what the model makes of the text, also of one whose chunks end with the question", async () => {
    const made = await prepareFigures();
    const device = await open("cpu");
    const weights = new Uint8Array(readFileSync(`${made}/drt.safetensors`));
    const reader = await openReader(readFileSync(`${made}/drt.json`, "utf8"), weights, device);
    expect([reader.model.settings.chunk, reader.model.settings.topK, reader.model.settings.groups.length]).toEqual([CHUNK, 8, 1]);
    const read = async (text: string): Promise<{ landmarks: Landmark[]; answer: string }> => {
      const landmarks: Landmark[] = [];
      let answer = "";
      await readAndAsk(reader, text, recorded.name, (told) => {
        if (told.kind === "landmark") landmarks.push(told.landmark);
        else answer = told.answer;
      });
      return { landmarks, answer };
    };
    const { landmarks, answer } = await read(recorded.text);
    expect(answer).toBe(recorded.answer);
    landmarks.forEach(({ shares }, i) => shares.forEach((share, j) => expect(share).toBeCloseTo(recorded.landmarks[i]!.shares[j]!, 2)));
    const asked = `[[${recorded.name}`.length;
    const even = recorded.text.slice(0, 12 * CHUNK - asked);
    expect((await read(even)).landmarks.map(({ shares }) => shares.length)).toEqual(Array.from({ length: 13 }, (_, i) => i));
    device.close();
  });
});

describe("a text with keys", () => {
  const text = `${"x".repeat(60)}[[ab=qzk]] and [[ab=no]] [[cd=w]]`;

  it("is cut as the model cuts it, the question with it", () => {
    expect(chunksOf(text, "ab")).toEqual([text.slice(0, 64), `${text.slice(64)}[[ab`]);
    expect(plain("caf\u00e9\u2014ok")).toBe("caf  ok");
    expect([...keysOf(text)]).toEqual([["ab", { key: "qzk", at: 60 }], ["cd", { key: "w", at: 85 }]]);
    expect([answerLength(text, "ab"), answerLength(text, "cd"), answerLength(text, "none")]).toEqual([3, 1, 3]);
  });

  it("says what a landmark picks, and what came of the question", () => {
    const landmarks = [{ chunk: 0, shares: [] }, { chunk: 1, shares: [1] }, { chunk: 2, shares: [0.2, 0.8] }];
    const reading = { text, name: "ab", landmarks };
    expect(findingOf(reading, 0)).toBe("The first landmark has no chunk before it to score.");
    expect(picksOf(reading.landmarks[2]!)).toEqual([{ chunk: 1, weight: 0.8 }, { chunk: 0, weight: 0.2 }]);
    expect([0, 1, 2].map((at) => askerOf(reading, at))).toEqual(["chunk 1", "the question", "the question, once more"]);
    expect(verdictOf({ ...reading, answer: "qzz" })).toBe("wrong: the key is qzk");
    expect(verdictOf({ ...reading, name: "zz", answer: "qzz" })).toBe("no key of the name zz stands in the text");
  });
});
