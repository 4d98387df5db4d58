/** Muon against plain float64 arithmetic, written from the same equations and sharing no code with it. */
import { dispose, globalNorm, keep, key, normal, type Parameters, scope, tensor, type Tensor } from "@lenggen/kernels";
import { describe, expect, it } from "vitest";
import { eachDevice } from "../../test/devices";
import { coded } from "../../test/expectations";
import { type MemoryStore, memoryStore } from "../../test/memoryStore";
import { tinyModel } from "../../test/tinyModel";
import { type TinyRun, tinyTrain } from "../../test/tinyRun";
import { adamWOptimizer } from "./adamW";
import { muonOptimizer, type MuonOptions, orthogonalized } from "./muon";

type Matrix = readonly (readonly number[])[];

const numbersOf = async (t: Tensor): Promise<number[]> => [...await t.read()];
const rowsOf = (values: readonly number[], columns: number): Matrix =>
  Array.from({ length: values.length / columns }, (_, i) => values.slice(i * columns, (i + 1) * columns));
const times = (a: Matrix, b: Matrix): Matrix => a.map((row) => b[0]!.map((_, j) => row.reduce((sum, x, k) => sum + x * b[k]![j]!, 0)));
const turned = (a: Matrix): Matrix => a[0]!.map((_, j) => a.map((row) => row[j]!));
const combined = (a: Matrix, f: number, b: Matrix, g: number): Matrix => a.map((row, i) => row.map((x, j) => f * x + g * b[i]![j]!));

/** Always by X Xᵀ, also for tall matrices. */
function iterated(u: Matrix, iterations: number): Matrix {
  const norm = Math.sqrt(u.flat().reduce((sum, x) => sum + x * x, 0)) + 1e-7;
  let x = combined(u, 1 / norm, u, 0);
  for (let i = 0; i < iterations; i++) {
    const a = times(x, turned(x));
    x = combined(x, 3.4445, times(combined(a, -4.775, times(a, a), 2.0315), x), 1);
  }
  return x;
}

/** The tiny model with its output matrix [11,6] taken for a matrix; the embedding is a table. */
const model = { ...tinyModel(), tokenTables: ["embedding.weight"] };
const [ROWS, COLUMNS] = [11, 6];

describe("muon", () => {
  it("refuses options by name, and a model that does not name its tables of tokens", () => {
    expect(() => muonOptimizer.create(model, { iterations: 0 })).toThrow(coded("E_CONFIG", "muon: iterations is 0"));
    const { tokenTables: _, ...unnamed } = tinyModel();
    expect(() => muonOptimizer.create(unnamed))
      .toThrow(coded("E_CONFIG", "family tiny does not say which parameters are tables of tokens"));
  });
});

eachDevice("muon", (device) => {
  const drawn = (seed: number): Parameters => keep(scope(() => model.init(key(seed), device)));

  it.each([[4, 9], [9, 4], [5, 5], [1, 7]])("makes a matrix %i by %i nearly orthogonal", async (rows, columns) => {
    const u = normal(key(3), device, [rows, columns], { std: 40 });
    const x = orthogonalized(u, 5);
    const found = rowsOf(await numbersOf(x), columns);
    iterated(rowsOf(await numbersOf(u), columns), 5)
      .forEach((row, i) => row.forEach((value, j) => expect(found[i]![j]).toBeCloseTo(value, 4)));
    const inner = rows <= columns ? times(found, turned(found)) : times(turned(found), found);
    inner.forEach((row, i) => row.forEach((value, j) => expect(Math.abs(value - (i === j ? 1 : 0))).toBeLessThan(0.6)));
    dispose([u, x]);
  });

  it("takes singular values along the authors' polynomial, and leaves zeros", async () => {
    const phi = (s: number): number => 3.4445 * s - 4.775 * s ** 3 + 2.0315 * s ** 5;
    const values = [3, 1, 0.2, 0];
    const u = tensor(device, values.flatMap((s, i) => values.map((_, j) => (i === j ? s : 0))), [4, 4]);
    const x = orthogonalized(u, 5);
    const norm = Math.hypot(...values);
    const expected = values.map((s) => phi(phi(phi(phi(phi(s / norm))))));
    rowsOf(await numbersOf(x), 4).forEach((row, i) => row.forEach((value, j) => expect(value).toBeCloseTo(i === j ? expected[i]! : 0, 5)));
    dispose([u, x]);
  });

  it.each<Partial<MuonOptions>>([{}, { nesterov: false, momentum: 0.7 }, { weightDecay: 0, clip: 0.05, iterations: 3 }])(
    "updates as its equations say: %j", async (options) => {
      const { momentum = 0.95, nesterov = true, iterations = 5, weightDecay = 0.1, clip = 1 } = options;
      const parameters = drawn(1);
      const optimizer = muonOptimizer.create(model, options);
      optimizer.init(parameters);
      let weights = rowsOf(await numbersOf(parameters["head.weight"]!), COLUMNS);
      let buffer = combined(weights, 0, weights, 0);
      for (let step = 1; step <= 3; step++) {
        const learningRate = 0.02 * step;
        const gradients = drawn(10 + step);
        const gradientNorm = globalNorm(gradients);
        optimizer.update(parameters, gradients, { step, learningRate, gradientNorm });
        const factor = clip === 0 ? 1 : Math.min(1, clip / await gradientNorm.item());
        const slope = rowsOf((await numbersOf(gradients["head.weight"]!)).map((x) => x * factor), COLUMNS);
        buffer = combined(buffer, momentum, slope, 1);
        const direction = iterated(nesterov ? combined(slope, 1, buffer, momentum) : buffer, iterations);
        weights = combined(weights, 1 - learningRate * weightDecay, direction, -learningRate * Math.sqrt(ROWS / COLUMNS));
        dispose([gradients, gradientNorm]);
      }
      const found = await numbersOf(parameters["head.weight"]!);
      weights.flat().forEach((value, i) => expect(found[i]).toBeCloseTo(value, 5));
      dispose(parameters);
      optimizer.dispose();
    },
  );

  it("leaves tables of tokens, vectors and scalars to AdamW, at its share of the rate", async () => {
    const names = ["embedding.weight", "mixer.decay", "mixer.mix"];
    const [ours, theirs] = [drawn(1), drawn(1)];
    const [muon, adamW] = [muonOptimizer.create(model, { adamWShare: 0.25 }), adamWOptimizer.create(model)];
    muon.init(ours);
    adamW.init(theirs);
    expect(Object.keys(muon.save()))
      .toEqual(["momentum.head.weight", ...names.map((name) => `m.${name}`), ...names.map((name) => `v.${name}`)]);
    scope(() => {
      const gradients = model.init(key(5), device);
      const gradientNorm = globalNorm(gradients);
      muon.update(ours, gradients, { step: 1, learningRate: 0.04, gradientNorm });
      adamW.update(theirs, gradients, { step: 1, learningRate: 0.01, gradientNorm });
    });
    for (const name of names) expect(await numbersOf(ours[name]!)).toEqual(await numbersOf(theirs[name]!));
    dispose([ours, theirs]);
    muon.dispose();
    adamW.dispose();
  });

  it("changes nothing, to the bit, where a step is skipped", async () => {
    const parameters = drawn(1);
    const optimizer = muonOptimizer.create(model);
    optimizer.init(parameters);
    const update = (bad: number): void => scope(() => {
      const gradients = model.init(key(5), device);
      const skip = tensor(device, [bad], [1], "i32");
      optimizer.update(parameters, gradients, { step: 1, learningRate: 0.04, gradientNorm: globalNorm(gradients), skip });
    });
    const all = async (): Promise<number[][]> =>
      Promise.all([...Object.values(parameters), ...Object.values(optimizer.save())].map(numbersOf));
    update(0);
    const before = await all();
    update(3);
    expect(await all()).toEqual(before);
    update(0);
    expect(await all()).not.toEqual(before);
    dispose(parameters);
    optimizer.dispose();
    expect(device.memory().used).toBe(0);
  });

  it("learns, and resumes to the bits of a run that never stopped", async () => {
    const losses: number[] = [];
    const run = (store: MemoryStore, steps: number, more: Partial<TinyRun> = {}): ReturnType<typeof tinyTrain> => tinyTrain({
      device, model, method: "state-passing", steps, batch: 8, store, resume: true,
      optimizer: muonOptimizer.create(model, { adamWShare: 1 }), schedule: { schedule: "constant", learningRate: 0.05, warmup: 2 }, ...more,
    });
    const straight = await run(memoryStore(), 40, { onEvent: (event) => event.kind === "step" && losses.push(event.loss) });
    expect(losses[0]).toBeGreaterThan(2.2);
    expect(losses.at(-1)).toBeLessThan(1.6);
    const store = memoryStore();
    await run(store, 15);
    expect(await run(store, 40)).toEqual(straight);
    await expect(run(store, 41, { optimizer: adamWOptimizer.create(model) })).rejects.toEqual(coded("E_CONFIG",
      'optimizer.name: "muon" there, "adamw" here'));
    expect(device.memory().used).toBe(0);
  });

  it.each([["muon", 0.02, muonOptimizer], ["adamw", 0.001, adamWOptimizer]] as const)(
    "trains at its own learning rate where none is given: %s", async (_, rate, family) => {
      const rates: number[] = [];
      await tinyTrain({
        device, model, steps: 2, optimizer: family.create(model), schedule: { schedule: "constant" },
        onEvent: (event) => event.kind === "step" && rates.push(event.learningRate),
      });
      expect(rates).toEqual([rate, rate]);
    });
});
