import { type Device, joinTokens, key } from "@lenggen/kernels";
import { beforeEach, describe, expect, test } from "vitest";
import { TASKS } from "../tasks";
import { compare, type Task } from "../tasks/task";
import { reference, tinyModel } from "../tinyModel.fixture";
import { askedFromOneStream } from "./askedFromOneStream";

let device: Device;
beforeEach(async () => {
  // One for each test: what another left to the garbage collector may be freed while memory is compared.
  device = await reference();
});

/** Each question says its own answer, three times; what is right in the first half of the stream is wrong in the second. */
const telling: Task = {
  ...TASKS["many-key"],
  name: "telling",
  haystack: (_key, length, depths) => ({
    tokens: joinTokens([new Int32Array(length).fill(7)]),
    questions: depths.map((depth, i) => {
      const digit = 1 + (i % 6);
      return { prompt: new Int32Array(3).fill(digit), answer: new Int32Array(2).fill(depth < 0.5 ? digit : 0), depth };
    }),
  }),
  score: ({ answer }, generated) => compare(answer, generated),
};

describe("askedFromOneStream", () => {
  test("asks each question from the same state, and leaves nothing behind", async () => {
    const passes: { tokens: number; ends: readonly number[] }[] = [];
    const model = tinyModel({ memory: 4, record: true, passes });
    const parameters = model.init(key(0), device);
    const before = device.memory().used;
    const progress: number[] = [];
    const result = await askedFromOneStream(model, parameters, telling, {
      key: key(1), length: 50, questions: 6, chunk: 20, ends: 2, onProgress: (done) => progress.push(done),
    });
    expect(result).toMatchObject({ task: "telling", length: 50, accuracy: 0.5, characters: 0.5, teacherForced: 0.5 });
    expect(result.questions.map(({ depth, exact }) => [depth, exact]))
      .toEqual([[1 / 12, 1], [3 / 12, 1], [5 / 12, 1], [7 / 12, 0], [9 / 12, 0], [11 / 12, 0]]);
    expect(result.questions[0]!.answerBits).toBeLessThan(result.questions[5]!.answerBits);
    expect(progress).toEqual([20, 40, 50]);
    const question = [{ tokens: 2, ends: [] }, { tokens: 1, ends: [0, 0] }, { tokens: 1, ends: [] }, { tokens: 1, ends: [] }];
    expect(passes).toEqual([20, 20, 10].map((tokens) => ({ tokens, ends: [] as number[] }))
      .concat(...Array.from({ length: 6 }, () => question)));
    expect(device.memory().used).toBe(before);
  });

  test("takes depths, and refuses tasks with one question", async () => {
    const model = tinyModel({ memory: 4 });
    const parameters = model.init(key(0), device);
    const { questions } = await askedFromOneStream(model, parameters, telling, { key: key(1), length: 9, depths: [0.1, 0.9] });
    expect(questions.map(({ depth }) => depth)).toEqual([0.1, 0.9]);
    await expect(askedFromOneStream(model, parameters, TASKS.passkey, { key: key(1), length: 900 })).rejects.toThrow(
      "has one question per text");
    await expect(askedFromOneStream(model, parameters, telling, { key: key(1), length: 9, questions: 0 })).rejects.toThrow(
      "questions must be");
  });

  test("works with the tasks that have it", async () => {
    const model = tinyModel({ vocabulary: 256 });
    const parameters = model.init(key(0), device);
    const result = await askedFromOneStream(model, parameters, TASKS["many-key"],
      { key: key(1), length: 700, questions: 3, filler: "noise" });
    expect(result.questions).toHaveLength(3);
    expect(result.answerBits).toBeGreaterThan(0);
  });
});
