import { expect, it } from "vitest";
import { apply, type Op } from "./op";
import { firstRows, reshape } from "./ops/view";
import { detach, scopeUnlessRecording, valueAndGradient, vjp, withoutGradient } from "./tape";
import { dispose, scope, type Tensor, tensor } from "./tensor";
import { full, zeros } from "./ops/memory";
import { eachDevice, expectError, kernelsIn } from "./testing";

/** a·x + b·y, of the two kernels that the tape itself needs; saves a temporary, so that its lifetime is seen. */
const combineOp: Op<{ x: Tensor; y: Tensor | null }, { out: Tensor }, { a: number; b: number }> = {
  name: "combine",
  optional: ["y"],
  outputs: ({ x: { shape, dtype } }) => ({ out: { shape, dtype } }),
  forward({ x, y }, { out }, { a, b }, { recording }) {
    const kernels = kernelsIn(out.device);
    kernels.fill({ out, value: 0 });
    kernels.accumulate({ out, x, scale: a });
    if (y) kernels.accumulate({ out, x: y, scale: b });
    return recording ? { temporary: zeros(out.device, [100]) } : {};
  },
  gradient({ inputs: { x, y }, attributes: { a, b }, wanted }, { out: g }) {
    const scaled = (like: Tensor, factor: number) => {
      const result = zeros(like.device, like.shape, like.dtype);
      kernelsIn(like.device).accumulate({ out: result, x: g!, scale: factor });
      return result;
    };
    return { x: wanted.x ? scaled(x, a) : null, y: y && wanted.y ? scaled(y, b) : null };
  },
};

const combine = (x: Tensor, y: Tensor | null, a: number, b: number) => apply(combineOp, { x, y }, { a, b }).out;

eachDevice("the tape", (device) => {
  const used = () => device.memory().used;

  it("sums gradients over all paths", async () => {
    // f = 2u + 3u with u = x + 5y: df/dx = 5, df/dy = 25
    const result = scope(() => {
      const inputs = { x: tensor(device, [1, 2]), y: tensor(device, [3, 4]) };
      const { outputs, pullback } = vjp(({ x, y }: typeof inputs) => {
        const u = combine(x, y, 1, 5);
        return combine(combine(u, null, 2, 0), u, 1, 3);
      }, inputs);
      return { outputs, gradients: pullback(tensor(device, [1, 10])) };
    });
    expect(await result.outputs.read()).toEqual(new Float32Array([80, 110]));
    expect(await result.gradients.x.read()).toEqual(new Float32Array([5, 50]));
    expect(await result.gradients.y.read()).toEqual(new Float32Array([25, 250]));
    dispose(result);
  });

  it("gives zeros to inputs that the output does not depend on", async () => {
    const result = scope(() => {
      const inputs = [tensor(device, [1, 2]), tensor(device, [3])];
      const { pullback } = vjp(([x]: Tensor[]) => combine(x!, null, 2, 0), inputs);
      return pullback(full(device, [2], 1));
    });
    expect(await result[1]!.read()).toEqual(new Float32Array([0]));
    dispose(result);
  });

  it("stops at detached tensors and in withoutGradient", async () => {
    const gradients = scope(() => {
      const { pullback } = vjp((x: Tensor) => {
        const constant = withoutGradient(() => combine(x, null, 100, 0));
        return combine(combine(x, detach(x), 2, 7), constant, 1, 1);
      }, tensor(device, [1]));
      return pullback(full(device, [1], 1));
    });
    expect(await gradients.read()).toEqual(new Float32Array([2]));
    dispose(gradients);
  });

  it("records a gradient inside withoutGradient of another, which then goes on", async () => {
    const gradients = scope(() => {
      const { pullback } = vjp((x: Tensor) => {
        const inner = withoutGradient(() => vjp((y: Tensor) => withoutGradient(() => combine(y, null, 100, 0)) && combine(y, null, 5, 0), x)
          .pullback(full(device, [1], 1)));
        return combine(x, inner, 2, 1);
      }, tensor(device, [1]));
      return pullback(full(device, [1], 1));
    });
    expect(await gradients.read()).toEqual(new Float32Array([2]));
    dispose(gradients);
  });

  it("passes several outputs back, null for none", async () => {
    const gradients = scope(() => {
      const { pullback } = vjp((x: Tensor) => ({ twice: combine(x, null, 2, 0), thrice: combine(x, null, 3, 0), same: x }),
        tensor(device, [1]));
      return pullback({ twice: full(device, [1], 1), thrice: null, same: full(device, [1], 10) });
    });
    expect(await gradients.read()).toEqual(new Float32Array([12]));
    dispose(gradients);
  });

  it("leaves cotangents as they were, and gives gradients that do not share their memory", async () => {
    const result = scope(() => {
      const x = tensor(device, [1, 2]);
      const ones = full(device, [2], 1);
      // Two paths from u, the first of which hands the cotangent on as it is: the second must not be added to it.
      const { pullback } = vjp((x: Tensor) => {
        const u = combine(x, null, 2, 0);
        return { u, v: combine(reshape(u, [1, 2]), null, 3, 0), w: reshape(u, [2, 1]), x };
      }, x);
      const gradient = pullback({ u: ones, v: full(device, [1, 2], 1), w: reshape(ones, [2, 1]), x: ones });
      return { ones, gradient };
    });
    // x + 2 (1 + 3 + 1)
    expect([...(await result.gradient.read())]).toEqual([11, 11]);
    expect([...(await result.ones.read())]).toEqual([1, 1]);
    const same = scope(() => vjp((x: Tensor) => x, result.gradient).pullback(result.ones));
    same.write([5, 5]);
    expect([...(await result.ones.read())]).toEqual([1, 1]);
    dispose([result, same]);
  });

  it("adds the gradient of first rows to that of the whole, whichever comes first, and gives zeros to the other rows", async () => {
    const result = scope(() => {
      const x = tensor(device, [1, 2, 3, 4], [2, 2]);
      const [row, both] = [tensor(device, [1, 1], [1, 2]), full(device, [2, 2], 10)];
      const first = vjp((x: Tensor) => ({ whole: combine(x, null, 2, 0), rows: combine(firstRows(x, 1), null, 3, 0) }), x);
      const last = vjp((x: Tensor) => ({ rows: combine(firstRows(x, 1), null, 3, 0), whole: combine(x, null, 2, 0) }), x);
      const rowsOnly = vjp((x: Tensor) => ({ rows: firstRows(x, 1) }), x);
      return {
        row, both,
        gradients: [first.pullback({ rows: row, whole: both }), last.pullback({ rows: row, whole: both }),
          rowsOnly.pullback({ rows: row })],
      };
    });
    expect(await Promise.all(result.gradients.map(async (g) => [...(await g.read())])))
      .toEqual([[23, 23, 20, 20], [23, 23, 20, 20], [1, 1, 0, 0]]);
    result.gradients[2]!.write([5, 5, 5, 5]);
    expect([[...(await result.row.read())], [...(await result.both.read())]]).toEqual([[1, 1], [10, 10, 10, 10]]);
    dispose(result);
  });

  it("leaves what lies behind a cotangent as it was", async () => {
    const result = scope(() => {
      const larger = tensor(device, [1, 2, 3, 4, 5, 6], [3, 2]);
      return { larger, gradient: vjp((x: Tensor) => firstRows(x, 1), zeros(device, [3, 2])).pullback(larger.window([1, 2])) };
    });
    expect([...(await result.gradient.read())]).toEqual([1, 2, 0, 0, 0, 0]);
    expect([...(await result.larger.read())]).toEqual([1, 2, 3, 4, 5, 6]);
    dispose(result);
  });

  it("gives value, gradient and what else was asked for", async () => {
    const result = scope(() => {
      const parameters = { layers: [{ w: tensor(device, [3]) }] };
      return valueAndGradient(({ layers }) => {
        const loss = combine(layers[0]!.w, null, 4, 0);
        return { loss, aux: { state: combine(loss, null, 1, 0) } };
      }, parameters);
    });
    expect(await result.loss.item()).toBe(12);
    expect(await result.aux.state.item()).toBe(12);
    expect(await result.gradients.layers[0]!.w.read()).toEqual(new Float32Array([4]));
    dispose(result);
  });

  it("leaves nothing behind, with and without a scope", async () => {
    const x = tensor(device, [1, 2]);
    const seed = full(device, [2], 1);
    const before = used();
    for (let i = 0; i < 20; i++) {
      const { outputs, pullback } = vjp((v: Tensor) => combine(combine(v, v, 1, 1), null, 2, 0), x);
      dispose([pullback(seed), outputs]);
    }
    expect(used()).toBe(before);
    scope(() => {
      vjp((v: Tensor) => combine(v, null, 1, 0), x);
    });
    dispose([x, seed]);
  });

  it("frees as it walks back", () => {
    const chain = (length: number) => scope(() => {
      const x = zeros(device, [1 << 12]);
      const seed = full(device, [1 << 12], 1);
      const { pullback } = vjp((v: Tensor) => Array.from({ length }).reduce<Tensor>((y) => combine(y, null, 1, 0), v), x);
      const forward = device.memory().used;
      device.resetPeak();
      pullback(seed);
      return device.memory().peak - forward;
    });
    // What the way back adds does not grow with the length of the chain.
    expect(chain(40)).toBe(chain(10));
  });

  it("keeps what lies inside a step of a model for the way back, and frees it at once where there is none", async () => {
    const x = tensor(device, [1, 2]);
    let inside: Tensor | undefined;
    const step = (v: Tensor) => scopeUnlessRecording(() => {
      inside = combine(v, null, 2, 0);
      return { out: combine(inside, null, 3, 0) };
    });
    const forward = step(x);
    expect(inside!.disposed).toBe(true);
    expect(Array.from(await forward.out.read())).toEqual([6, 12]);
    const { outputs, pullback } = vjp((v: Tensor) => step(v), x);
    expect(inside!.disposed).toBe(false);
    const gradient = pullback({ out: outputs.out });
    expect(Array.from(await gradient.read())).toEqual([36, 72]);
    expect(inside!.disposed).toBe(true);
    dispose([x, forward, outputs, gradient]);
  });

  it("records nothing without tracked inputs, and only once at a time", () => {
    const before = used();
    scope(() => {
      const x = zeros(device, [1]);
      const constant = zeros(device, [1]);
      vjp((v: Tensor) => {
        const held = device.memory().used;
        combine(constant, null, 1, 0).dispose();
        expect(device.memory().used).toBe(held);
        expectError(() => vjp((w: Tensor) => w, v), "E_SCOPE", /another tape/);
        return combine(v, null, 1, 0);
      }, x);
      const { pullback } = vjp((v: Tensor) => combine(v, null, 1, 0), x);
      pullback(constant);
      expectError(() => pullback(constant), "E_SCOPE", /already called/);
    });
    expect(used()).toBe(before);
  });

  it("refuses functions that return a promise, or no loss", () => {
    const parameters = { w: tensor(device, [1], [1]) };
    const wrong = (f: () => unknown) => () => valueAndGradient(f as () => { loss: Tensor }, parameters);
    expect(wrong(() => Promise.resolve())).toThrow(/returned a promise/);
    expect(wrong(() => ({}))).toThrow(/loss must be a tensor/);
    // Nothing is still recording.
    scope(() => void valueAndGradient((p) => ({ loss: reshape(p.w, []) }), parameters));
    dispose(parameters);
  });

  it("refuses cotangents and losses of a wrong shape", () => {
    scope(() => {
      const x = zeros(device, [2]);
      const { pullback } = vjp((v: Tensor) => combine(v, null, 1, 0), x);
      expectError(() => pullback(zeros(device, [3])), "E_SHAPE", /cotangent/);
      expectError(() => valueAndGradient((v: Tensor) => ({ loss: combine(v, null, 1, 0) }), x), "E_SHAPE", /one number/);
    });
  });

  it("refuses gradients of another shape, and of what is no input, by the op's name", () => scope(() => {
    const x = zeros(device, [2]);
    const through = (gradient: () => unknown) => () => {
      const op = { ...combineOp, gradient } as typeof combineOp;
      const { pullback } = vjp((v: Tensor) => apply(op, { x: v, y: null }, { a: 1, b: 0 }).out, x);
      pullback(zeros(device, [2]));
    };
    expectError(through(() => ({ x: zeros(device, [3]) })), "E_SHAPE", /^combine: its gradient gave \[3\] for an input \[2\]$/);
    const unknown = /^combine: its gradient gave z, which is none of its inputs; they are x, y$/;
    expectError(through(() => ({ z: zeros(device, [2]) })), "E_ARGUMENT", unknown);
  }));

  it("leaves nothing behind of an op whose forward pass throws", () => {
    const x = zeros(device, [2]);
    const before = used();
    const broken: typeof combineOp = { ...combineOp, forward() { throw new Error("no such kernel"); } };
    expect(() => apply(broken, { x, y: null }, { a: 1, b: 0 })).toThrow("no such kernel");
    expect(used()).toBe(before);
    x.dispose();
  });
});
