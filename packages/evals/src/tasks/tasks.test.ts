import { key, LenggenError, wholeOf } from "@lenggen/kernels";
import { describe, expect, test } from "vitest";
import { TASKS, taskBatches, taskNamed } from ".";
import { bytes, compare, type Task, textOf } from "./task";

const text = bytes("It was a dark and stormy night; the rain fell in torrents, except at occasional intervals. ".repeat(400));
const all: Task[] = Object.values(TASKS);

describe.each(all.map((task) => [task.name, task] as const))("task %s", (name, task) => {
  const options = { text };

  test("makes prompts of exactly the length asked for, the same ones for the same key", () => {
    for (const length of [task.shortest(), task.shortest() + 1, 200, 1000, 5001]) {
      const sample = task.sample(key(3), length, options);
      expect(sample.prompt.length).toBe(length);
      expect(sample).toEqual(task.sample(key(3), length, options));
      expect(sample).not.toEqual(task.sample(key(4), length, options));
    }
  });

  test("scores the right answer 1 and others 0", () => {
    const sample = task.sample(key(5), 300, options);
    expect(task.score(sample, sample.answer)).toEqual({ exact: 1, characters: 1 });
    expect(task.score(sample, sample.answer.map((id) => id + 1)).exact).toBe(0);
    expect(task.score(sample, []).exact).toBe(0);
  });

  test("promptLength leaves room for the answer, and no more than needed", () => {
    for (const total of [160, 257, 1000]) {
      const longest = task.promptLength(total);
      const used = (length: number) => length + task.sample(key(0), length, options).answer.length;
      expect(used(longest)).toBeLessThanOrEqual(total);
      expect(used(longest + 1)).toBeGreaterThan(total);
    }
  });

  test("refuses a prompt that is too short", () => {
    expect(() => task.sample(key(0), task.shortest() - 1, options)).toThrow(`task ${name}: a prompt must be at least`);
  });

});

describe.each(all.filter((task) => task.hasDepth).map((task) => [task.name, task] as const))("task with depth %s", (_, task) => {
  const options = { text };

  test("puts the key at the depth asked for", () => {
    for (const depth of [0, 0.25, 0.5, 1]) {
      const { prompt, answer, depth: given } = task.sample(key(1), 2000, { ...options, depth });
      expect(given).toBe(depth);
      const secret = textOf(answer).replace(/[^a-z0-9=]/g, "");
      const at = textOf(prompt).indexOf(secret);
      expect(Math.abs(at / 2000 - depth)).toBeLessThan(0.06);
    }
    expect(() => task.sample(key(1), 2000, { ...options, depth: 1.5 })).toThrow("depth must be in 0 ... 1");
  });

});

describe.each(all.filter((task) => task.needsText).map((task) => [task.name, task] as const))("task in text %s", (_, task) => {
  test("asks for a text, and takes stretches of it again where it is too short", () => {
    expect(() => task.sample(key(0), 1000, {})).toThrow("give it as options.text");
    expect(() => task.sample(key(0), 1000, { text: [] })).toThrow("the text is empty");
    expect(task.sample(key(0), 1000, { text: text.subarray(0, 10) }).prompt.length).toBe(1000);
  });
});

describe.each(all.filter((task) => task.needsText).map((task) => [task.name, task] as const))("task in text that holds its marks: %s",
  (_, task) => {
  const notes = "see [[whale]], ]] and [[[ab=qzk]] [[ab>cd]]; The pass key is 12345, the PASS\nKEY; [a] x[0]; ";
  // A single bracket is no mark, also where a piece happens to stand beside it: of "[[[" the piece has the last two.
  const marks = task.name === "passkey-text" ? /pass\s*key/gi : /\[\[(?!\[)|\]\]/g;
  const placesOf = (tokens: ArrayLike<number>) => [...textOf(tokens).matchAll(marks)].map(({ 0: mark, index }) => [mark, index]);

  // The last are one letter, which stands beside itself only where stretches of it meet.
  test.each([notes.repeat(60), notes, "[", "]"])("hides and asks for what it made alone, in %#", (written) => {
    for (const [seed, length] of [[1, 300], [2, 301], [3, 4000], [4, 20_000]] as const) {
      const [sample, plain] = [written, "x".repeat(written.length)].map((given) => task.sample(key(seed), length, { text: bytes(given) }));
      expect(placesOf(sample!.prompt)).toEqual(placesOf(plain!.prompt));
      expect(sample!.answer).toEqual(plain!.answer);
    }
  });
});

// Of the version before marks were blanked: what was measured with such texts stays comparable.
test.each([["recall", 0x4da0f807], ["passkey-text", 0xe8012a1], ["two-hop", 0xd50b76a9],
  ["many-key", 0x28031c32]] as const)("%s: a text without marks makes the samples that it always made", (name, hash) => {
  const brackets = bytes("It was [a] dark and stormy night; x[0] = ]; the rain fell in torrents, except at occasional intervals. ".repeat(
    60));
  let words = 0x811c9dc5; // FNV-1a
  for (const length of [300, 2000, 9000]) {
    for (let seed = 0; seed < 8; seed++) {
      const { prompt, answer } = taskNamed(name).sample(key(seed), length, { text: brackets });
      for (const token of [...prompt, ...answer]) words = Math.imul(words ^ token, 0x01000193) >>> 0;
    }
  }
  expect(words).toBe(hash);
});

test("marks in a text become spaces, and all else stays", () => {
  const around = (task: Task) =>
    textOf(task.sample(key(1), task.shortest() + 66, { text: bytes("[[whale]] [a] x[0]] [[[b] The Pass\nKey is 1. "), depth: 1 }).prompt);
  expect(around(TASKS.recall)).toMatch(/^  whale   \[a\] x\[0      b\] The Pass\nKey is 1\. /);
  expect(around(TASKS["passkey-text"])).toMatch(/^\[\[whale\]\] \[a\] x\[0\]\] \[\[\[b\] The          is 1\. /);
});

describe.each(all.filter((task) => task.stream).map((task) => [task.name, task] as const))("streaming task %s", (_, task) => {
  const length = 20_000;

  test.each([["a long text", text], ["a short one", text.subarray(0, 5000)]])("makes the same sample piece by piece, in any order, from %s",
    (_name, source) => {
    const whole = task.sample(key(8), length, { text: source });
    const { prompt, ...expected } = task.stream!(key(8), length, { text: source });
    expect(prompt.length).toBe(length);
    expect(expected).toEqual({ answer: whole.answer, depth: whole.depth });
    expect(wholeOf(prompt)).toEqual(whole.prompt);
    for (const [start, count] of [[19_990, 10], [4000, 5000], [0, 1], [9999, 4097], [4096, 4096]] as const) {
      const part = new Int32Array(count);
      prompt.read(start, part);
      expect(part).toEqual(whole.prompt.subarray(start, start + count));
    }
  });

  test("makes the end of 16,777,216 tokens at once", () => {
    const { prompt } = task.stream!(key(8), 2 ** 24, { text });
    const tail = new Int32Array(200);
    prompt.read(2 ** 24 - 200, tail);
    expect(textOf(tail)).toMatch(/(\[\[([a-z]+[=>])?|pass key is)$/);
  });
});

describe("wording", () => {
  test("passkey is that of landmark attention, with five digits", () => {
    const { prompt, answer } = TASKS.passkey.sample(key(2), 600, { depth: 0.5, instructions: true });
    const secret = /\d{5}/.exec(textOf(answer))![0];
    expect(textOf(prompt)).toMatch(new RegExp(
      "^There is an important info hidden inside a lot of irrelevant text\\. Find it and memorize them\\. "
      + "I will quiz you about the important information there\\.\nThe grass is green\\. The sky is blue\\. .*\n"
      + `The pass key is ${secret}\\. Remember it\\. ${secret} is the pass key\\.\nThe grass is green\\..*\nWhat is the pass key\\? The `
      + "pass key is$"));
    expect(textOf(answer)).toBe(` ${secret}.`);
  });

  test("passkey: the first run of digits counts, whatever stands around it", () => {
    const sample = TASKS.passkey.sample(key(2), 300);
    const secret = textOf(sample.answer).trim().replace(".", "");
    const score = (given: string) => TASKS.passkey.score(sample, bytes(given));
    expect(score(`: ${secret} and so on 1`).exact).toBe(1);
    expect(score(`${secret}7`)).toEqual({ exact: 0, characters: 5 / 6 });
    expect(score("none")).toEqual({ exact: 0, characters: 0 });
  });

  test("recall and copying", () => {
    const found = TASKS.recall.sample(key(1), 60, { text, depth: 0.5 });
    expect(textOf(found.prompt)).toMatch(new RegExp(`^.{26}\\[\\[${textOf(found.answer)}\\]\\].{25}\\[\\[$`));
    const copy = TASKS.copying.sample(key(1), 22);
    expect(textOf(copy.prompt)).toMatch(/^\$[a-z]{20}\|$/);
    expect(textOf(copy.answer)).toBe(`${textOf(copy.prompt).slice(1, -1)}.`);
  });

  test("an unknown task gets the nearest name", () => {
    expect(() => taskNamed("paskey")).toThrow('no task is named "paskey" (did you mean "passkey"?)');
    expect(() => taskNamed("toString")).toThrow(LenggenError);
  });
});

test("compare counts places, and what is missing or too much as wrong", () => {
  expect(compare([1, 2, 3, 4], [1, 0, 3])).toEqual({ exact: 0, characters: 0.5 });
  expect(compare([1, 2], [1, 2, 3])).toEqual({ exact: 0, characters: 2 / 3 });
  expect(compare([1, 2], [1, 2])).toEqual({ exact: 1, characters: 1 });
});

describe("taskBatches", () => {
  test("rows hold prompt and answer, and weights tell them apart", () => {
    const source = taskBatches(TASKS.recall, { key: key(1), batch: 3, length: 64, text, promptWeight: 0.5, answerWeight: 2 });
    const { tokens, weights } = source.batch(7);
    expect(tokens.length).toBe(3 * 65);
    expect(weights.length).toBe(3 * 64);
    for (let row = 0; row < 3; row++) {
      const written = textOf(tokens.subarray(row * 65, row * 65 + 65));
      expect(written).toMatch(/\[\[([a-z]{3})\]\].*\[\[\1$/);
      // The last three predictions are the answer's.
      expect([...weights.subarray(row * 64, row * 64 + 64)]).toEqual([...Array.from({ length: 61 }, () => 0.5), 2, 2, 2]);
    }
    expect(source.batch(7)).toEqual({ tokens, weights });
    expect(source.batch(8).tokens).not.toEqual(tokens);
  });

  test("short rows are padded with weight 0, and lengths vary", () => {
    const { tokens, weights } = taskBatches(TASKS.copying, { key: key(1), batch: 16, length: 42, shortest: 13, promptWeight: 0 }).batch(0);
    const sizes = new Set<number>();
    for (let row = 0; row < 16; row++) {
      const written = textOf(tokens.subarray(row * 43, row * 43 + 43)).replace(/\0+$/, "");
      const letters = /^\$([a-z]+)\|\1\.$/.exec(written)![1]!.length;
      sizes.add(letters);
      const own = weights.subarray(row * 42, row * 42 + 42);
      expect(own.reduce((a, b) => a + b)).toBe(letters + 1);
      expect(own[letters + 1]).toBe(1); // after the bar comes the first letter
      expect(own[letters]).toBe(0);
    }
    expect(sizes.size).toBeGreaterThan(3);
  });

  test("rows of one length share their segment ends, and other rows stay as they are", () => {
    const options = { key: key(1), batch: 4, length: 120, shortest: 40, text } as const;
    const source = taskBatches(TASKS["key-retrieval"], { ...options, sharedLength: true });
    const lengths = new Set<number>();
    for (let step = 0; step < 8; step++) {
      const { tokens, weights, ends } = source.batch(step);
      const [end] = ends!;
      lengths.add(end!);
      expect(ends).toHaveLength(1);
      for (let row = 0; row < 4; row++) {
        const written = textOf(tokens.subarray(row * 121, row * 121 + 121)).replace(/\0+$/, "");
        const answered = /\[\[([a-z]{3})\]\].*\[\[\1$/.exec(written)!;
        expect(written.length).toBe(end! + 1 + answered[1]!.length); // the prompt's last token opens a segment
        expect([...weights.subarray(row * 120, row * 120 + 120)].filter((weight) => weight > 0).length).toBe(written.length - 1);
      }
    }
    expect(lengths.size).toBeGreaterThan(4);
    expect(taskBatches(TASKS["key-retrieval"], { ...options, sharedLength: true, ends: 3 }).batch(2).ends)
      .toEqual(Array(3).fill(source.batch(2).ends![0]));
    expect(taskBatches(TASKS["key-retrieval"], options).batch(0)).not.toHaveProperty("ends");
    expect(() => taskBatches(TASKS["key-retrieval"], { ...options, ends: 1 })).toThrow("together with sharedLength");
  });

  test("rows may ask several questions", () => {
    const options = { key: key(2), batch: 3, length: 160, text, sharedLength: true, nameLength: 1, ends: 2 } as const;
    const { tokens, weights, ends } = taskBatches(TASKS["many-key"], { ...options, questions: 3, answerWeight: 9 }).batch(0);
    expect(ends).toEqual([143, 143, 150, 150, 157, 157]);
    for (let row = 0; row < 3; row++) {
      const written = textOf(tokens.subarray(row * 161, row * 161 + 161));
      const asked = [...written.slice(-21).matchAll(/\[\[([a-z])=([a-z]{3})/g)];
      expect(asked).toHaveLength(3);
      for (const [question] of asked) expect(written.slice(0, -21)).toContain(`${question}]]`);
      expect([...weights.subarray(row * 160, row * 160 + 160)].filter((weight) => weight === 9)).toHaveLength(9);
      expect(weights[row * 160 + 143]).toBe(9); // after "[[a=" the first letter
    }
    expect(() => taskBatches(TASKS.copying, { ...options, questions: 2 })).toThrow("several of its questions");
    expect(() => taskBatches(TASKS["many-key"], { ...options, questions: 0 })).toThrow("questions must be a whole number of at least 1");
  });

  test("refuses rows that no prompt fits into", () => {
    expect(() => taskBatches(TASKS.passkey, { key: key(0), batch: 1, length: 64 })).toThrow("can't hold a prompt");
  });
});
