import { afterAll, describe, expect, it } from "vitest";
import { devices, open } from "../../open";
import { chunkAttention as attend } from "../../ops/chunkAttention";
import { dispose, type Tensor } from "../../tensor";
import { zeros } from "../../ops/memory";
import { compareWithReference, evaluate, type HostTensor, integers, normals, type TestFunction, uniforms } from "../../testing";
import type { WebGpuDevice } from ".";
import { chunkAttention } from "./chunkAttention";

const listing = (await devices({ fallback: true })).find(({ name }) => name === "webgpu")!;
if (!listing.available) console.warn(`tests of chunk cross-attention on webgpu do not run: ${listing.reason}`);
const openHere = async (webgpu = {}) => (await open("webgpu", { fallback: true, webgpu })) as WebGpuDevice;

interface Sizes {
  batch: number;
  queries: number;
  heads: number;
  keyHeads: number;
  headSize: number;
  chunks: number;
  chunkSize: number;
  slots: number;
  /** The same for all sequences. */
  offsets: number[];
}

/** q, keys, values, indices (some of empty slots), weights, offsets, lengths */
function inputs({ batch, queries, heads, keyHeads, headSize, chunks, chunkSize, slots, offsets }: Sizes): HostTensor[] {
  const blocks = offsets.length - 1;
  const memory = [batch, chunks, chunkSize, keyHeads, headSize];
  return [
    normals(1, [batch, queries, heads, headSize]), normals(2, memory), normals(3, memory),
    integers(4, [batch, blocks, slots], -1, chunks + 1),
    uniforms(5, [batch, blocks, slots], 0, 1),
    { data: Array.from({ length: batch }, () => offsets).flat(), shape: [batch, blocks + 1], kind: "integer" },
    integers(6, [batch, chunks], 0, chunkSize + 1),
  ];
}

const f = (options: { offByOne?: boolean } = {}): TestFunction => (q, keys, values, indices, weights, offsets, lengths) =>
  attend({ q: q!, keys: keys!, values: values!, indices: indices!, weights: weights!, offsets: offsets!, lengths: lengths! }, options);

describe.skipIf(!listing.available)("chunk cross-attention on webgpu", async () => {
  const device = listing.available ? await openHere() : (undefined as never);
  afterAll(() => device?.close());

  it("takes two dispatches forward and four for the gradient", () => {
    let count = 0;
    const kernels = chunkAttention({ ...device.launcher, run: () => count++ });
    const [batch, queries, heads, keyHeads, headSize, chunks, chunkSize, blocks, slots] = [2, 256, 4, 4, 64, 8, 64, 4, 8];
    const make = (...shape: number[]): Tensor => zeros(device, shape);
    const memory = () => make(batch, chunks, chunkSize, keyHeads, headSize);
    const given = {
      q: make(batch, queries, heads, headSize), keys: memory(), values: memory(), indices: zeros(device, [batch, blocks, slots], "i32"),
      weights: make(batch, blocks, slots), offsets: zeros(device, [batch, blocks + 1], "i32"),
    };
    const out = { out: make(batch, queries, heads, headSize), dkeys: memory(), dvalues: memory(), dweights: make(batch, blocks, slots) };
    const sizes = { batch, queries, heads, keyHeads, headSize, chunks, chunkSize, blocks, slots, offByOne: false, scale: 0.1,
      lengths: null };
    count = 0;
    const { logSums } = kernels.chunkAttention({ ...sizes, ...given, out: out.out, recording: true });
    expect(count).toBe(2);
    kernels.chunkAttentionGradient({ ...sizes, ...given, saved: { logSums: logSums! }, dout: out.out, dq: out.out, dkeys: out.dkeys,
      dvalues: out.dvalues, dweights: out.dweights });
    expect(count).toBe(6);
    dispose([Object.values(given), Object.values(out), logSums!]);
  });

  it.each<[string, Sizes]>([
    ["blocks that begin and end anywhere, and queries in none",
      { batch: 2, queries: 150, heads: 2, keyHeads: 1, headSize: 8, chunks: 5, chunkSize: 16, slots: 3, offsets: [3, 20, 20, 101, 140] }],
    ["more slots than one list holds", { batch: 1, queries: 90, heads: 1, keyHeads: 1, headSize: 4, chunks: 3, chunkSize: 8, slots: 8,
      offsets: Array.from({ length: 91 }, (_, i) => i) }],
    ["chunks of several tiles, heads wider than a tile",
      { batch: 1, queries: 20, heads: 2, keyHeads: 2, headSize: 68, chunks: 3, chunkSize: 130, slots: 2, offsets: [0, 9, 20] }],
    ["offsets that do not ascend",
      { batch: 1, queries: 30, heads: 1, keyHeads: 1, headSize: 4, chunks: 3, chunkSize: 4, slots: 2, offsets: [5, 2, 9, 7, 40, -3] }],
  ])("is right for %s", async (_, sizes) => {
    for (const offByOne of [false, true]) await compareWithReference(device, f({ offByOne }), inputs(sizes));
  });

  it("is cut where bindings are small: sequences, queries, chunks", async () => {
    const small = await openHere({ maxBinding: 4096, features: [], defaultLimits: true });
    for (const sizes of [
      { batch: 5, queries: 16, heads: 2, keyHeads: 2, headSize: 8, chunks: 4, chunkSize: 8, slots: 2, offsets: [1, 9, 15] }, // sequences
      { batch: 2, queries: 20, heads: 2, keyHeads: 1, headSize: 8, chunks: 13, chunkSize: 16, slots: 3, offsets: [0, 7, 19] }, // chunks
      { batch: 1, queries: 150, heads: 2, keyHeads: 2, headSize: 6, chunks: 9, chunkSize: 16, slots: 2, offsets: [4, 60, 61, 149] }, // both
    ]) await compareWithReference(small, f({ offByOne: true }), inputs(sizes));
    small.close();
  });

  it("has the same bits on every run", async () => {
    const given = inputs({ batch: 1, queries: 100, heads: 2, keyHeads: 2, headSize: 16, chunks: 4, chunkSize: 20, slots: 4,
      offsets: [0, 30, 64, 100] });
    expect(await evaluate(device, f(), given)).toEqual(await evaluate(device, f(), given));
  });
});
