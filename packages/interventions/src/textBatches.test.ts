import { foldIn, key } from "@lenggen/kernels";
import { describe, expect, it } from "vitest";
import { contiguousStreams, independentWindows, keyAfter } from "./data";
import { runKey, textBatches } from "./textBatches";

const text = Uint8Array.from({ length: 900 }, (_, i) => (i * i) % 251);
const BASE = "00000001fffffffe";

describe("what a run draws", () => {
  it("comes from a stream for each purpose, whose numbers runs on disk depend on", () => {
    expect(runKey(5, "parameters")).toEqual(foldIn(key(5), 0));
    expect(runKey(5, "initialStates")).toEqual(foldIn(key(5), 1));
    expect(runKey(5, "text")).toEqual(foldIn(key(5), 2));
    expect(runKey(5, "samples")).toEqual(foldIn(key(5), 8));
  });

  it("is another after other weights", () => {
    expect(runKey(5, "text", BASE)).toEqual(foldIn(keyAfter(key(5), BASE), 2));
    expect(runKey(5, "text", BASE)).not.toEqual(runKey(5, "text"));
  });
});

describe("batches of a text", () => {
  const options = { batch: 3, context: 16, seed: 5 };

  it("are windows for interventions of independent sequences, which know nothing of documents", () => {
    const source = textBatches(text, { ...options, order: "independent", microBatches: 2, documents: [0, 400] });
    const windows = independentWindows(text, { batch: 3, context: 16, key: runKey(5, "text") });
    expect(source.settings).toEqual(windows.settings);
    for (const step of [0, 9]) expect(source.at(step, 1)).toEqual(windows.at(step, 1));
  });

  it("are streams for those of contiguous ones", () => {
    const source = textBatches(text, { ...options, order: "contiguous", base: BASE, microBatches: 2, documents: [0, 400] });
    const streams = contiguousStreams(text, { batch: 3, context: 16, key: runKey(5, "text", BASE), microBatches: 2, documents: [0, 400] });
    expect(source.settings).toEqual(streams.settings);
    for (const step of [0, 9]) expect(source.at(step, 1)).toEqual(streams.at(step, 1));
  });
});
