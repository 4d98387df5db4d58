import { describe, expect, it } from "vitest";
import type { DType } from "../dtype";
import { detach } from "../tape";
import { scope, type Tensor, tensor } from "../tensor";
import { zeros } from "./memory";
import {
  checkGradient, checkLeaks, checkSameBits, compareEvaluations, compareWithReference, eachDevice, evaluate, expectClose, expectError,
  type HostTensor, host, integers, normals, referenceDevice, type TestFunction, uniforms,
} from "../testing";
import { chunkAttention, chunkAttentionOperations } from "./chunkAttention";
import { concat, slice } from "./view";

/** Sizes, with the names of ops/chunkAttention.ts. Blocks cut T evenly unless `offsets` are given. */
interface Case {
  B?: number;
  T: number;
  Hq?: number;
  Hk?: number;
  D?: number;
  M: number;
  S?: number;
  C?: number;
  K?: number;
  offsets?: number[];
  /** [B,C,K] in one list; drawn from -1 ... M unless given, so that some slots are empty. */
  indices?: number[];
  /** [B,M] in one list; drawn from 0 ... S unless given; null for none. */
  lengths?: number[] | null;
}

const whole = (data: readonly number[], shape: readonly number[]): HostTensor => ({ data, shape: [...shape], kind: "integer" });

/** q, keys, values, indices, weights, offsets, and lengths if there are any */
function inputs({ B = 2, T, Hq = 2, Hk = 2, D = 8, M, S = 16, C = 3, K = 3, offsets, indices, lengths }: Case): HostTensor[] {
  const cuts = offsets ?? Array.from({ length: C + 1 }, (_, i) => Math.round((T * i) / C));
  return [
    normals(1, [B, T, Hq, D]), normals(2, [B, M, S, Hk, D]), normals(3, [B, M, S, Hk, D]),
    indices ? whole(indices, [B, C, K]) : integers(4, [B, C, K], -1, M + 1),
    uniforms(5, [B, C, K], 0, 1),
    whole(Array.from({ length: B }, () => cuts).flat(), [B, C + 1]),
    ...(lengths === null ? [] : [lengths ? whole(lengths, [B, M]) : integers(6, [B, M], 0, S + 1)]),
  ];
}

const attend = (options: { offByOne?: boolean; scale?: number } = {}): TestFunction =>
  (q, keys, values, indices, weights, offsets, lengths) =>
  chunkAttention({ q: q!, keys: keys!, values: values!, indices: indices!, weights: weights!, offsets: offsets!, lengths: lengths ?? null },
    options);

describe("the reference chunk attention", () => {
  it.each([{}, { offByOne: true }, { scale: 0.7 }])("has the gradient that finite differences give, weights included: %o",
    async (options) => {
    await checkGradient(attend(options), inputs({ T: 7, D: 3, M: 4, S: 5, K: 4, Hq: 4, offsets: [1, 4, 4, 6] }));
  });
});

eachDevice("chunkAttention", (device) => {
  const shapes: Case[] = [
    { T: 1, M: 1, C: 1, K: 1, B: 1, indices: [0], lengths: [5] }, { T: 1, M: 3, S: 64, D: 64, C: 1, K: 3, Hq: 4 },
    { T: 12, M: 3, S: 16, K: 5 }, { T: 40, M: 5, S: 33, D: 16, K: 3, Hq: 6, Hk: 2 }, { T: 70, M: 4, S: 64, D: 64, C: 2, K: 2, B: 1 },
    { T: 37, M: 6, S: 20, D: 1, Hq: 3, Hk: 1 }, { T: 21, M: 4, S: 17, D: 5, Hq: 4, Hk: 4 }, { T: 30, M: 3, S: 128, D: 80, K: 2, B: 1 },
    { T: 150, M: 3, S: 16, C: 1, K: 2, Hq: 4, Hk: 1, B: 1 }, { T: 17, M: 2, S: 16, D: 136, K: 2, B: 1 },
  ];
  it.each(shapes)("agrees with the sums in float64: %o", async (shape) => {
    await compareWithReference(device, attend(), inputs(shape));
  });

  const contents: (Case & { what: string })[] = [
    { what: "the same chunk again and again", T: 18, M: 3, indices: [1, 1, 1, 1, 0, 1, 2, 1, 1], lengths: null, B: 1 },
    { what: "empty slots", T: 18, M: 3, indices: [-1, 0, -1, 3, 7, -2147483648, 2147483647, 2, 1], lengths: null, B: 1 },
    { what: "nothing but empty slots", T: 6, M: 3, indices: [-1, -1, 3, -1, -1, -1, 0, -1, 0], lengths: [0, 4, 4], B: 1 },
    { what: "lengths of 0, of all and of more", T: 18, M: 5, indices: [0, 1, 2, 3, 4, 0, 1, 2, 3], lengths: [0, 16, 5, 99, -3], B: 1 },
    { what: "queries in no block", T: 20, M: 3, offsets: [3, 9, 11, 17] },
    { what: "blocks of no queries", T: 12, M: 3, offsets: [0, 0, 12, 12] },
    { what: "offsets that descend and pass the ends", T: 12, M: 3, C: 5, offsets: [-4, 5, 2, 7, 90, 8] },
    { what: "offsets that are all past the end", T: 4, M: 3, offsets: [2147483647, 0, -2147483648, 9] },
    { what: "tiles of many lengths", T: 93, M: 4, offsets: [0, 1, 8, 93], Hq: 6, B: 1 },
  ];
  it.each(contents)("takes $what", async (shape) => {
    await compareWithReference(device, attend(), inputs(shape));
  });

  it.each([{ offByOne: true }, { scale: 2 }, { scale: 0 }])("has the options %o", async (options) => {
    await compareWithReference(device, attend(options), inputs({ T: 20, M: 3, S: 20 }));
    await compareWithReference(device, attend(options), inputs({ T: 3, M: 3, S: 20, Hq: 4 }));
    // With one key, the softmax is 1 and has no gradient, unless there is another score.
    if (options.offByOne) await compareWithReference(device, attend(options), inputs({ T: 24, M: 2, S: 1, C: 4, K: 2 }));
  });

  it("is off by one as if each chunk had a key and a value of zeros", async () => {
    const [B, M, S, Hk, D] = [1, 3, 6, 2, 8];
    const [q, keys, values, ...rest] = inputs({ T: 20, B, M, S, Hk, D, lengths: null });
    const longer = (t: HostTensor) => {
      const row = Hk * D;
      const chunk = (m: number) => [...t.data.slice(m * S * row, (m + 1) * S * row), ...new Array<number>(row).fill(0)];
      return host(Array.from({ length: M }, (_, m) => chunk(m)).flat(), [B, M, S + 1, Hk, D]);
    };
    const expected = await evaluate(referenceDevice, attend(), [q!, longer(keys!), longer(values!), ...rest], { precise: true });
    const actual = await evaluate(device, attend({ offByOne: true }), [q!, keys!, values!, ...rest]);
    expectClose(actual.outputs[0]!, expected.outputs[0]!, 1e-5, "output");
    for (const i of [0, 4]) expectClose(actual.gradients[i]!, expected.gradients[i]!, 1e-5, `gradient of input ${i}`);
  });

  it("stays finite where exponentials would not", async () => {
    const large = inputs({ T: 20, M: 3 });
    for (const offByOne of [false, true]) await compareWithReference(device, attend({ scale: 60, offByOne }), large, { tolerance: 1e-4 });
  });

  it("never reads memory that is not retrieved, nor past a chunk's length", async () => {
    const [B, M, S, K] = [1, 4, 16, 2];
    const clean = inputs({ T: 40, B, M, S, K, Hq: 4, indices: [0, 2, 2, -1, 0, 0], lengths: [16, 16, 5, 16] });
    const spare = (place: number) => {
      const [m, s] = [Math.floor(place / (S * 2 * 8)), Math.floor(place / (2 * 8)) % S];
      return m === 1 || m === 3 || (m === 2 && s >= 5);
    };
    const spoilt = clean.map((t, i) => (i === 1 || i === 2 ? { ...t, data: t.data.map((x, j) => (spare(j) ? NaN : x)) } : t));
    const [actual, expected] = [await evaluate(device, attend(), spoilt), await evaluate(device, attend(), clean)];
    expect(actual.outputs).toEqual(expected.outputs);
    expect(actual.gradients).toEqual(expected.gradients);
    for (const i of [1, 2]) Array.from(actual.gradients[i]!)
      .forEach((x, j) => spare(j) && expect(x, `gradient of input ${i} at ${j}`).toBe(0));
  });

  it("gives exactly 0 where nothing is retrieved", async () => {
    const { outputs, gradients } = await evaluate(device, attend(), inputs({
      T: 8, B: 1, M: 2, C: 3, K: 1, Hq: 1, Hk: 1, D: 2, S: 4, offsets: [1, 3, 5, 7], indices: [-1, 1, 0], lengths: [0, 3],
    }));
    const isZero = (t: number) => t < 3 || t >= 5;
    for (const values of [outputs[0]!, gradients[0]!]) {
      expect(Array.from(values, (x) => x === 0)).toEqual(Array.from(values, (_, i) => isZero(Math.floor(i / 2))));
    }
    expect(Array.from(gradients[4]!, (x) => x === 0)).toEqual([true, false, true]);
  });

  it("gives the same block by block and query by query", async () => {
    const shape = { T: 13, B: 1, M: 3, S: 20, Hq: 4 };
    const offsets = [0, 4, 9, 13];
    const given = inputs({ ...shape, offsets });
    const pieces = (lengths: readonly number[]): TestFunction => (q, keys, values, indices, weights, _, sizes) => {
      const outs: Tensor[] = [];
      let start = 0;
      for (const length of lengths) {
        const bounds = offsets.map((offset) => Math.min(length, Math.max(0, offset - start)));
        const piece = tensor(q!.device, bounds, [1, 4], "i32");
        outs.push(attend()(slice(q!, 1, start, start + length), keys!, values!, indices!, weights!, piece, sizes!) as Tensor);
        start += length;
      }
      return concat(outs, 1);
    };
    const expected = await evaluate(referenceDevice, attend(), given, { precise: true });
    for (const lengths of [[13], [4, 5, 4], [1, 6, 2, 4], new Array<number>(13).fill(1)]) {
      compareEvaluations(await evaluate(device, pieces(lengths), given), expected, 1e-5);
    }
  });

  it.each([[0], [1], [2], [4], [0, 4], [1, 2]])("has the gradients of inputs %o alone", async (...wanted) => {
    const only: TestFunction = (...given) => attend()(...given.map((t, i) => (wanted.includes(i) || t.dtype === "i32" ? t : detach(t))));
    await compareWithReference(device, only, inputs({ T: 20, M: 3 }));
  });

  it.each([{ M: 0 }, { C: 0, offsets: [0] }, { K: 0 }, { T: 0 }, { B: 0 }])("gives zeros where there is nothing: %o", async (empty) => {
    const given = inputs({ T: 4, M: 2, ...empty });
    const { outputs, gradients } = await evaluate(device, attend(), given);
    for (const values of [outputs[0]!, ...[0, 1, 2, 4].map((i) => gradients[i]!)])
      expect(Array.from(values).every((x) => x === 0)).toBe(true);
    expect(outputs[0]!.length).toBe(given[0]!.data.length);
  });

  it("leaves no memory behind", async () => {
    await checkLeaks(device, attend(), inputs({ T: 20, M: 3 }));
  });

  it("refuses what does not fit, naming it", () => {
    const shapes = {
      q: [1, 4, 2, 3], keys: [1, 5, 6, 2, 3], values: [1, 5, 6, 2, 3], indices: [1, 2, 7], weights: [1, 2, 7], offsets: [1, 3],
      lengths: [1, 5],
    };
    const of = (changed: Partial<typeof shapes>, options = {}, types: Partial<Record<keyof typeof shapes, DType>> = {}) => () => {
      const usual = (name: string) => (/indices|offsets|lengths/.test(name) ? "i32" : "f32");
      const make = ([name, shape]: [string, number[]]) => [name, zeros(device, shape, types[name as keyof typeof shapes] ?? usual(name))];
      chunkAttention(Object.fromEntries(Object.entries({ ...shapes, ...changed }).map(make)) as Parameters<typeof chunkAttention>[0],
        options);
    };
    scope(of({}));
    expectError(of({ q: [1, 4, 6] }), "E_SHAPE", /q \[1, 4, 6\] must be \[B,T,Hq,D\]/);
    expectError(of({ keys: [1, 5, 6, 6] }), "E_SHAPE", /keys \[1, 5, 6, 6\] must be \[B,M,S,Hk,D\]/);
    expectError(of({ indices: [2, 7] }), "E_SHAPE", /indices \[2, 7\] must be \[B,C,K\]/);
    expectError(of({ keys: [1, 5, 6, 2, 4] }), "E_SHAPE", /keys \[1, 5, 6, 2, 4\] must be \[1, 5, 6, 2, 3\]/);
    expectError(of({ values: [1, 5, 7, 2, 3] }), "E_SHAPE", /values \[1, 5, 7, 2, 3\]/);
    expectError(of({ keys: [1, 5, 6, 3, 3], values: [1, 5, 6, 3, 3] }), "E_SHAPE", /2 heads are no multiple of 3 heads of keys/);
    expectError(of({ q: [1, 4, 0, 3] }), "E_SHAPE", /q \[1, 4, 0, 3\] must have at least one head/);
    expectError(of({ keys: [1, 5, 0, 2, 3], values: [1, 5, 0, 2, 3] }), "E_SHAPE", /chunk size 0/);
    expectError(of({ indices: [2, 2, 7] }), "E_SHAPE", /indices \[2, 2, 7\] must be \[1, 2, 7\]/);
    expectError(of({ weights: [1, 2, 6] }), "E_SHAPE", /weights \[1, 2, 6\] must be \[1, 2, 7\]/);
    expectError(of({ offsets: [1, 2] }), "E_SHAPE", /offsets \[1, 2\] must be \[1, 3\]/);
    expectError(of({ lengths: [1, 4] }), "E_SHAPE", /lengths \[1, 4\] must be \[1, 5\]/);
    expectError(of({}, {}, { indices: "f32" }), "E_DTYPE", /indices are f32; they must be i32/);
    expectError(of({}, {}, { weights: "i32" }), "E_DTYPE", /weights is i32/);
    expectError(of({}, { scale: NaN }), "E_ARGUMENT", /scale NaN/);
  });
});

describe("chunkAttention on every instruction set", () => {
  // By heads or by segments, as the threads have it; the last case has several segments.
  it.each<Case>([
    { T: 45, M: 5, S: 33, D: 20, Hq: 4, Hk: 2 }, { T: 40, B: 1, M: 2, S: 16, D: 5, Hq: 3, Hk: 1, C: 5 },
    { T: 188, B: 1, M: 4, S: 64, D: 8, C: 31, K: 8, lengths: null, offsets: [0, ...Array.from({ length: 31 }, (_, i) => 128 + 2 * i)] },
  ])("has the same bits with 1, 2 and 3 threads: %o", async (shape) => {
    await checkSameBits(attend(), inputs(shape));
  });
});

describe("chunkAttentionOperations", () => {
  it("counts two products forward and five backward", () => {
    const pairs = 2 * 3 * 4 * 5 * 6;
    const operations = chunkAttentionOperations({ batch: 2, queries: 3, heads: 4, slots: 5, chunkSize: 6, headSize: 7 });
    expect(operations).toEqual({ forward: 4 * 7 * pairs, gradient: 10 * 7 * pairs });
  });
});
