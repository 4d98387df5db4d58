import { type Device, key } from "@lenggen/kernels";
import { beforeEach, describe, expect, test } from "vitest";
import { TASKS } from "../tasks";
import { begin, compare, type Task } from "../tasks/task";
import { lossOf, reference, tinyModel } from "../tinyModel.fixture";
import { taskAccuracy } from "./taskAccuracy";

let device: Device;
beforeEach(async () => {
  // One for each test: what another left to the garbage collector may be freed while memory is compared.
  device = await reference();
});

/** Zeros with three of one other token at a depth; what stands there is the answer, three times. */
const planted: Task = {
  name: "planted", summary: "", settings: {}, needsText: false, hasDepth: true,
  shortest: () => 4,
  promptLength: (total) => total - 3,
  sample(sampleKey, length, options = {}) {
    const { random, depth } = begin(planted, sampleKey, length, options);
    const prompt = Int32Array.from({ length }, (_, i) => i % 4); // 0 1 2 3 in turn, as often as each other
    const answer = 4 + random.integer(4);
    prompt.fill(answer, Math.round(depth * (length - 3)), Math.round(depth * (length - 3)) + 3);
    return { prompt, answer: new Int32Array(3).fill(answer), depth };
  },
  score: (sample, generated) => compare(sample.answer, generated),
};

describe("taskAccuracy", () => {
  test("a model that sees the last four tokens answers at depth 1 and never at depth 0", async () => {
    const model = tinyModel({ memory: 4 });
    const { task, cells } = await taskAccuracy(model, model.init(key(0), device), planted,
      { key: key(1), lengths: [20, 100], depths: [0, 1], samples: 5, batch: 2, chunk: 16 });
    expect(task).toBe("planted");
    expect(cells.map(({ length, depth, accuracy }) => [length, depth, accuracy]))
      .toEqual([[20, 0, 0], [20, 1, 1], [100, 0, 0], [100, 1, 1]]);
    expect(cells[1]).toMatchObject({ samples: 5, correct: 5, characters: 1, teacherForced: 1 });
    // Told the first two letters, it has two of them among its four tokens, and knows the third.
    expect(cells[0]!.teacherForced).toBeCloseTo(1 / 3, 12);
    expect(cells[1]!.ci95[1]).toBe(1);
    expect(cells[1]!.ci95[0]).toBeCloseTo(0.5655, 3); // Wilson, 5 of 5
  });

  test("samples draw their depths from a band around the one asked for", async () => {
    const model = tinyModel({ memory: 4 });
    const drawn: number[] = [];
    const noting: Task = { ...planted, sample(sampleKey, length, options) {
      drawn.push(options!.depth!);
      return planted.sample(sampleKey, length, options);
    } };
    const options = { key: key(1), lengths: [20], depths: [0.5, 0.99], spread: 0.1, samples: 20 };
    const { cells } = await taskAccuracy(model, model.init(key(0), device), noting, options);
    expect(cells.map(({ depth }) => depth)).toEqual([0.5, 0.99]);
    const [middle, end] = [drawn.slice(0, 20), drawn.slice(20)];
    expect(new Set(middle).size).toBe(20);
    expect(Math.min(...middle)).toBeGreaterThanOrEqual(0.4);
    expect(Math.min(...middle)).toBeLessThan(0.45);
    expect(Math.max(...middle)).toBeLessThanOrEqual(0.6);
    expect(Math.max(...middle)).toBeGreaterThan(0.55);
    expect(Math.max(...end)).toBe(1);
    await expect(taskAccuracy(model, model.init(key(0), device), noting, { ...options, spread: -1 })).rejects.toThrow(
      /spread must be from 0 to 1, not -1/);
  });

  test("the loss of the right answer is that computed by hand", async () => {
    const model = tinyModel({ sharpness: 0.4 });
    const { cells } = await taskAccuracy(model, model.init(key(0), device), planted,
      { key: key(2), lengths: [12], samples: 3, depth: 0.5 });
    const counts = [0, 0, 0, 0, 0, 0, 0, 0];
    const { prompt } = planted.sample(key(0), 12, { depth: 0.5 });
    for (const id of prompt) counts[id >= 4 ? 4 : id]! += 1; // which letter it is does not matter
    let nats = 0;
    for (let i = 0; i < 3; i++) {
      nats += lossOf(counts, 0.4, 4);
      counts[4]! += 1;
    }
    expect(cells[0]!.answerBits).toBeCloseTo(nats / 3 / Math.LN2, 4);
    expect(cells[0]!.depth).toBe(0.5);
  });

  test("generated answers feed on themselves: what a counting model says first, it says again", async () => {
    const model = tinyModel();
    const { cells } = await taskAccuracy(model, model.init(key(0), device), { ...planted, sample: (...given) => {
      const { prompt, depth } = planted.sample(...given);
      const counts = [0, 1, 2, 3, 4, 5, 6, 7].map((v) => prompt.filter((id) => id === v).length);
      return { prompt, answer: new Int32Array(3).fill(counts.indexOf(Math.max(...counts))), depth };
    } }, { key: key(3), lengths: [7, 30], samples: 4 });
    expect(cells.map((cell) => cell.accuracy)).toEqual([1, 1]);
  });

  test("leaves memory as it was, reports progress, and can be stopped", async () => {
    const model = tinyModel();
    const parameters = model.init(key(0), device);
    const before = device.memory().used;
    let last = [0, 1];
    const options = { key: key(1), lengths: [10, 50], samples: 3, batch: 2, onProgress: (...p: [number, number]) => (last = p) };
    await taskAccuracy(model, parameters, planted, options);
    expect(last[0]).toBe(last[1]);
    expect(device.memory().used).toBe(before);
    await expect(taskAccuracy(model, parameters, planted,
      { ...options, signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "E_INTERRUPTED" });
    await expect(taskAccuracy(model, parameters, planted, { ...options, samples: 0 })).rejects.toThrow("samples must be");
  });

  test("ends the segment before the prompt's last token, wherever chunks end, and nowhere in the answer", async () => {
    const run = async (options: { ends?: number; chunk: number }) => {
      const passes: { tokens: number; ends: readonly number[] }[] = [];
      const model = tinyModel({ passes });
      await taskAccuracy(model, model.init(key(0), device), planted, { key: key(1), lengths: [20], samples: 2, ...options });
      return passes.map(({ tokens, ends }) => [tokens, ends]);
    };
    const answer = [[2, []], [1, []], [1, []]]; // teacher-forced, then token by token
    expect(await run({ chunk: 100 })).toEqual([[19, [19]], [1, []], ...answer]);
    expect(await run({ chunk: 10, ends: 2 })).toEqual([[10, []], [9, [9, 9]], [1, []], ...answer]);
    expect(await run({ chunk: 100, ends: 0 })).toEqual([[19, []], [1, []], ...answer]);
    await expect(run({ chunk: 1, ends: -1 })).rejects.toThrow("ends must be a whole number");
  });

  test("states that share tensors are freed once, and all of them", async () => {
    const model = tinyModel({ record: true });
    const parameters = model.init(key(0), device);
    const before = device.memory().used;
    const { cells } = await taskAccuracy(model, parameters, planted, { key: key(1), lengths: [40], samples: 3, chunk: 7 });
    expect(cells).toHaveLength(1);
    expect(device.memory().used).toBe(before);
  });

  test("a task that streams is never asked for a whole prompt", async () => {
    const longest: number[] = [];
    const streamed: Task = {
      ...planted,
      sample: () => expect.unreachable(),
      stream: (sampleKey, length, options) => {
        const { prompt, ...expected } = planted.sample(sampleKey, length, options);
        return { ...expected, prompt: { length, read: (start, into) => {
          longest.push(into.length);
          into.set(prompt.subarray(start, start + into.length));
        } } };
      },
    };
    const model = tinyModel({ memory: 4 });
    const options = { key: key(1), lengths: [500], depths: [0, 1], samples: 3, chunk: 64 };
    const parameters = model.init(key(0), device);
    expect(await taskAccuracy(model, parameters, streamed, options)).toEqual(await taskAccuracy(model, parameters, planted, options));
    expect(Math.max(...longest)).toBe(64);
  });

  test("holds no more for a longer answer, and goes through it in the chunks asked for", async () => {
    const device = await reference(); // of its own, whose memory nobody else uses
    const passes: { tokens: number; ends: readonly number[] }[] = [];
    const model = tinyModel({ vocabulary: 128, passes });
    const parameters = model.init(key(0), device);
    const before = device.memory().used;
    const run = async (length: number, chunk: number) => {
      passes.length = 0;
      device.resetPeak();
      const { cells } = await taskAccuracy(model, parameters, TASKS.copying, { key: key(1), lengths: [length], samples: 2, chunk });
      expect(device.memory().used).toBe(before);
      return { peak: device.memory().peak - before, cell: cells[0]!, longest: Math.max(...passes.map(({ tokens }) => tokens)) };
    };
    const [short, long] = [await run(64, 16), await run(640, 16)];
    expect([short.longest, long.longest]).toEqual([16, 16]);
    expect(long.peak).toBeLessThanOrEqual(short.peak);
    const { peak, cell } = await run(640, 640);
    expect(peak).toBeGreaterThan(10 * long.peak);
    expect(long.cell).toEqual({ ...cell, answerBits: expect.closeTo(cell.answerBits, 6) as number });
  });

  test("can be stopped while an answer is written", async () => {
    const device = await reference(); // of its own, whose memory nobody else uses
    const model = tinyModel({ vocabulary: 128 });
    const parameters = model.init(key(0), device);
    const before = device.memory().used;
    const controller = new AbortController();
    let left = 40; // the prompt takes 5 passes, the right answer 4 and the written one 63
    const counting = { ...model, forward: (...given: Parameters<typeof model.forward>) => {
      if (--left === 0) controller.abort();
      return model.forward(...given);
    } };
    const stopped = taskAccuracy(counting, parameters, TASKS.copying,
      { key: key(1), lengths: [64], samples: 2, chunk: 16, signal: controller.signal });
    await expect(stopped).rejects.toMatchObject({ code: "E_INTERRUPTED" });
    expect(left).toBeGreaterThan(-16);
    expect(device.memory().used).toBe(before);
  });

  test("refuses an answer that the model has no tokens for", async () => {
    const device = await reference(); // of its own, whose memory nobody else uses
    const model = tinyModel({ vocabulary: 100 });
    const parameters = model.init(key(0), device);
    const before = device.memory().used;
    const unknown: Task = { ...planted, sample: (...given) => ({ ...planted.sample(...given), answer: Int32Array.of(7, 100) }) };
    await expect(taskAccuracy(model, parameters, unknown, { key: key(1), lengths: [9], samples: 2 })).rejects.toMatchObject({
      code: "E_ARGUMENT", message: expect.stringContaining("token 100 is outside the vocabulary 0 ... 99") as string,
    });
    expect(device.memory().used).toBe(before);
  });
});
