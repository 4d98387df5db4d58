import { type BatchSource, key } from "@lenggen/kernels";
import { describe, expect, it } from "vitest";
import { TASKS } from ".";
import { batchOfSamples, withTask } from "./training";

const text = new TextEncoder()
  .encode("It was a dark and stormy night; the rain fell in torrents, except at occasional intervals. ".repeat(20));
const [batch, context] = [2, 64];
/** Stands for a trainer's source: each batch begins where its number says. */
const source = (order: BatchSource["order"]): BatchSource => ({
  order, batch, context, settings: { kind: order },
  at(step, microBatch) {
    const tokens = Int32Array.from({ length: batch * context }, (_, i) => text[(i + 7 * step + microBatch) % text.length]!);
    return { tokens, targets: tokens };
  },
});
const windows = source("independent");
const written = (tokens: ArrayLike<number>) => String.fromCharCode(...Array.from(tokens));

describe("samples among a text", () => {
  const among = (share: number, microBatches = 1) => withTask(windows,
    { task: TASKS["key-retrieval"], share, key: key(2), text, microBatches });

  it("come as often as asked, the same ones for the same step", () => {
    const half = among(0.5);
    const isSample = Array.from({ length: 200 }, (_, step) => half.at(step, 0).ends !== undefined);
    expect(isSample.filter(Boolean).length).toBeGreaterThan(70);
    expect(isSample.filter(Boolean).length).toBeLessThan(130);
    for (const step of [0, 7, 199]) {
      expect(half.at(step, 0)).toEqual(among(0.5).at(step, 0));
      if (!isSample[step]) expect(half.at(step, 0)).toEqual(windows.at(step, 0));
    }
  });

  it("hold text, key and question, the answer as heavy as all before it, and end a segment before the question's last byte", () => {
    const all = among(1, 2);
    const seen = new Set<string>();
    for (let step = 0; step < 10; step++) {
      for (const microBatch of [0, 1]) {
        const { tokens, targets, weights, ends } = all.at(step, microBatch);
        const [end] = ends!;
        expect(end).toBeGreaterThanOrEqual(context / 2 - 4);
        for (let row = 0; row < batch; row++) {
          const of = (values: Int32Array | Float32Array): number[] => Array.from(values).slice(row * context, (row + 1) * context);
          const sum = (values: number[]): number => values.reduce((a, b) => a + b);
          const [, secret] = /\[\[([a-z]{3})\]\]/.exec(written(of(tokens)))!;
          expect(written(of(tokens).slice(end! - 1, end! + 1))).toBe("[[");
          expect(written(of(targets).slice(end!, end! + 3))).toBe(secret);
          expect(sum(of(weights!).slice(end!, end! + 3)) / sum(of(weights!).slice(0, end!))).toBeGreaterThan(0.9);
          expect(of(weights!).slice(end! + 3).every((weight) => weight === 0)).toBe(true);
          seen.add(secret!);
        }
      }
    }
    expect(seen.size).toBeGreaterThan(35); // micro-batches differ
  });

  it("are told apart from others when a run is resumed", () => {
    const settings = JSON.stringify(among(0.5).settings);
    expect(settings).toBe(JSON.stringify(among(0.5).settings));
    for (const other of [among(0.6), among(0.5, 2)]) expect(JSON.stringify(other.settings)).not.toBe(settings);
  });

  it("need room, and a method of independent sequences", () => {
    const given = { task: TASKS.passkey, share: 1, key: key(2), text, microBatches: 1 };
    expect(() => withTask(windows, given)).toThrow("can't hold a prompt");
    expect(() => withTask(source("contiguous"), given)).toThrow(/take a method of independent sequences, not one of contiguous text/);
  });
});

it("rows become tokens with what follows each", () => {
  const { tokens, targets } = batchOfSamples({ tokens: Int32Array.of(1, 2, 3, 4, 5, 6), weights: new Float32Array(4) }, 2);
  expect([[...tokens], [...targets]]).toEqual([[1, 2, 4, 5], [2, 3, 5, 6]]);
});
