import { describe, expect, it } from "vitest";
import {
  checkGradient, compareWithReference, checkLeaks, checkSameBits, eachDevice, evaluate, expectClose, expectError, type HostTensor, host, integers, normals,
  referenceDevice, type TestFunction, testRandom, uniforms,
} from "../testing";
import { zeros } from "../tensor";
import { chunkAttention, chunkAttentionOperations } from "./chunkAttention";

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

const attend = (options: { offByOne?: boolean; scale?: number } = {}): TestFunction => (q, keys, values, indices, weights, offsets, lengths) =>
  chunkAttention({ q, keys, values, indices, weights, offsets, lengths: lengths ?? null }, options);

describe("the reference chunk attention", () => {
  it.each([{}, { offByOne: true }, { scale: 0.7 }])("has the gradient that finite differences give, weights included: %o", async (options) => {
    await checkGradient(attend(options), inputs({ T: 7, D: 3, M: 4, S: 5, K: 4, Hq: 4, offsets: [1, 4, 4, 6] }));
  });
});

eachDevice("chunkAttention", (device) => {
  const shapes: Case[] = [
    { T: 1, M: 1, C: 1, K: 1, B: 1 }, { T: 1, M: 3, S: 64, D: 64, C: 1, K: 3, Hq: 4 }, { T: 12, M: 3, S: 16, K: 5 },
    { T: 40, M: 5, S: 33, D: 16, K: 3, Hq: 6, Hk: 2 }, { T: 70, M: 4, S: 64, D: 64, C: 2, K: 2, B: 1 }, { T: 37, M: 6, S: 20, D: 1, Hq: 3, Hk: 1 },
    { T: 21, M: 4, S: 17, D: 5, Hq: 4, Hk: 4 }, { T: 30, M: 3, S: 128, D: 80, K: 2, B: 1 }, { T: 150, M: 3, S: 16, C: 1, K: 2, Hq: 4, Hk: 1, B: 1 },
    { T: 24, M: 2, S: 1, C: 4, K: 2 },
  ];
  it.each(shapes)("agrees with the sums in float64: %o", async (shape) => {
    await compareWithReference(device, attend(), inputs(shape));
  });
});
