import { describe, expect, it } from "vitest";
import {
  checkGradient, checkLeaks, checkSameBits, compareWithReference, eachDevice, evaluate, expectClose, expectError, type HostTensor, host,
  normals, referenceDevice, type TestFunction,
} from "../testing";
import { detach } from "../tape";
import { tensor } from "../tensor";
import { zeros } from "./memory";
import { alibiSlopes, attention, attentionOperations } from "./attention";

interface Case {
  T: number;
  /** Keys; T unless given. */
  U?: number;
  B?: number;
  H?: number;
  /** Heads of keys. */
  K?: number;
  D?: number;
  window?: number;
  causal?: boolean;
  alibi?: boolean;
  lengths?: readonly number[];
  /** Of the queries: how strong the scores are. */
  spread?: number;
}

/** q, k, v */
const inputs = ({ T, U = T, B = 2, H = 2, K = H, D = 16, spread = 1 }: Case): HostTensor[] => [
  normals(1, [B, T, H, D], spread), normals(2, [B, U, K, D]), normals(3, [B, U, K, D]),
];

const of = ({ H = 2, window, causal, alibi = false, lengths }: Case): TestFunction => (q, k, v) => {
  const slopes = alibi ? tensor(q!.device, alibiSlopes(H), [H], q!.dtype) : null;
  const ends = lengths ? tensor(q!.device, lengths, [lengths.length], "i32") : null;
  return attention({ q: q!, k: k!, v: v!, slopes, lengths: ends }, { window, causal });
};

/** The definition, worked out once more and another way: all scores first, then a softmax over them. */
function naive({ T, U = T, B = 2, H = 2, K = H, D = 16, window = U, causal = true, alibi = false, lengths }: Case,
  [q, k, v]: readonly HostTensor[]): number[] {
  const out: number[] = [];
  for (let b = 0; b < B; b++) for (let t = 0; t < T; t++) for (let h = 0; h < H; h++) {
    const p = U - T + t;
    const end = lengths?.[b] ?? U;
    const row = (x: HostTensor, position: number, heads: number, head: number, rows: number) =>
      x.data.slice(((b * rows + position) * heads + head) * D, ((b * rows + position) * heads + head + 1) * D);
    const keyHead = Math.floor((h * K) / H);
    const query = row(q!, t, H, h, T);
    const weights = Array.from({ length: U }, (_, j) => {
      if (p >= end || j >= end || (causal && (j > p || j <= p - window))) return 0;
      const key = row(k!, j, K, keyHead, U);
      const score = query.reduce((sum, x, n) => sum + x * key[n]!, 0) / Math.sqrt(D);
      return Math.exp(score - (alibi ? 2 ** ((-8 * (h + 1)) / H) * Math.abs(p - j) : 0));
    });
    const total = weights.reduce((sum, x) => sum + x, 0);
    for (let n = 0; n < D; n++) {
      out.push(total === 0 ? 0 : weights.reduce((sum, x, j) => sum + (x / total) * row(v!, j, K, keyHead, U)[n]!, 0));
    }
  }
  return out;
}

describe("the reference attention", () => {
  it.each<Case>([
    { T: 7, H: 4, K: 2, D: 3 }, { T: 3, U: 9, window: 4, alibi: true, D: 5 }, { T: 6, causal: false, alibi: true, D: 4, lengths: [6, 4] },
    { T: 5, D: 4, lengths: [0, 3], window: 2 },
  ])("is a softmax over what is seen: %o", async (shape) => {
    const given = inputs(shape);
    const { outputs } = await evaluate(referenceDevice, of(shape), given, { precise: true, gradients: false });
    expectClose(outputs[0]!, naive(shape, given), 1e-13);
  });

  it.each<Case>([
    { T: 4, H: 4, K: 2, D: 3, B: 1 }, { T: 3, U: 7, window: 3, alibi: true, D: 2 }, { T: 4, causal: false, D: 2, lengths: [4, 2] },
    { T: 5, D: 2, lengths: [0, 3], window: 2, spread: 3 },
  ])("has the gradient that finite differences give: %o", async (shape) => {
    await checkGradient(of(shape), inputs(shape));
  });
});

eachDevice("attention", (device) => {
  it.each<Case>([
    { T: 1, U: 70, D: 6 }, { T: 1, U: 150, H: 6, K: 2, D: 64, B: 1, alibi: true }, { T: 5, U: 66, window: 64 }, { T: 70, D: 1 },
    { T: 33, U: 97, D: 80, B: 1, alibi: true },
    { T: 67, window: 2, H: 4, K: 1, D: 5 }, { T: 130, window: 63, B: 1, alibi: true }, { T: 130, U: 140, window: 64, B: 1, H: 4, K: 2 },
    { T: 150, window: 65, B: 1, D: 64, H: 3 }, { T: 90, window: 300, B: 1, H: 3, K: 1, alibi: true },
    { T: 75, causal: false, H: 4, K: 2, alibi: true }, { T: 70, causal: false, lengths: [70, 31], D: 6 },
    { T: 70, B: 4, H: 2, lengths: [0, 1, 70, 65], window: 9 }, { T: 40, B: 3, lengths: [-5, 99, 40], D: 3 },
  ])("is as on the reference: %o", async (shape) => {
    await compareWithReference(device, of(shape), inputs(shape), { tolerance: 2e-5 });
  });

  it("bears strong scores", async () => {
    for (const shape of [{ T: 70, spread: 40, D: 8 }, { T: 70, spread: 40, D: 8, window: 20, alibi: true }] satisfies Case[]) {
      await compareWithReference(device, of(shape), inputs(shape), { tolerance: 1e-4 });
    }
    // Scores of 1e5, all of them equal: nothing overflows, and the mean of the values comes out.
    const q = host(new Array<number>(70 * 4).fill(500), [1, 70, 1, 4]);
    const { outputs, gradients } = await evaluate(device, of({ T: 70, H: 1 }),
      [q, { ...q, data: q.data.map(() => 100) }, { ...q, data: q.data.map((_, i) => Math.floor(i / 4)) }]);
    expect(Math.abs(outputs[0]![69 * 4]! - 34.5)).toBeLessThan(1e-3);
    expect(gradients.every((values) => Array.from(values!).every(Number.isFinite))).toBe(true);
  });

  it("takes any scale", async () => {
    const scaled: TestFunction = (q, k, v) => attention({ q: q!, k: k!, v: v! }, { scale: -0.7, window: 5 });
    await compareWithReference(device, scaled, inputs({ T: 20 }), { tolerance: 2e-5 });
  });

  it.each<Case>([{ T: 1 }, { T: 1, causal: false }, { T: 67, window: 1, D: 6 },
    { T: 3, U: 66, window: 1 }])("copies the value where one key alone is seen: %o", async (shape) => {
    const given = inputs(shape);
    const { outputs, gradients: [dq, dk, dv] } = await evaluate(device, of(shape), given, { cotangent: 1 });
    const { T, U = T, D = 16 } = shape;
    const seen = (at: number) => Math.floor(at / (2 * D)) % U >= U - T;
    expectClose(outputs[0]!, given[2]!.data.filter((_, at) => seen(at)), 1e-6);
    expectClose(dv!, given[2]!.data.map((_, at) => Number(seen(at))), 1e-6);
    // The softmax of one score does not depend on it.
    expect(Math.max(...Array.from(dq!).map(Math.abs), ...Array.from(dk!).map(Math.abs))).toBeLessThan(1e-4);
  });

  it("gives exact zeros beyond the lengths, whatever lies there", async () => {
    const shape = { T: 70, D: 3, H: 1, lengths: [0, 65] };
    const [q, k, v] = inputs(shape).map((t) => ({ ...t, data: t.data.map((x, i) => (i >= (70 + 65) * 3 || i < 70 * 3 ? NaN : x)) }));
    const { outputs, gradients } = await evaluate(device, of(shape), [q!, k!, v!]);
    for (const values of [outputs[0]!, ...gradients.map((g) => g!)]) {
      const list = Array.from(values);
      expect([...list.slice(0, 70 * 3), ...list.slice((70 + 65) * 3)].every((x) => x === 0)).toBe(true);
      expect(list.slice(70 * 3, (70 + 65) * 3).every(Number.isFinite)).toBe(true);
    }
  });

  it("gives gradients only to those that want them, and takes an empty batch", async () => {
    const some: TestFunction = (q, k, v) => attention({ q: q!, k: detach(k!), v: v! });
    await compareWithReference(device, some, inputs({ T: 9 }), { tolerance: 2e-5 });
    const { outputs, gradients } = await evaluate(device, of({ T: 3 }), inputs({ T: 3, B: 0 }));
    expect([outputs[0]!.length, ...gradients.map((g) => g!.length)]).toEqual([0, 0, 0, 0]);
  });

  it("leaves no memory behind, and gives the same bits again", async () => {
    const shape = { T: 70, window: 30, H: 4, K: 2 };
    await checkLeaks(device, of(shape), inputs(shape));
    expect(await evaluate(device, of(shape), inputs(shape))).toEqual(await evaluate(device, of(shape), inputs(shape)));
  });

  it("refuses what does not fit, naming it", () => {
    const shapes = { q: [1, 4, 2, 3], k: [1, 4, 2, 3], v: [1, 4, 2, 3] };
    const call = (changed: Partial<Record<"q" | "k" | "v" | "slopes", number[]>>, options = {}, lengths?: number[]) => () => {
      const { slopes, ...rest } = { ...shapes, slopes: undefined, ...changed };
      const [q, k, v] = [rest.q, rest.k, rest.v].map((shape) => zeros(device, shape));
      attention({ q: q!, k: k!, v: v!, slopes: slopes && zeros(device, slopes), lengths: lengths && zeros(device, lengths, "i32") },
        options);
    };
    expectError(call({ q: [4, 2, 3] }), "E_SHAPE", /q \[4, 2, 3\] must be \[B,T,Hq,D\]/);
    expectError(call({ q: [1, 0, 2, 3] }), "E_SHAPE", /at least one step/);
    expectError(call({ k: [1, 4, 2, 4] }), "E_SHAPE", /k \[1, 4, 2, 4\] must be \[B,U,Hk,D\]/);
    expectError(call({ k: [1, 3, 2, 3], v: [1, 3, 2, 3] }), "E_SHAPE", /3 keys .* fewer than the 4 queries/);
    expectError(call({ q: [1, 4, 3, 3] }), "E_SHAPE", /3 heads .* 2 heads of keys/);
    expectError(call({ v: [1, 4, 2, 2] }), "E_SHAPE", /v \[1, 4, 2, 2\] must be \[1, 4, 2, 3\]/);
    expectError(call({ slopes: [3] }), "E_SHAPE", /slopes \[3\] must be \[2\]/);
    expectError(call({}, {}, [2]), "E_SHAPE", /lengths \[2\] must be \[1\]/);
    expectError(call({ k: [1, 5, 2, 3], v: [1, 5, 2, 3] }, {}, [1]), "E_SHAPE", /with lengths .* 5 and 4/);
    expectError(call({ k: [1, 5, 2, 3], v: [1, 5, 2, 3] }, { causal: false }), "E_SHAPE", /not causal .* 5 and 4/);
    expectError(call({}, { window: 0 }), "E_ARGUMENT", /window 0/);
    expectError(call({}, { window: 2, causal: false }), "E_ARGUMENT", /a window needs causal/);
    expectError(call({}, { scale: NaN }), "E_ARGUMENT", /scale NaN/);
    expectError(() => {
      const q = zeros(device, [1, 4, 2, 3]);
      attention({ q, k: q, v: q, lengths: zeros(device, [1]) });
    }, "E_DTYPE", /lengths are f32/);
    expectError(() => {
      const q = zeros(device, [1, 4, 2, 3]);
      attention({ q, k: zeros(device, [1, 4, 2, 3], "i32"), v: q });
    }, "E_DTYPE", /k is i32/);
  });
});

describe("attention on every instruction set", () => {
  it.each<Case>([
    { T: 150, window: 70, H: 3, D: 24 }, { T: 400, window: 100, B: 1, H: 2, K: 1, D: 20, alibi: true },
    { T: 90, causal: false, H: 4, K: 2, D: 64, lengths: [90, 41] }, { T: 1, U: 130, H: 5, D: 7 },
  ])("has the same bits with 1, 2 and 3 threads: %o", async (shape) => {
    await checkSameBits(of(shape), inputs(shape), { tolerance: 2e-5 });
  });

  it("stays as close over many blocks of keys", async () => {
    const shape = { T: 1100, H: 1, B: 1, D: 8 };
    await checkSameBits(of(shape), inputs(shape), { tolerance: 5e-6 });
  });
});

describe("attentionOperations", () => {
  const count = (T: number, U: number, causal: boolean, window = U) => {
    let pairs = 0;
    for (let t = 0; t < T; t++) for (let j = 0; j < U; j++) if (!causal || (j <= U - T + t && j > U - T + t - window)) pairs++;
    return pairs;
  };
  it("counts the pairs that are seen", () => {
    for (const [T, U, causal, window] of [[7, 7, true, 7], [7, 7, true, 3], [5, 9, true, 4], [5, 9, true, 7], [5, 9, true, 40],
      [6, 6, false, 6], [1, 8, true, 1]] as const) {
      const { forward, gradient } =
        attentionOperations({ batch: 2, time: T, keys: U, heads: 3, headSize: 5, causal, ...(causal ? { window } : {}) });
      expect(forward).toBe(2 * 3 * 5 * 4 * count(T, U, causal, window));
      expect(gradient).toBe(2.5 * forward);
    }
  });
});

describe("alibiSlopes", () => {
  it("halves from head to head when there are eight", () => {
    expect(alibiSlopes(8)).toEqual([1, 2, 3, 4, 5, 6, 7, 8].map((i) => 2 ** -i));
    expectError(() => alibiSlopes(0), "E_ARGUMENT", /alibiSlopes: 0/);
  });
});
