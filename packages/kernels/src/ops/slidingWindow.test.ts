import { describe, expect, it } from "vitest";
import {
  checkGradient, checkLeaks, compareEvaluations, compareWithReference, eachDevice, evaluate, expectClose, expectError, type HostTensor,
  normals, type TestFunction,
} from "../testing";
import { dispose, leakedTensors, tensor, type Tensor } from "../tensor";
import { zeros } from "./memory";
import { alibiSlopes } from "./attention";
import { slidingWindowAttention } from "./slidingWindow";
import { concat, slice } from "./view";

interface Case {
  T: number;
  window: number;
  /** Positions in the state that comes in; none without. */
  P?: number;
  H?: number;
  K?: number;
  D?: number;
  kind?: "plain" | "alibi" | "rotate";
}

/** q, k, v, and the state's k and v */
const inputs = ({ T, P, H = 2, K = H, D = 8 }: Case): HostTensor[] => [
  normals(1, [2, T, H, D]), normals(2, [2, T, K, D]), normals(3, [2, T, K, D]),
  ...(P === undefined ? [] : [normals(4, [2, P, K, D]), normals(5, [2, P, K, D])]),
];

/** In pieces of these lengths, each starting from the state that the one before left. */
const pieces = (shape: Case, lengths: readonly number[]): TestFunction => (q, k, v, stateK, stateV) => {
  const { H = 2, kind = "plain", window } = shape;
  const slopes = kind === "alibi" ? tensor(q!.device, alibiSlopes(H), [H], q!.dtype) : null;
  let state = stateK ? { k: stateK, v: stateV! } : null;
  const outs: Tensor[] = [];
  let start = 0;
  for (const length of lengths) {
    const cut = (t: Tensor | undefined) => slice(t!, 1, start, start + length);
    const result = slidingWindowAttention({ q: cut(q), k: cut(k), v: cut(v), slopes, state },
      { window, ...(kind === "rotate" ? { rotate: { theta: 100 } } : {}) });
    outs.push(result.out);
    state = result.state;
    start += length;
  }
  return [concat(outs, 1), state!.k, state!.v];
};

describe("the reference sliding window", () => {
  it("has the gradient that finite differences give, states included", async () => {
    await checkGradient(pieces({ T: 5, window: 4, kind: "rotate" }, [2, 3]), inputs({ T: 5, window: 4, P: 3, D: 2 }));
    await checkGradient(pieces({ T: 4, window: 3, kind: "alibi" }, [3, 1]), inputs({ T: 4, window: 3, P: 1, D: 2, K: 1 }));
  });
});

eachDevice("slidingWindowAttention", (device) => {
  it.each<Case>([
    { T: 9, window: 4 }, { T: 9, window: 4, P: 3, kind: "alibi", H: 4, K: 2 }, { T: 9, window: 2, kind: "alibi" },
    { T: 8, window: 6, P: 2, kind: "rotate" }, { T: 7, window: 20, P: 5, kind: "rotate" },
    { T: 6, window: 3, P: 0, kind: "rotate" },
  ])("is the same at once, in chunks and step by step: %o", async (shape) => {
    const given = inputs(shape);
    await compareWithReference(device, pieces(shape, [shape.T]), given, { tolerance: 2e-5 });
    const whole = await evaluate(device, pieces(shape, [shape.T]), given);
    for (const lengths of [[1, 3, shape.T - 4], new Array<number>(shape.T).fill(1)]) {
      compareEvaluations(await evaluate(device, pieces(shape, lengths), given), whole, 2e-5);
    }
  });

  it("keeps a state of the last window - 1 positions", async () => {
    const shapes = async (T: number, window: number, P: number) =>
      (await evaluate(device, pieces({ T, window }, [T]), inputs({ T, window, P, D: 2 }), { gradients: false })).shapes.slice(1);
    expect(await shapes(5, 4, 0)).toEqual([[2, 3, 2, 2], [2, 3, 2, 2]]);
    expect(await shapes(2, 9, 4)).toEqual([[2, 6, 2, 2], [2, 6, 2, 2]]);
    expect(await shapes(3, 1, 0)).toEqual([[2, 0, 2, 2], [2, 0, 2, 2]]);
  });

  it("copies values through a window of one, with a state of nothing", async () => {
    const given = inputs({ T: 4, window: 1, P: 0 });
    const { outputs, gradients } = await evaluate(device, pieces({ T: 4, window: 1 }, [1, 3]), given);
    expectClose(outputs[0]!, given[2]!.data, 1e-6);
    expect(gradients.slice(3).map((values) => values!.length)).toEqual([0, 0]);
  });

  it("leaves no memory behind, with a tape and without one", async () => {
    const shape: Case = { T: 7, window: 4, P: 3, kind: "rotate" };
    await checkLeaks(device, pieces(shape, [3, 4]), inputs(shape));
    await device.synchronize();
    const [before, lost] = [device.memory().used, leakedTensors()];
    const [q, state] = [zeros(device, [1, 3, 1, 4]), zeros(device, [1, 2, 1, 4])];
    const result = slidingWindowAttention({ q, k: q, v: q, state: { k: state, v: state } }, { window: 4, rotate: {} });
    dispose([q, state, result]);
    await device.synchronize();
    expect([device.memory().used, leakedTensors()]).toEqual([before, lost]);
  });

  it("refuses what does not fit, naming it", () => {
    const call = (options: { window: number; rotate?: object }, state?: number[], k = [1, 4, 2, 2], alibi = false) => () => {
      const past = state && { k: zeros(device, state), v: zeros(device, state) };
      slidingWindowAttention({ q: zeros(device, [1, 4, 2, 2]), k: zeros(device, k), v: zeros(device, k), state: past,
        slopes: alibi ? zeros(device, [2]) : null }, options);
    };
    expectError(call({ window: 0 }), "E_ARGUMENT", /window 0/);
    expectError(call({ window: 3, rotate: {} }, undefined, undefined, true), "E_ARGUMENT", /slopes and rotate/);
    expectError(call({ window: 3 }, [1, 3, 2, 2]), "E_SHAPE", /state.k \[1, 3, 2, 2\] .* at most window - 1 = 2/);
    expectError(call({ window: 3 }, [1, 2, 1, 2]), "E_SHAPE", /state.k/);
    expectError(call({ window: 3 }, undefined, [1, 5, 2, 2]), "E_SHAPE", /k \[1, 5, 2, 2\] must be \[B,T,Hk,D\]/);
  });
});
