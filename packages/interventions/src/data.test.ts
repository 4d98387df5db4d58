import { key } from "@lenggen/kernels";
import { describe, expect, it } from "vitest";
import { contiguousStreams, independentWindows } from "./data";
import { hashTokens } from "./fingerprint";

const text = Int32Array.from({ length: 101 }, (_, i) => i);
const rows = (values: Int32Array, context: number) =>
  Array.from({ length: values.length / context }, (_, i) => [...values.subarray(i * context, (i + 1) * context)]);

describe("independentWindows", () => {
  const source = independentWindows(text, { batch: 3, context: 5, key: key(1) });

  it("gives windows of the text, and what follows each token", () => {
    const { tokens, targets } = source.at(0, 0);
    for (const row of rows(tokens, 5)) expect(row).toEqual([0, 1, 2, 3, 4].map((t) => row[0]! + t));
    expect([...targets]).toEqual([...tokens].map((t) => t + 1));
  });

  it("gives the same batch for the same step, another for another step, micro-batch or key", () => {
    const first = source.at(7, 0);
    expect(source.at(7, 0)).toEqual(first);
    expect(source.at(8, 0)).not.toEqual(first);
    expect(source.at(7, 1)).not.toEqual(first);
    expect(independentWindows(text, { batch: 3, context: 5, key: key(2) }).at(7, 0)).not.toEqual(first);
  });

  it("reaches the first and the last place of the text", () => {
    const starts = new Set(Array.from({ length: 1000 }, (_, step) => source.at(step, 0).tokens[0]));
    expect(Math.min(...starts as Set<number>)).toBe(0);
    expect(Math.max(...starts as Set<number>)).toBe(95);
  });

  it("takes bytes, and a text of just context + 1 tokens", () => {
    expect([...independentWindows(new Uint8Array([7, 8, 9]), { batch: 1, context: 2, key: key(0) }).at(0, 0).targets]).toEqual([8, 9]);
  });

  it("refuses empty and short texts, and sizes that are no counts", () => {
    const make = (length: number, context: number, batch = 1) => () =>
      independentWindows(text.subarray(0, length), { batch, context, key: key(0) });
    expect(make(0, 5)).toThrow(expect.objectContaining({ code: "E_TEXT", message: "the text is empty" }));
    expect(make(5, 5)).toThrow(expect.objectContaining({ code: "E_TEXT", message: expect.stringContaining("needs at least 6") }));
    expect(make(50, 0)).toThrow(/context is 0/);
    expect(make(50, 5, 1.5)).toThrow(/batch is 1.5/);
  });

  it("has other settings for another text of the same length", () => {
    const other = text.slice();
    other[50] = 0;
    expect(independentWindows(other, { batch: 3, context: 5, key: key(1) }).settings).not.toEqual(source.settings);
  });
});

describe("contiguousStreams", () => {
  it("goes on where each stream stopped, over all chunks, once per round", () => {
    const source = contiguousStreams(text, { batch: 4, context: 5, key: key(3) }); // 20 chunks, 5 per stream
    const seen: number[] = [];
    for (let step = 0; step < 5; step++) {
      const { tokens, targets, fresh } = source.at(step, 0);
      const next = rows(source.at(step + 1, 0).tokens, 5);
      rows(tokens, 5).forEach((row, i) => {
        seen.push(...row);
        expect(rows(targets, 5)[i]!.slice(0, 4)).toEqual(row.slice(1));
        const atEnd = row[4] === 99;
        expect(next[i]![0]).toBe(atEnd ? 0 : row[4]! + 1);
        expect(fresh![i]).toBe(step === 0 || row[0] === 0);
      });
    }
    expect(seen.toSorted((a, b) => a - b)).toEqual([...text.subarray(0, 100)]);
  });

  it("begins documents with a fresh chunk and never crosses their border", () => {
    const documents = [0, 12, 15, 60]; // the second is too short and is skipped
    const source = contiguousStreams(text, { batch: 1, context: 5, documents, key: key(3) });
    const starts = new Set<number>();
    for (let step = 1; step <= 19; step++) {
      const { tokens, fresh } = source.at(step, 0);
      starts.add(tokens[0]!);
      expect(fresh).toEqual([[0, 15, 60].includes(tokens[0]!)]);
    }
    expect(source.unused).toBe(1 + 3 + 4); // behind 0 ... 10 and 15 ... 55, and the second document
    expect([...starts].toSorted((a, b) => a - b)).toEqual([0, 5, 15, 20, 25, 30, 35, 40, 45, 50, 60, 65, 70, 75, 80, 85, 90, 95]
      .filter((s) => s !== 55));
  });

  it("gives micro-batches streams of their own", () => {
    const two = contiguousStreams(text, { batch: 2, context: 5, microBatches: 2, key: key(3) });
    const one = contiguousStreams(text, { batch: 4, context: 5, key: key(3) });
    expect([...two.at(6, 0).tokens, ...two.at(6, 1).tokens]).toEqual([...one.at(6, 0).tokens]);
    expect(() => two.at(0, 2)).toThrow(/made for 2 micro-batches/);
  });

  it("refuses a text with fewer chunks than streams, and documents out of order", () => {
    expect(() => contiguousStreams(text, { batch: 21, context: 5, key: key(0) })).toThrow(
      expect.objectContaining({ code: "E_TEXT", message: expect.stringContaining("20 chunks of 5 tokens, too few for 21 streams") }));
    expect(() => contiguousStreams(text, { batch: 1, context: 5, key: key(0), documents: [0, 50, 40] }))
      .toThrow(/documents must start at 0/);
    expect(() => contiguousStreams(text, { batch: 1, context: 5, key: key(0), documents: [3] })).toThrow(/documents must start at 0/);
    expect(() => contiguousStreams(text.subarray(0, 8), { batch: 1, context: 5, key: key(0), documents: [0, 4] }))
      .toThrow(/no document has the 6 tokens/);
  });
});

describe("a text that is read as it is asked for", () => {
  const large = {
    length: 5 * 2 ** 30,
    read: (start: number, into: Int32Array) => into.forEach((_, i) => (into[i] = (start + i) % 251)),
  };
  const options = { batch: 64, context: 5, key: key(1), hash: "unread" };

  it("gives the same batches and settings as one that is held", () => {
    const read = { length: text.length, read: (start: number, into: Int32Array) => into.set(text.subarray(start, start + into.length)) };
    for (const make of [independentWindows, contiguousStreams]) {
      const [held, apart] = [make(text, { batch: 3, context: 5, key: key(1) }), make(read, { batch: 3, context: 5, key: key(1) })];
      expect(apart.settings).toEqual(held.settings);
      for (const step of [0, 1, 7]) expect(apart.at(step, 0)).toEqual(held.at(step, 0));
    }
  });

  it("may be of 5 GiB: windows and streams come from all of it, and nothing of it is listed", () => {
    const windows = independentWindows(large, options);
    const starts: number[] = [];
    const watched = independentWindows({ ...large, read: (start, into) => (starts.push(start), large.read(start, into)) }, options);
    expect(watched.at(3, 0)).toEqual(windows.at(3, 0));
    expect(Math.max(...starts)).toBeGreaterThan(2 ** 32);
    const documents = [0, 3, 2 ** 32 + 7];
    const streams = contiguousStreams(large, { ...options, documents });
    expect(streams.unused).toBe(3 + ((2 ** 32 + 4 - 1) % 5) + ((2 ** 30 - 7 - 1) % 5));
    const [now, next] = [streams.at(0, 0), streams.at(1, 0)];
    for (const [i, row] of rows(now.tokens, 5).entries()) expect(rows(next.tokens, 5)[i]![0]).toBe((row[4]! + 1) % 251);
  });
});

describe("the hash of a text", () => {
  const words = new TextEncoder().encode("It was the best of times, it was the worst of times. ".repeat(2000));

  it("is what older runs recorded, made at once or piece by piece", async () => {
    expect(independentWindows(words, { batch: 1, context: 5, key: key(1) }).settings)
      .toMatchObject({ tokens: 106_000, hash: "4f80dbb18f239e35" });
    expect(await hashTokens(words)).toBe("4f80dbb18f239e35");
    const weights = Float32Array.from(text, (i) => i / 8);
    expect(independentWindows(text, { batch: 1, context: 5, key: key(1), weights }).settings)
      .toMatchObject({ weights: "061de9d83817aa8f" });
  });

  it("tells how far it is, and can be interrupted", async () => {
    const long = { length: 2 ** 27 + 1, read: () => {} };
    const heard: number[] = [];
    await hashTokens(long, { onProgress: (done, total) => heard.push(done / total) });
    expect([heard.length > 1, heard.at(-1)]).toEqual([true, 1]);
    await expect(hashTokens(long, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "E_INTERRUPTED" });
  });
});

describe("weights", () => {
  const weights = Float32Array.from({ length: 101 }, (_, i) => i / 8);
  const options = { batch: 3, context: 5, key: key(1) };

  it.each([
    ["independent windows", independentWindows(text, { ...options, weights })],
    ["contiguous streams", contiguousStreams(text, { ...options, weights })],
  ])("of %s go with the targets", (_, source) => {
    const { targets, weights: counted } = source.at(3, 0);
    expect([...counted!]).toEqual([...targets].map((token) => token / 8));
  });

  it("tell one source from another", () => {
    const other = independentWindows(text, { ...options, weights: weights.map((w) => w + 0.25) });
    expect(other.settings).not.toEqual(independentWindows(text, { ...options, weights }).settings);
  });

  it("must be one for each token", () => {
    expect(() => independentWindows(text, { ...options, weights: [1] })).toThrowError(expect.objectContaining({ code: "E_ARGUMENT" }));
  });
});
