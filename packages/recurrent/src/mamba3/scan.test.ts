/**
 * The recurrence of Mamba-3 against golden values of mamba_ssm (data/goldens, ops/mamba3) for one input a head, and against its own
 * definition, step by step in plain float64, for several.
 */
/// <reference types="vite/types/importMeta.d.ts" />
import {
  type Device, dispose, keep, memorySource, mul, open, openSafetensors, reshape, scope, silu, slice, type Tensor, tensor,
  transpose, vjp,
} from "@lenggen/kernels";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { deviation, deviceCases } from "../golden.fixture";
import { type Mamba3Inputs, type Mamba3LayerState, mamba3Scan } from "./scan";

// As data URLs, which Node and browsers can read.
const FILES = import.meta.glob<string>("../../../../../shared/data/goldens/ops/mamba3.safetensors",
  { query: "?url&inline", import: "default" });
const [golden] = Object.values(FILES);
if (!golden) console.warn("tests of Mamba-3's scan against golden values do not run: the shared data does not lie beside the repository");

interface Sizes { T: number; R: number; G: number; H: number; N: number; P: number; A: number; B?: number }

type Numbers = { readonly data: number[]; readonly shape: number[] };

/** Inputs without a pattern, from -1 to 1. */
function drawn(seed: number, shape: number[], scale = 1, shift = 0): Numbers {
  let at = seed * 7919 + 17;
  const data = Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => {
    at = (at * 1103515245 + 12345) % 2 ** 31;
    return Math.fround(shift + scale * (at / 2 ** 30 - 1));
  });
  return { data, shape };
}

const NAMES = ["q", "k", "v", "dt", "a", "trap", "angles", "qBias", "kBias", "d", "mimoX"] as const;
const STATE = ["angle", "ssm", "k", "v"] as const;

function problem({ T, R, G, H, N, P, A, B = 2 }: Sizes, decay: readonly [number, number] = [1e-4, 2], step = 0.5): Record<string, Numbers> {
  const [low, high] = decay;
  const spread = drawn(5, [B, T, H]);
  const log = spread.data.map((x) => Math.fround(-low * (high / low) ** ((x + 1) / 2)));
  return {
    q: drawn(1, [B, T, R, G, N]), k: drawn(2, [B, T, R, G, N]), v: drawn(3, [B, T, H, P]), dt: drawn(4, [B, T, H], step, step * 1.01),
    a: { data: log, shape: spread.shape }, trap: drawn(6, [B, T, H], 3), angles: drawn(7, [B, T, 1, A], 2), qBias: drawn(8, [R, H, N]),
    kBias: drawn(9, [R, H, N]), d: drawn(10, [H]), mimoX: drawn(11, [R, H, P], 0.5, 0.7),
    "state.angle": drawn(12, [B, H, A], 3, 3), "state.ssm": drawn(13, [B, H, P, N]), "state.k": drawn(14, [B, R, H, N]),
    "state.v": drawn(15, [B, H, P]),
  };
}

/** The definition, step by step; halves turn where there are several inputs. */
function plain(sizes: Sizes, given: Record<string, Numbers>) {
  const { T, R, G, H, N, P, A, B = 2 } = sizes;
  const of = (name: string, ...at: number[]): number => {
    const { data, shape } = given[name]!;
    return data[at.reduce((sum, index, axis) => sum * shape[axis]! + index, 0)]!;
  };
  const y: number[] = Array<number>(B * T * R * H * P);
  const final = { angle: [] as number[], ssm: [] as number[], k: Array<number>(B * R * H * N), v: [] as number[] };
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < H; h++) {
      const theta = Array.from({ length: A }, (_, i) => of("state.angle", b, h, i));
      const S = Array.from({ length: P }, (_, p) => Array.from({ length: N }, (__, n) => of("state.ssm", b, h, p, n)));
      let kBefore = Array.from({ length: R }, (_, r) => Array.from({ length: N }, (__, n) => of("state.k", b, r, h, n)));
      let vBefore = Array.from({ length: P }, (_, p) => of("state.v", b, h, p));
      const x = (v: number[], r: number, p: number) => v[p]! * of("mimoX", r, h, p);
      for (let t = 0; t < T; t++) {
        const dt = of("dt", b, t, h);
        const lambda = 1 / (1 + Math.exp(-of("trap", b, t, h)));
        const alpha = Math.exp(of("a", b, t, h));
        const [beta, gamma] = [(1 - lambda) * dt * alpha, lambda * dt];
        for (let i = 0; i < A; i++) {
          const next = theta[i]! + Math.PI * Math.tanh(of("angles", b, t, 0, i)) * dt;
          theta[i] = next - 2 * Math.PI * Math.floor(next / (2 * Math.PI));
        }
        const turned = (name: "q" | "k") => Array.from({ length: R }, (_, r) => {
          const u = Array.from({ length: N }, (__, n) => of(name, b, t, r, Math.floor((h * G) / H), n) + of(`${name}Bias`, r, h, n));
          for (let i = 0; i < A; i++) {
            const [one, other] = R > 1 ? [i, i + N / 2] : [2 * i, 2 * i + 1];
            const [c, s, ua, ub] = [Math.cos(theta[i]!), Math.sin(theta[i]!), u[one]!, u[other]!];
            [u[one], u[other]] = [ua * c - ub * s, ua * s + ub * c];
          }
          return u;
        });
        const [qs, ks] = [turned("q"), turned("k")];
        const v = Array.from({ length: P }, (_, p) => of("v", b, t, h, p));
        for (let p = 0; p < P; p++) {
          for (let n = 0; n < N; n++) {
            let sum = alpha * S[p]![n]!;
            for (let r = 0; r < R; r++) sum += beta * x(vBefore, r, p) * kBefore[r]![n]! + gamma * x(v, r, p) * ks[r]![n]!;
            S[p]![n] = sum;
          }
          for (let r = 0; r < R; r++) {
            y[(((b * T + t) * R + r) * H + h) * P + p] = S[p]!.reduce((sum, s, n) => sum + s * qs[r]![n]!, of("d", h) * x(v, r, p));
          }
        }
        [kBefore, vBefore] = [ks, v];
      }
      final.angle.push(...theta);
      final.ssm.push(...S.flat());
      final.v.push(...vBefore);
      kBefore.forEach((row, r) => row.forEach((value, n) => (final.k[((b * R + r) * H + h) * N + n] = value)));
    }
  }
  return { y, state: final };
}

/** Tensors on a device, as the scan takes them. */
function uploaded(device: Device, given: Record<string, Numbers>, mimo: boolean): Mamba3Inputs & { state: Mamba3LayerState } {
  const dtype = device.dtypes.includes("f64") ? "f64" : "f32";
  const of = (name: string) => tensor(device, given[name]!.data, given[name]!.shape, dtype);
  return {
    ...(Object.fromEntries(NAMES.map((name) => [name, name === "mimoX" && !mimo ? null : of(name)])) as unknown as Mamba3Inputs),
    state: Object.fromEntries(STATE.map((name) => [name, of(`state.${name}`)])) as unknown as Mamba3LayerState,
  };
}

const OVER_TIME = ["q", "k", "v", "dt", "a", "trap", "angles"] as const;

/** The scan in pieces. */
function inPieces(given: Mamba3Inputs, lengths: readonly number[], options: { chunk: number; halves: boolean }) {
  let [from, state] = [0, given.state];
  const ys: Tensor[] = [];
  for (const length of lengths) {
    const part = OVER_TIME.map((name) => [name, slice(given[name], 1, from, from + length)]);
    const result = mamba3Scan({ ...given, ...Object.fromEntries(part), state }, options);
    ys.push(result.y);
    state = result.state;
    from += length;
  }
  return { ys, state: state! };
}

describe.each(deviceCases)("the recurrence of Mamba-3 on $name", ({ name, dtype }) => {
  const tolerance = dtype === "f64" ? 1e-10 : 1e-5;
  let device: Device;
  beforeAll(async () => {
    device = await open(name, { fallback: true });
  });
  afterAll(() => device.close());

  const expectSame = async (actual: { y: Tensor; state: Mamba3LayerState }, expected: ReturnType<typeof plain>, within = tolerance) => {
    const off: [string, number][] = [["y", await deviation(actual.y, expected.y)]];
    for (const part of STATE) off.push([part, await deviation(actual.state[part]!, expected.state[part])]);
    for (const [part, by] of off) expect([part, by]).toEqual([part, expect.toSatisfy((x: number) => x < within, `below ${within}`)]);
  };

  it.each<[string, Sizes]>([
    ["one input", { T: 70, R: 1, G: 2, H: 4, N: 12, P: 10, A: 3 }],
    ["two inputs", { T: 37, R: 2, G: 1, H: 2, N: 8, P: 6, A: 2 }],
    ["four inputs, all pairs turning", { T: 33, R: 4, G: 2, H: 4, N: 16, P: 5, A: 8 }],
    ["one step of three inputs", { T: 1, R: 3, G: 1, H: 1, N: 4, P: 3, A: 1 }],
  ])("is the definition's, step by step: %s", async (_, sizes) => {
    const given = problem(sizes);
    if (sizes.R === 1) given["mimoX"]!.data.fill(1);
    const actual = keep(scope(() =>
      mamba3Scan(uploaded(device, given, sizes.R > 1), { chunk: sizes.R > 1 ? 8 * sizes.R : 16, halves: sizes.R > 1 })));
    await expectSame(actual, plain(sizes, given));
    dispose(actual);
  });

  it("keeps its digits where a step forgets all, and where nothing is forgotten", async () => {
    const sizes = { T: 200, R: 1, G: 1, H: 3, N: 8, P: 6, A: 2 };
    const given = problem(sizes, [1e-4, 300], 0.05);
    given["mimoX"]!.data.fill(1);
    const actual = keep(scope(() => mamba3Scan(uploaded(device, given, false), { chunk: 64, halves: false })));
    await expectSame(actual, plain(sizes, given));
    dispose(actual);
  });

  it("keeps its digits where nearly all of an input enters a step late", async () => {
    const sizes = { T: 60, R: 1, G: 1, H: 3, N: 8, P: 6, A: 2 };
    const given = problem(sizes);
    given["mimoX"]!.data.fill(1);
    given["trap"]!.data.forEach((x, i, all) => (all[i] = 3 * x - 8));
    const actual = keep(scope(() => mamba3Scan(uploaded(device, given, false), { chunk: 16, halves: false })));
    await expectSame(actual, plain(sizes, given));
    dispose(actual);
  });

  it("keeps its angles over 16,384 steps, however they are cut", async () => {
    const sizes = { T: 16_384, R: 1, G: 1, H: 1, N: 4, P: 2, A: 2, B: 1 };
    const given = problem(sizes, [1e-3, 1]);
    given["mimoX"]!.data.fill(1);
    const expected = plain(sizes, given);
    const [whole, pieces] = keep(scope(() => {
      const inputs = uploaded(device, given, false);
      return [mamba3Scan(inputs, { chunk: 64, halves: false }),
        inPieces(inputs, [...Array<number>(name === "cpu" ? 512 : 32).fill(1), ...Array<number>(name === "cpu" ? 496 : 511).fill(32)],
          { chunk: 64, halves: false })] as const;
    }));
    // 8,000 turns: half a digit of a float32 is lost at every cut at most.
    const within = dtype === "f64" ? 1e-9 : 1e-4;
    await expectSame(whole, expected, within);
    for (const part of STATE) expect(await deviation(pieces.state[part]!, expected.state[part])).toBeLessThan(within);
    dispose([whole, pieces]);
  });

  it.each([1, 3])("depends on differences of angles alone, so that noise can do without them: %i inputs", async (R) => {
    const sizes = { T: 20, R, G: 1, H: 2, N: 8, P: 3, A: 4 };
    const given = problem(sizes);
    if (R === 1) given["mimoX"]!.data.fill(1);
    const by = 1.3;
    const moved: typeof given = { ...given,
      "state.angle": { ...given["state.angle"]!, data: given["state.angle"]!.data.map((x) => x + by) } };
    // The keys of the state and the remembered one turn along.
    for (const part of ["state.ssm", "state.k"]) {
      const data = [...given[part]!.data];
      for (let row = 0; row < data.length; row += 8) {
        for (let i = 0; i < 4; i++) {
          const [one, other] = R > 1 ? [row + i, row + i + 4] : [row + 2 * i, row + 2 * i + 1];
          const [a, b] = [data[one]!, data[other]!];
          [data[one], data[other]] = [a * Math.cos(by) - b * Math.sin(by), a * Math.sin(by) + b * Math.cos(by)];
        }
      }
      moved[part] = { ...given[part]!, data };
    }
    const run = (from: typeof given) =>
      keep(scope(() => mamba3Scan(uploaded(device, from, R > 1), { chunk: 16 * R, halves: R > 1 })));
    const [one, other] = [run(given), run(moved)];
    expect(await deviation(other.y, await one.y.read())).toBeLessThan(tolerance);
    dispose([one, other]);
  });

  it.skipIf(!golden)("gives the golden outputs, states and gradients", async () => {
    const bytes = new Uint8Array(await (await fetch(await golden!())).arrayBuffer());
    const file = await openSafetensors(memorySource(bytes, "mamba3.safetensors"));
    const values = await file.loadAll(device, { dtype });
    const of = (part: string) => values[part]!;
    // The golden inputs in their own layout, as leaves of the gradient.
    const inputs = Object.fromEntries(Object.keys(file.tensors)
      .filter((part) => !/^(?:d_|final_|out$)/.test(part)).map((part) => [part, of(part)]));
    const results = scope(() => {
      const { outputs, pullback } = vjp((g: Record<string, Tensor>) => {
        const timeFirst = (t: Tensor) => transpose(t, [0, 2, 1]);
        const withRank = (t: Tensor, at: number) => reshape(t, t.shape.toSpliced(at, 0, 1));
        const scan = mamba3Scan({
          q: withRank(g["Q"]!, 2), k: withRank(g["K"]!, 2), v: g["V"]!, dt: timeFirst(g["DT"]!), a: timeFirst(g["ADT"]!),
          trap: timeFirst(g["Trap"]!), angles: g["Angles"]!, qBias: withRank(g["Q_bias"]!, 0), kBias: withRank(g["K_bias"]!, 0), d: g["D"]!,
          mimoX: null,
          state: { angle: g["initial_angle"]!, ssm: g["initial_ssm"]!, k: withRank(g["initial_k"]!, 1), v: g["initial_v"]! },
        }, { chunk: 16, halves: false });
        return { out: mul(reshape(scan.y, g["Z"]!.shape), silu(g["Z"]!)), final_angle: scan.state.angle, final_ssm: scan.state.ssm,
          final_k: reshape(scan.state.k, g["initial_k"]!.shape), final_v: scan.state.v };
      }, inputs);
      const gradients = pullback(Object.fromEntries(Object.keys(outputs).map((part) => [part, of(`d_${part}`)])) as typeof outputs);
      return keep([...Object.entries(outputs), ...Object.entries(gradients).map(([part, t]) => [`d_${part}`, t] as const)]
        .map(([part, t]) => ({ part, t })));
    });
    for (const { part, t } of results) {
      const by = await deviation(t, await of(part).read());
      expect([part, by]).toEqual([part, expect.toSatisfy((x: number) => x < (dtype === "f64" ? 1e-10 : 2e-5), "close")]);
    }
    dispose([results, values]);
  });
});
