import { dispose, foldIn, hostRandom, key, leaves, open, scope, type SequenceModel, tensor, type Tree, zeros } from "@lenggen/kernels";
import { describe, expect, it } from "vitest";
import { eachDevice } from "../test/devices";
import { HEADS, tinyModel, type TinyState, WIDTH } from "../test/tinyModel";
import type { InitialStates, StateRequest } from "./initialStates";
import { createIntervention, INTERVENTIONS } from "./interventions";
import { weightOfBatch } from "./sources/fittedNoise";

const model = tinyModel();
const BATCH = 4;
const FEATURES = HEADS * WIDTH;

eachDevice("a source of initial states", (device) => {
  function request(step: number, more: Partial<StateRequest> = {}): StateRequest {
    return { key: foldIn(key(5), step), step, microBatch: 0, batch: BATCH, device, dtype: "f32", ...more };
  }

  /** A final state of numbers drawn from a seed, all different and none zero. */
  function finalState(seed: number, batch = BATCH, size: (sample: number, head: number) => number = () => 1): TinyState {
    const random = hostRandom(key(seed));
    const sums = Array.from({ length: batch * FEATURES }, (_, i) =>
      (0.5 + random.uniform()) * size(Math.floor(i / FEATURES), Math.floor(i / WIDTH) % HEADS));
    const window = Array.from({ length: batch * FEATURES }, () => 0.5 + random.uniform());
    return { layers: [{ sum: tensor(device, sums, [batch, HEADS, WIDTH]), previous: tensor(device, window, [batch, 1, FEATURES]) }] };
  }

  /** Shows a source a state, as a training step does. */
  function show(source: InitialStates, seed: number, more: Partial<StateRequest> = {}): void {
    scope(() => {
      source.observe(finalState(seed, more.batch), request(seed, more));
    });
  }

  async function numbers(state: Tree | undefined): Promise<Record<string, number[]> | undefined> {
    if (state === undefined) return undefined;
    const read = await Promise.all(leaves(state).map(async ({ path, tensor: t }): Promise<[string, number[]]> =>
      [path, [...await t.read()]]));
    return Object.fromEntries(read);
  }

  /** What the source gives, as numbers. */
  function next(source: InitialStates, step: number, more: Partial<StateRequest> = {}): Promise<Record<string, number[]> | undefined> {
    return scope(() => ({ read: numbers(source.next(request(step, more))) })).read; // reads see what was there when they were asked for
  }

  const SUM = "layers.0.sum";
  const WINDOW = "layers.0.previous";

  async function shown(seed: number): Promise<Record<string, number[]>> {
    const state = finalState(seed);
    const result = (await numbers(state))!;
    dispose(state);
    return result;
  }

  describe("every source", () => {
    it.each(Object.keys(INTERVENTIONS))("%s begins with zero, unless it is noise of its own", async (name) => {
      const source = createIntervention(name, model);
      expect((await next(source, 0)) === undefined).toBe(name !== "random-noise");
      source.dispose();
    });

    it("refuses unknown names and options with the nearest", () => {
      expect(() => createIntervention("state-pasing", model)).toThrow(
        expect.objectContaining({ code: "E_UNKNOWN_NAME", message: expect.stringContaining('did you mean "state-passing"?') }));
      expect(() => createIntervention("toString", model)).toThrow(expect.objectContaining({ code: "E_UNKNOWN_NAME" }));
      expect(() => createIntervention("tbtt", model, { resetPobability: 0 })).toThrow(/did you mean "resetProbability"/);
      expect(() => createIntervention("random-noise", model, { std: -1 })).toThrow(/std is -1; it must be a number above 0/);
      expect(() => createIntervention("zero", model, { std: 1 })).toThrow(/unknown setting std; it has none/);
    });

    it.each([["state-passing", "slots"], ["tbtt", "slots"], ["fitted-noise", "batches"]])("%s refuses a damaged checkpoint",
      (name, what) => {
      const source = createIntervention(name, model);
      for (const values of [null, "x", { [what]: "x" }, { [what]: what === "slots" ? [0] : 2 }]) {
        expect(() => source.restore({ tensors: {}, values })).toThrow(expect.objectContaining({ code: "E_FORMAT" }));
      }
    });
  });

  describe("state passing", () => {
    it("gives back the final state of the batch before, one per micro-batch", async () => {
      const source = INTERVENTIONS["state-passing"].create(model, { resetProbability: 0 });
      show(source, 1);
      show(source, 2, { microBatch: 1 });
      expect(await next(source, 1)).toEqual(await shown(1));
      expect(await next(source, 1, { microBatch: 1 })).toEqual(await shown(2));
      show(source, 3);
      expect(await next(source, 2)).toEqual(await shown(3));
      source.dispose();
    });

    it("resets one sequence in ten, each on its own", async () => {
      const source = INTERVENTIONS["state-passing"].create(model);
      show(source, 1, { batch: 50 });
      const perStep: number[] = [];
      for (let step = 0; step < 40; step++) {
        const { [SUM]: sum, [WINDOW]: window } = (await next(source, step, { batch: 50 }))!;
        const reset = Array.from({ length: 50 }, (_, i) => sum!.slice(i * FEATURES, (i + 1) * FEATURES).every((x) => x === 0));
        const alsoWindow = Array.from({ length: 50 }, (_, i) => window!.slice(i * FEATURES, (i + 1) * FEATURES).every((x) => x === 0));
        expect(alsoWindow).toEqual(reset);
        perStep.push(reset.filter(Boolean).length);
      }
      const rate = perStep.reduce((a, b) => a + b) / 2000;
      expect(rate).toBeGreaterThan(0.08); // 0.1 ± 3 standard errors of 0.0067
      expect(rate).toBeLessThan(0.12);
      expect(new Set(perStep).size).toBeGreaterThan(3);
      source.dispose();
    });

    it("resets whole batches when asked to", async () => {
      const source = INTERVENTIONS["state-passing"].create(model, { resetProbability: 0.5, resetPer: "batch" });
      show(source, 1);
      const whole = await shown(1);
      const outcomes = await Promise.all(Array.from({ length: 40 }, (_, step) => next(source, step)));
      const resets = outcomes.filter((outcome) => outcome === undefined).length;
      expect(outcomes.filter((outcome) => outcome !== undefined)).toEqual(Array(40 - resets).fill(whole));
      expect(resets).toBeGreaterThan(8);
      expect(resets).toBeLessThan(32);
      source.dispose();
    });

    it("leaves the convolution's window out when asked to", async () => {
      const source = INTERVENTIONS["state-passing"].create(model, { resetProbability: 0, carryConvolution: false });
      show(source, 1);
      const state = (await next(source, 1))!;
      expect(state[SUM]).toEqual((await shown(1))[SUM]);
      expect(state[WINDOW]!.every((x) => x === 0)).toBe(true);
      source.dispose();
    });

    it("says when the batch size changes", () => {
      const source = INTERVENTIONS["state-passing"].create(model);
      show(source, 1);
      expect(() => scope(() => source.next(request(1, { batch: 3 })))).toThrow(/the batch has 3 sequences but 4 states were carried/);
      source.dispose();
    });
  });

  describe("truncated backpropagation through time", () => {
    it("carries every state, but never into a sequence that starts here", async () => {
      const source = INTERVENTIONS.tbtt.create(model);
      show(source, 1);
      const whole = await shown(1);
      expect(await next(source, 1, { fresh: [false, false, false, false] })).toEqual(whole);
      const some = (await next(source, 1, { fresh: [false, true, false, false] }))!;
      for (const path of [SUM, WINDOW]) {
        expect(some[path]).toEqual(whole[path]!.map((x, i) => (Math.floor(i / FEATURES) === 1 ? 0 : x)));
      }
      expect(await next(source, 1, { fresh: [true, true, true, true] })).toBeUndefined();
      source.dispose();
    });
  });

  function deviation(values: readonly number[]): { mean: number; std: number } {
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    return { mean, std: Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length) };
  }

  describe("random noise", () => {
    it("has mean 0 and the given deviation in recurrent states, and leaves windows at zero", async () => {
      const source = INTERVENTIONS["random-noise"].create(model, { std: 3, resetProbability: 0 });
      const first = (await next(source, 1, { batch: 4000 }))!;
      const { mean, std } = deviation(first[SUM]!); // 24,000 numbers
      expect(Math.abs(mean)).toBeLessThan(0.08); // 4 standard errors
      expect(Math.abs(std / 3 - 1)).toBeLessThan(0.02);
      expect(first[WINDOW]!.every((x) => x === 0)).toBe(true);
      expect(await next(source, 2, { batch: 4000 })).not.toEqual(first);
      expect(await next(source, 1, { batch: 4000 })).toEqual(first);
    });

    it("reaches windows when asked to, with other numbers than the recurrent state", async () => {
      const source = INTERVENTIONS["random-noise"].create(model, { resetProbability: 0, noisyConvolution: true });
      const state = (await next(source, 1))!;
      expect(state[WINDOW]!.every((x) => x !== 0)).toBe(true);
      expect(state[WINDOW]).not.toEqual(state[SUM]);
    });
  });

  describe("fitted noise", () => {
    /** Mean and deviation of each head's states over the given batches, weighted alike. */
    async function expected(seeds: readonly number[], size: (sample: number, head: number) => number): Promise<{ mean: number;
      std: number }[]> {
      const perHead: number[][] = Array.from({ length: HEADS }, () => []);
      for (const seed of seeds) {
        const state = finalState(seed, BATCH, size);
        (await state.layers[0].sum.read()).forEach((x, i) => perHead[Math.floor(i / WIDTH) % HEADS]!.push(x));
        dispose(state);
      }
      return perHead.map(deviation);
    }

    const size = (sample: number, head: number) => (head === 0 ? 1 : -20) * (1 + sample);

    async function fitted(options: { estimator: "running" | "ema" | "once"; decay?: number; onceBatches?: number },
      seeds: readonly number[]) {
      const source = INTERVENTIONS["fitted-noise"].create(model, { resetProbability: 0, ...options });
      for (const seed of seeds) scope(() => source.observe(finalState(seed, BATCH, size), request(seed)));
      const state = (await next(source, 99, { batch: 5000 }))!;
      const { tensors } = source.save();
      const means = [...await tensors[`mean.${SUM}`]!.read()];
      const stds = [...await tensors[`variance.${SUM}`]!.read()].map(Math.sqrt);
      source.dispose();
      return { state, means, stds };
    }

    it("estimates mean and deviation per head over all batches", async () => {
      const { state, means, stds } = await fitted({ estimator: "running" }, [1, 2, 3, 4]);
      for (const [head, { mean, std }] of (await expected([1, 2, 3, 4], size)).entries()) {
        expect(means[head]).toBeCloseTo(mean, 4);
        expect(stds[head]! / std).toBeCloseTo(1, 5);
        const drawn = deviation(state[SUM]!.filter((_, i) => Math.floor(i / WIDTH) % HEADS === head)); // 15,000 numbers
        expect(Math.abs(drawn.mean - mean)).toBeLessThan(0.04 * std); // 4 standard errors
        expect(Math.abs(drawn.std / std - 1)).toBeLessThan(0.03);
      }
      expect(state[WINDOW]!.every((x) => x === 0)).toBe(true);
    });

    it("stops at the first batches when it estimates once", async () => {
      const { means, stds } = await fitted({ estimator: "once", onceBatches: 2 }, [1, 2, 3, 4]);
      for (const [head, { mean, std }] of (await expected([1, 2], size)).entries()) {
        expect(means[head]).toBeCloseTo(mean, 4);
        expect(stds[head]! / std).toBeCloseTo(1, 5);
      }
    });

    it("weighs late batches more as a moving average", async () => {
      const { means } = await fitted({ estimator: "ema", decay: 0.25 }, [1, 2, 3]);
      const each = await Promise.all([1, 2, 3].map((seed) => expected([seed], size)));
      for (let head = 0; head < HEADS; head++) {
        const [a, b, c] = each.map((heads) => heads[head]!.mean) as [number, number, number];
        expect(means[head]).toBeCloseTo(0.25 * (0.25 * a + 0.75 * b) + 0.75 * c, 4);
      }
    });
  });
});

describe("a state of another kind than numbers of fixed size", () => {
  const record = (kind: "memory" | "window" | "angle"): SequenceModel => ({
    ...model,
    stateLeaves: [...model.stateLeaves, { path: "layers.0.record", kind, layer: 0, ...(kind !== "angle" && { grows: true }) }],
    initialState: (batch, device, dtype) => {
      const { layers: [layer] } = model.initialState(batch, device, dtype) as TinyState;
      return { layers: [{ ...layer, record: zeros(device, [batch, 0, 2], dtype) }] };
    },
  });

  it.each(["state-passing", "tbtt"])("%s refuses a memory that grows with the stream", (name) => {
    expect(() => createIntervention(name, record("memory"))).toThrow(expect.objectContaining({
      code: "E_CONFIG", message: expect.stringMatching(/a model of family tiny grows with the stream \(layers\.0\.record\)/) as string }));
  });

  it.each([
    ["random-noise", "memory"], ["fitted-noise", "memory"], ["random-noise", "angle"], ["fitted-noise", "angle"],
  ] as const)("%s leaves %s as it is at first, and refuses a model without a state to give noise to", async (name, kind) => {
    const device = await open("reference");
    const source = createIntervention(name, record(kind), { resetProbability: 0, noisyConvolution: true });
    const request = { key: key(1), step: 0, microBatch: 0, batch: 2, device, dtype: "f32" } as const;
    const memory = tensor(device, Array<number>(12).fill(Number.NaN), [2, 3, 2]);
    const { layers: [layer] } = model.initialState(2, device) as TinyState;
    source.observe({ layers: [{ ...layer, record: memory }] }, request);
    const drawn = new Map(leaves(source.next(request)).map(({ path, tensor: t }) => [path, t]));
    expect(drawn.get("layers.0.record")!.shape).toEqual([2, 0, 2]);
    expect((await drawn.get("layers.0.sum")!.read()).every(Number.isFinite)).toBe(true);
    const bare = { ...model, stateLeaves: record(kind).stateLeaves.slice(2) };
    expect(() => createIntervention(name, bare)).toThrow(/no recurrent state to give noise to/);
    source.dispose();
    device.close();
  });

  it.each(["random-noise", "fitted-noise"])("%s refuses noise for a window that is empty at first", (name) => {
    createIntervention(name, record("window")).dispose();
    expect(() => createIntervention(name, record("window"), { noisyConvolution: true })).toThrow(expect.objectContaining({
      code: "E_CONFIG", message: expect.stringMatching(
        new RegExp(`^${name}: layers\\.0\\.record is empty at first, as the keys and values of attention are`)) as string }));
  });

  it.each(["state-passing", "tbtt"])("%s refuses to reset single sequences of a window that is empty at first", (name) => {
    const source = createIntervention(name, record("window"), { resetProbability: 0.1 });
    expect(source.settings).toMatchObject({ resetPer: "batch" });
    source.dispose();
    expect(() => createIntervention(name, record("window"), { resetProbability: 0.1, resetPer: "sample" })).toThrow(
      expect.objectContaining({ code: "E_CONFIG", message: expect.stringMatching(/resetPer must be batch/) as string }));
  });

  it.each([["state-passing", "carryConvolution", false], ["tbtt", "carryConvolution", false], ["random-noise", "noisyConvolution", true],
    ["fitted-noise", "noisyConvolution", true]] as const)("%s refuses %s = %s of a model without windows", (name, setting, value) => {
    const bare = { ...model, stateLeaves: model.stateLeaves.filter(({ kind }) => kind !== "window") };
    expect(() => createIntervention(name, bare, { [setting]: value })).toThrow(expect.objectContaining({ code: "E_CONFIG", message:
      `${name}: ${setting} is ${value}, but this model of family ${model.family} has no convolution, nor another window of last inputs; `
        + "leave it out" }));
    createIntervention(name, bare, { [setting]: !value }).dispose();
  });

  it("a window that is empty at first is carried whole, left out whole, and not reset for single sequences", async () => {
    const device = await open("reference");
    const request = { key: key(1), step: 1, microBatch: 0, batch: 2, device, dtype: "f32" } as const;
    const start = (options: object) => {
      const source = createIntervention("state-passing", record("window"), { ...options });
      const { layers: [layer] } = model.initialState(2, device) as TinyState;
      source.observe({ layers: [{ ...layer, record: tensor(device, [1, 2, 3, 4], [2, 1, 2]) }] }, request);
      return source;
    };
    const recordOf = (state: Tree | undefined) => leaves(state).find(({ path }) => path === "layers.0.record")!.tensor;
    expect([...await recordOf(start({ resetProbability: 0 }).next(request)).read()]).toEqual([1, 2, 3, 4]);
    expect(recordOf(start({ resetProbability: 0, carryConvolution: false }).next(request)).shape).toEqual([2, 0, 2]);
    // A text that begins takes the other sequences along.
    expect(start({ resetProbability: 0 }).next({ ...request, fresh: [true, false] })).toBeUndefined();
    device.close();
  });

  it("a state that shares tensors with the one before it is freed once", async () => {
    const device = await open("reference");
    const request = { key: key(1), step: 1, microBatch: 0, batch: 2, device, dtype: "f32" } as const;
    const before = device.memory().used;
    const source = createIntervention("tbtt", model);
    const { layers: [{ sum, previous }] } = model.initialState(2, device) as TinyState;
    source.observe({ layers: [{ sum, previous }] }, request);
    source.observe({ layers: [{ sum: tensor(device, await sum.read(), sum.shape), previous }] }, request);
    expect([sum.disposed, previous.disposed]).toEqual([true, false]);
    source.dispose();
    expect(device.memory().used).toBe(before);
    device.close();
  });
});

describe("fitted noise", () => {
  it("begins the moving average as a plain mean", () => {
    const options = { resetProbability: 0, resetPer: "sample", noisyConvolution: false, estimator: "ema", decay: 0.9,
      onceBatches: 1 } as const;
    expect([1, 2, 4, 10, 100].map((n) => weightOfBatch(n, options))).toEqual([1, 0.5, 0.25, 0.1, expect.closeTo(0.1, 12)]);
  });
});
