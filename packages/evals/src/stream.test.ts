import { keep, key, LenggenError, scope, withoutGradient } from "@lenggen/kernels";
import { beforeEach, describe, expect, test } from "vitest";
import { stream, type StreamOptions } from "./stream";
import { lossOf, noise, reference, tinyModel } from "./tinyModel.fixture";
import type { Device } from "@lenggen/kernels";

let device: Device;
beforeEach(async () => {
  // One for each test: what another left to the garbage collector may be freed while memory is compared.
  device = await reference();
});

const model = tinyModel({ decay: 0.9, sharpness: 0.7 });

async function lossesOf(sequences: readonly Uint8Array[], options: StreamOptions): Promise<number[][]> {
  const parameters = model.init(key(0), device);
  const rows: number[][] = sequences.map(() => []);
  for await (const { start, end, losses } of stream(model, parameters, sequences, options)) {
    rows.forEach((row, i) => row.push(...Array.from(losses).slice(i * (end - start), (i + 1) * (end - start))));
  }
  return rows;
}

describe("stream", () => {
  const sequences = [noise(101, 8, 1), noise(101, 8, 2), noise(101, 8, 3)];

  test("scores each position from its whole history", async () => {
    const rows = await lossesOf(sequences, { end: 100, chunk: 7 });
    sequences.forEach((sequence, row) => {
      const counts = new Float64Array(8);
      for (let t = 1; t <= 100; t++) {
        counts.forEach((count, v) => (counts[v] = count * 0.9 + (sequence[t - 1] === v ? 1 : 0)));
        expect(rows[row]![t - 1]).toBeCloseTo(lossOf(counts, 0.7, sequence[t]!), 4);
      }
    });
  });

  test.each([1, 2, 3, 63, 64, 65, 1000])("chunks of %i give the same losses", async (chunk) => {
    const whole = await lossesOf(sequences, { end: 100, chunk: 100 });
    const chunked = await lossesOf(sequences, { end: 100, chunk });
    chunked.forEach((row, i) => row.forEach((loss, t) => expect(loss).toBeCloseTo(whole[i]![t]!, 5)));
  });

  test("ends chunks at stops and starts from zero at `start`", async () => {
    const parameters = model.init(key(0), device);
    const spans: [number, number][] = [];
    for await (const { start, end } of stream(model, parameters, sequences, { start: 10, end: 50, chunk: 16, stops: [5, 20, 21, 50] }))
      spans.push([start, end]);
    expect(spans).toEqual([[10, 20], [20, 21], [21, 37], [37, 50]]);
    const [row] = await lossesOf([sequences[0]!], { start: 10, end: 50 });
    const [shifted] = await lossesOf([sequences[0]!.slice(10)], { end: 40 });
    expect(row).toEqual(shifted);
  });

  test("goes on from a state, which stays as it was", async () => {
    const parameters = model.init(key(0), device);
    const [sequence] = sequences;
    const [whole] = await lossesOf([sequence!], { end: 60 });
    for await (const { end, state } of stream(model, parameters, [sequence!], { end: 25, chunk: 25, losses: false })) {
      expect(end).toBe(25);
      const before = device.memory().used;
      for (let again = 0; again < 2; again++) {
        const rest: number[] = [];
        for await (const { losses } of stream(model, parameters, [sequence!.slice(25)], { state, end: 35, chunk: 10 }))
          rest.push(...losses);
        expect(rest).toEqual(whole!.slice(25).map((loss) => expect.closeTo(loss, 5) as number));
        expect(device.memory().used).toBe(before);
      }
    }
  });

  test("uses no more memory for a longer text, and leaves nothing behind", async () => {
    const parameters = model.init(key(0), device);
    const before = device.memory().used;
    const peaks: number[] = [];
    for (const end of [256, 4096]) {
      device.resetPeak();
      for await (const chunk of stream(model, parameters, [noise(4097)], { end, chunk: 64 })) expect(chunk.losses.length).toBe(64);
      peaks.push(device.memory().peak);
      expect(device.memory().used).toBe(before);
    }
    expect(peaks[1]).toBe(peaks[0]);
  });

  test("tells where segments end, in the chunk that they end in", async () => {
    const passes: { tokens: number; ends: readonly number[] }[] = [];
    const tiny = tinyModel({ passes });
    const parameters = tiny.init(key(0), device);
    for await (const { end } of stream(tiny, parameters, sequences, { start: 10, end: 40, chunk: 10, segmentEnds: [10, 15, 20, 20, 40] }))
      expect(end).toBeGreaterThan(10);
    expect(passes.map(({ ends }) => ends)).toEqual([[0, 5, 10, 10], [], [10]]);
  });

  test("reads what lies far before what is wanted by the model's prefill", async () => {
    const passes: { tokens: number; ends: readonly number[] }[] = [];
    const far: typeof passes = [];
    const whole = tinyModel({ passes, record: true });
    const apart: typeof whole = {
      ...whole,
      prefill: {
        recent: 6,
        async read(parameters, tokens, state, options) {
          far.push({ tokens: tokens.shape[1]!, ends: options?.ends ?? [] });
          const result = withoutGradient(() => keep(scope(() => whole.forward(parameters, tokens, state))));
          passes.pop();
          result.hidden.dispose();
          return result.state;
        },
      },
    };
    const parameters = whole.init(key(0), device);
    const before = device.memory().used;
    const run = { end: 50, chunk: 16, losses: false, segmentEnds: [10, 34, 34, 45] };
    const lastOf = async (model: typeof whole, options: StreamOptions) => {
      let last: number[] = [];
      const spans: [number, number][] = [];
      for await (const { start, end, state } of stream(model, parameters, sequences, options)) {
        spans.push([start, end]);
        if (end === options.end) last = Array.from(await state.layers[0]!.past.read());
      }
      return { last, spans };
    };
    const wanted = await lastOf(whole, { ...run, wanted: 40 });
    expect(wanted.spans).toEqual([[0, 16], [16, 32], [32, 48], [48, 50]]);
    passes.length = 0;
    const read: [number, number][] = [];
    expect(await lastOf(apart, { ...run, wanted: 40, onPrefill: (from, to) => read.push([from, to]) }))
      .toEqual({ last: wanted.last, spans: [[34, 50]] });
    expect(read).toEqual([[0, 16], [16, 32], [32, 34]]);
    expect(far).toEqual([{ tokens: 16, ends: [10] }, { tokens: 16, ends: [] }, { tokens: 2, ends: [2, 2] }]);
    expect(passes).toEqual([{ tokens: 16, ends: [11] }]);
    far.length = 0;
    expect((await lastOf(apart, { ...run, wanted: 6 })).spans).toEqual(wanted.spans);
    expect((await lastOf(apart, run)).spans).toEqual(wanted.spans);
    expect(far).toEqual([]);
    expect(device.memory().used).toBe(before);
    await expect(lastOf(apart, { end: 50, wanted: 40 })).rejects.toThrow("losses are of all positions");
  });

  test("frees states that share tensors with those that follow", async () => {
    const sharing = tinyModel({ record: true });
    const parameters = sharing.init(key(0), device);
    const before = device.memory().used;
    for await (const { state } of stream(sharing, parameters, sequences, { end: 100, chunk: 10 })) {
      expect(state.memory.some((t) => t.disposed)).toBe(false);
      if (state.memory.length === 8) break;
    }
    expect(device.memory().used).toBe(before);
  });

  test("stops when told to, with nothing left behind", async () => {
    const parameters = model.init(key(0), device);
    const before = device.memory().used;
    const abort = new AbortController();
    const run = async () => {
      for await (const { end } of stream(model, parameters, sequences, { end: 100, chunk: 10, signal: abort.signal })) if (end === 30)
        abort.abort();
    };
    await expect(run()).rejects.toMatchObject({ code: "E_INTERRUPTED" });
    expect(device.memory().used).toBe(before);
  });

  test.each([
    ["too short a text", { end: 101 }, "E_TEXT"],
    ["no chunk", { end: 10, chunk: 0 }, "E_ARGUMENT"],
    ["an empty range", { start: 10, end: 10 }, "E_ARGUMENT"],
  ] as const)("refuses %s", async (_, options, code) => {
    await expect(lossesOf(sequences, options)).rejects.toSatisfy((error) => error instanceof LenggenError && error.code === code);
  });

  test("refuses a token outside the vocabulary by name", async () => {
    // The last token is predicted and never read.
    for (const tokens of [[1, 2, 9, 1], [1, 2, 1, 9]]) {
      await expect(lossesOf([Uint8Array.from(tokens)], { end: 3 })).rejects.toThrow("token 9 is outside the vocabulary 0 ... 7");
    }
  });
});
