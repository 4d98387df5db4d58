import { type Device, key } from "@lenggen/kernels";
import { beforeEach, describe, expect, test } from "vitest";
import { lossOf, noise, reference, tinyModel } from "../tinyModel.fixture";
import { lossByPosition, shortWindows } from "./lossByPosition";

let device: Device;
beforeEach(async () => {
  // One for each test: what another left to the garbage collector may be freed while memory is compared.
  device = await reference();
});

describe("the windows of the short-context reference", () => {
  test.each([[256, 1000], [255, 1000], [2, 9], [16, 16], [16, 7], [7, 100]])("T = %i, L = %i: every position is scored once",
    (trainLength, length) => {
    const scored = Array.from({ length }, () => 0);
    for (const { start, scoreFrom, scoreTo } of shortWindows(length, trainLength)) {
      expect(start).toBeGreaterThanOrEqual(0);
      for (let position = scoreFrom + 1; position <= scoreTo; position++) {
        scored[position - 1]! += 1;
        const history = position - start;
        expect(history).toBeLessThanOrEqual(trainLength);
        expect(history).toBeGreaterThanOrEqual(Math.min(position, Math.floor(trainLength / 2)));
      }
    }
    expect(scored.every((times) => times === 1)).toBe(true);
  });
});

describe("lossByPosition", () => {
  const sequences = [1, 2, 3].map((seed) => noise(1025, 8, seed));

  test("a model that remembers less than T/2 tokens has a ratio of 1 everywhere", async () => {
    const model = tinyModel({ memory: 8, sharpness: 0.5 });
    const { bins, lengths } = await lossByPosition(model, model.init(key(0), device), sequences,
      { trainLength: 16, lengths: [16, 1024], chunk: 50 });
    for (const bin of [...bins, ...lengths]) {
      expect(bin.ratio).toBeCloseTo(1, 5);
      expect(bin.bitsPerByte).toBeCloseTo(bin.referenceBitsPerByte, 5);
      expect(bin.ratioCi95![1] - bin.ratioCi95![0]).toBeLessThan(1e-4);
    }
    expect(bins.reduce((sum, bin) => sum + bin.count, 0)).toBe(3 * 1024);
  });

  test("a model whose state grows without bound is hurt by its history, by the factor computed by hand", async () => {
    const model = tinyModel({ sharpness: 0.5 });
    const result = await lossByPosition(model, model.init(key(0), device), sequences, { trainLength: 32, lengths: [1024], chunk: 128 });
    for (const bin of result.bins.filter((b) => b.to <= 32)) expect(bin.ratio).toBeCloseTo(1, 5);
    const last = result.lengths[0]!;
    const byHand = sequences.map((sequence) => {
      const counts = new Float64Array(8);
      let nats = 0;
      for (let t = 1; t <= 1024; t++) {
        counts[sequence[t - 1]!]! += 1;
        if (t > 512) nats += lossOf(counts, 0.5, sequence[t]!);
      }
      return nats / 512 / Math.LN2;
    });
    expect(last.bitsPerByte).toBeCloseTo((byHand[0]! + byHand[1]! + byHand[2]!) / 3, 3);
    expect(last.ratio).toBeGreaterThan(1.2);
    expect(last.ratioCi95![0]).toBeLessThan(last.ratio);
    expect(last.ratioCi95![1]).toBeGreaterThan(last.ratio);
  });

  test("edges include T, every length and its half; positions are upper edges", async () => {
    const model = tinyModel({ memory: 2 });
    const { bins, lengths } = await lossByPosition(model, model.init(key(0), device), sequences, { trainLength: 48, lengths: [100, 1000] });
    const edges = bins.map((bin) => bin.position);
    for (const edge of [48, 50, 100, 500, 1000]) expect(edges).toContain(edge);
    bins.slice(1).forEach((bin, i) => expect(bin.from).toBe(bins[i]!.to));
    expect(lengths.map(({ from, to }) => [from, to])).toEqual([[50, 100], [500, 1000]]);
  });

  test("neither the batch nor the chunk changes the numbers; one sequence has no interval", async () => {
    const model = tinyModel({ decay: 0.95, sharpness: 0.5 });
    const parameters = model.init(key(0), device);
    const options = { trainLength: 16, lengths: [300] };
    const one = await lossByPosition(model, parameters, sequences, { ...options, batch: 1, chunk: 17 });
    const many = await lossByPosition(model, parameters, sequences, { ...options, batch: 3, chunk: 512 });
    one.bins.forEach((bin, i) => {
      expect(bin.bitsPerByte).toBeCloseTo(many.bins[i]!.bitsPerByte, 5);
      expect(bin.referenceBitsPerByte).toBeCloseTo(many.bins[i]!.referenceBitsPerByte, 5);
    });
    const single = await lossByPosition(model, parameters, sequences.slice(0, 1), options);
    expect(single.bins[0]!.ci95).toBeNull();
    expect(single.bins[0]!.ratioCi95).toBeNull();
  });

  test("reads the windows of the reference in chunks too, where they are longer", async () => {
    const passes: { tokens: number; ends: readonly number[] }[] = [];
    const model = tinyModel({ decay: 0.9, passes });
    const parameters = model.init(key(0), device);
    const options = { trainLength: 100, lengths: [1000], batch: 1 };
    const whole = await lossByPosition(model, parameters, sequences, { ...options, chunk: 100 });
    passes.length = 0;
    const cut = await lossByPosition(model, parameters, sequences, { ...options, chunk: 16 });
    expect(Math.max(...passes.map(({ tokens }) => tokens))).toBe(16);
    expect(cut.lengths[0]!.referenceBitsPerByte).toBeCloseTo(whole.lengths[0]!.referenceBitsPerByte, 6);
    expect(cut.lengths[0]!.ratio).toBeCloseTo(whole.lengths[0]!.ratio, 6);
  });

  test("bits per byte divide by the bytes of a token; perplexity does not", async () => {
    const model = tinyModel({ memory: 2 });
    const parameters = model.init(key(0), device);
    const bytes = (await lossByPosition(model, parameters, sequences, { trainLength: 16, lengths: [64] })).lengths[0]!;
    const subwords = (await lossByPosition(model, parameters, sequences, { trainLength: 16, lengths: [64], bytesPerToken: 4 })).lengths[0]!;
    expect(subwords.bitsPerByte).toBeCloseTo(bytes.bitsPerByte / 4, 9);
    expect(subwords.perplexity).toBeCloseTo(2 ** bytes.bitsPerByte, 6);
    expect(subwords.ratio).toBeCloseTo(bytes.ratio, 9);
  });

  test.each([{ batch: 0 }, { batch: -1 }, { batch: Number.NaN }, { batch: 1.5 }, { bytesPerToken: 0 },
    { bytesPerToken: Number.NaN }])("refuses %o, which would give a loss of 0 or none", async (wrong) => {
    const model = tinyModel({ memory: 2 });
    const parameters = model.init(key(0), device);
    const measured = lossByPosition(model, parameters, sequences, { trainLength: 16, lengths: [64], ...wrong });
    await expect(measured).rejects.toMatchObject({ code: "E_ARGUMENT",
      message: expect.stringContaining(String(Object.values(wrong)[0])) as string });
  });

  test("progress reaches its total; memory is as before", async () => {
    const model = tinyModel({ memory: 2 });
    const parameters = model.init(key(0), device);
    const before = device.memory().used;
    const seen: [number, number][] = [];
    await lossByPosition(model, parameters, sequences,
      { trainLength: 16, lengths: [500], batch: 2, chunk: 100, onProgress: (done, total) => seen.push([done, total]) });
    expect(seen.at(-1)![0]).toBe(seen.at(-1)![1]);
    expect(seen.every(([done], i) => i === 0 || done > seen[i - 1]![0])).toBe(true);
    expect(device.memory().used).toBe(before);
  });

  test.each([
    [{ trainLength: 1, lengths: [8] }, "training length"], [{ trainLength: 8, lengths: [] }, "lengths"],
    [{ trainLength: 8, lengths: [0] }, "lengths"],
    [{ trainLength: 8, lengths: [1025] }, "1026 are needed"],
  ])("refuses %j", async (options, words) => {
    const model = tinyModel();
    await expect(lossByPosition(model, model.init(key(0), device), sequences, options)).rejects.toThrow(words);
  });
});
