import { type BatchSource, dispose, foldIn, type ForwardOptions, key, LenggenError, type Parameters } from "@lenggen/kernels";
import { expect, it } from "vitest";
import { eachDevice } from "../test/devices";
import { coded } from "../test/expectations";
import { tinyModel } from "../test/tinyModel";
import { type TinyRun, tinyOptions, tinyTrain } from "../test/tinyRun";
import { INTERVENTIONS, type InterventionName } from "./interventions";
import type { StepEvent } from "./meter";
import { train, type TrainEvent } from "./trainer";

const METHODS = Object.keys(INTERVENTIONS) as InterventionName[];

eachDevice("training", (device) => {
  it.each(METHODS)("learns with %s", async (method) => {
    const losses: number[] = [];
    const onEvent = (event: TrainEvent) => { if (event.kind === "step") losses.push(event.loss); };
    await tinyTrain({ device, method, steps: 50, batch: 8, schedule: { learningRate: 0.1, warmup: 2 }, onEvent });
    const mean = (values: number[]) => values.reduce((a, b) => a + b) / values.length;
    expect(losses).toHaveLength(50);
    expect(mean(losses.slice(0, 3))).toBeGreaterThan(2.2); // ln 11 = 2.40: nothing known
    expect(mean(losses.slice(-10))).toBeLessThan(1.3);
  });

  it.each([0, -3, 1.5, Number.NaN])("refuses an evaluation after every %s steps, which would never come", async (every) => {
    const run = tinyTrain({ device, steps: 1, evaluations: [{ name: "own", every, run: async () => ({}) }] });
    await expect(run).rejects.toThrow(coded("E_CONFIG", `evaluation own: every is ${every}; it must be a whole number of at least 1`));
  });

  it("refuses weights that are no numbers by name, which is no divergence", async () => {
    const weight = Number.NaN;
    const options = tinyOptions({ device, steps: 1 });
    const at: BatchSource["at"] = (step, microBatch) => {
      const batch = options.batches.at(step, microBatch);
      return { ...batch, weights: new Float32Array(batch.tokens.length).fill(weight) };
    };
    await expect(train({ ...options, batches: { ...options.batches, at } })).rejects.toThrow(
      coded("E_ARGUMENT", `step 1: the weights of the batch's targets add up to ${weight}`));
  });

  it("keeps device memory where it was after step 10", async () => {
    const steps = device.kind === "webgpu" ? 100 : 1000; // a software adapter takes a second for twenty
    const used: number[] = [];
    const before = device.memory().used;
    await tinyTrain({
      device, method: "state-passing", steps, context: 2, batch: 2, microBatches: 2,
      evaluations: [{ name: "memory", every: 10, run: async () => { used.push(device.memory().used); return {}; } }],
    });
    expect(used).toHaveLength(steps / 10);
    expect(used.at(-1)).toBe(used[0]);
    expect(device.memory().used).toBe(before);
  });

  it("adds micro-batches up to one large batch", async () => {
    const tokens = Int32Array.from({ length: 24 }, (_, i) => (i * 5) % 11);
    const targets = Int32Array.from({ length: 24 }, (_, i) => (i % 7 === 0 ? -1 : (i * 3) % 11)); // parts with different counts
    const weights = Float32Array.from({ length: 24 }, (_, i) => 1 + (i % 3));
    const source = (parts: number): BatchSource => ({
      order: "independent", batch: 4 / parts, context: 6, settings: {},
      at: (_, part) => {
        const cut = <A extends Int32Array | Float32Array>(values: A) => values.slice((part * 24) / parts, ((part + 1) * 24) / parts) as A;
        return { tokens: cut(tokens), targets: cut(targets), weights: cut(weights) };
      },
    });
    const whole = await tinyTrain({ device, steps: 3, batches: source(1) });
    const parted = await tinyTrain({ device, steps: 3, batches: source(2), microBatches: 2 });
    for (const [name, values] of Object.entries(whole.parameters)) {
      values.forEach((value, i) => expect(parted.parameters[name]![i]).toBeCloseTo(value, 5));
    }
  });

  it("scores chunks with a carried state as one long sequence", async () => {
    const stream = Int32Array.from({ length: 13 }, (_, i) => (i * i) % 11);
    const lossOf = async (context: number): Promise<number> => {
      const losses: number[] = [];
      const batches: BatchSource = {
        order: "contiguous", batch: 1, context, settings: {},
        at: (step) => {
          const start = step * context;
          return { tokens: stream.slice(start, start + context), targets: stream.slice(start + 1, start + context + 1),
            fresh: [step === 0] };
        },
      };
      const onEvent = (event: TrainEvent) => { if (event.kind === "step") losses.push(event.loss); };
      await tinyTrain({ device, method: "tbtt", batches, steps: 12 / context, schedule: { learningRate: 0 }, onEvent });
      return losses.reduce((a, b) => a + b) / losses.length;
    };
    const whole = await lossOf(12);
    for (const context of [1, 3, 6]) expect(await lossOf(context)).toBeCloseTo(whole, 5);
  });

  it("tells the model where segments end, and gives it a key for each step and micro-batch that resuming does not change", async () => {
    const run = async (steps: number): Promise<ForwardOptions[]> => {
      const received: ForwardOptions[] = [];
      const plain = tinyModel();
      const model: typeof plain = { ...plain, forward: (parameters, tokens, state, options) => {
        received.push(options!);
        return plain.forward(parameters, tokens, state);
      } };
      const text = Int32Array.from({ length: 12 }, (_, i) => i % 11);
      const batches: BatchSource = {
        order: "independent", batch: 2, context: 6, settings: {},
        at: (step, part) => ({ tokens: text, targets: text, ends: [step, 5 + part] }),
      };
      await tinyTrain({ device, steps, model, batches, microBatches: 2 });
      return received;
    };
    const received = await run(3);
    expect(received.map(({ ends }) => ends)).toEqual([[0, 5], [0, 6], [1, 5], [1, 6], [2, 5], [2, 6]]);
    expect(new Set(received.map((options) => String(options.key))).size).toBe(6);
    expect(await run(2)).toEqual(received.slice(0, 4));
    // The initial states of a step draw from another key.
    expect(received.map((options) => String(options.key))).not.toContain(String(foldIn(foldIn(foldIn(key(4), 1), 0), 0)));
  });

  it("reports steps, rates, memory and evaluations", async () => {
    const events: TrainEvent[] = [];
    await tinyTrain({
      device, steps: 5, logEvery: 2, onEvent: (event) => events.push(event),
      evaluations: [{ name: "twice", every: 3, run: async (_, step) => ({ double: 2 * step }) }],
    });
    expect(events.map((event) => `${event.kind} ${event.step}`)).toEqual(["step 2", "evaluation 3", "step 4", "step 5", "evaluation 5"]);
    const step = events[0]!;
    expect(step).toMatchObject({ steps: 5, tokens: 2 * 3 * 6, learningRate: 0.03, loss: expect.any(Number) as number });
    const { tokensPerSecond, gradientNorm, peakBytes } = step as StepEvent;
    expect(tokensPerSecond).toBeGreaterThan(0);
    expect(gradientNorm).toBeGreaterThan(0);
    expect(peakBytes).toBeGreaterThan(1000);
    expect(events[1]).toMatchObject({ name: "twice", results: { double: 6 } });
  });

  it("comes to an orderly end when it is interrupted during an evaluation", async () => {
    const controller = new AbortController();
    const run = async () => {
      controller.abort();
      throw new LenggenError("E_INTERRUPTED", "interrupted");
    };
    const result = await tinyTrain({ device, evaluations: [{ name: "long", every: 3, run }], signal: controller.signal });
    expect([result.status, result.step]).toEqual(["interrupted", 3]);
  });

  it("starts from given parameters and takes them over", async () => {
    let given: Parameters | undefined;
    const start = async () => (given = tinyModel().init(key(99), device));
    const { parameters } = await train(tinyOptions({ device, steps: 1, schedule: { learningRate: 0 }, parameters: start }));
    expect(parameters).toBe(given);
    dispose(parameters);
  });

  it("needs batches in the order of the source", async () => {
    const { batches } = tinyOptions({ device });
    await expect(tinyTrain({ device, method: "tbtt", batches })).rejects.toEqual(
      coded("E_CONFIG", "tbtt needs contiguous sequences, but the batches are independent"));
  });

  it.each([
    [{ steps: 0 }, "steps is 0"], [{ microBatches: 0 }, "microBatches is 0"], [{ keepCheckpoints: 0 }, "keepCheckpoints is 0"],
    [{ schedule: { learningRate: -1 } }, "learningRate is -1"],
  ] as [Partial<TinyRun>, string][])("refuses %j", async (wrong, message) => {
    const { batches } = tinyOptions({ device });
    await expect(tinyTrain({ device, batches, ...wrong })).rejects.toEqual(coded("E_CONFIG", message));
  });

  it("takes batches that say their own length, and counts their tokens", async () => {
    const shapes: (readonly number[])[] = [];
    const plain = tinyModel();
    const model: typeof plain = { ...plain, forward: (parameters, tokens, state) => {
      shapes.push(tokens.shape);
      return plain.forward(parameters, tokens, state);
    } };
    const growing = (lengths: readonly number[]): BatchSource => ({
      order: "independent", batch: 2, context: 6, settings: {},
      at: (step) => ({ tokens: new Int32Array(12), targets: new Int32Array(12), context: lengths[step] }),
    });
    const counted: number[] = [];
    const onEvent = (event: TrainEvent) => { if (event.kind === "step") counted.push(event.tokens); };
    await tinyTrain({ device, model, batches: growing([2, 4, 12]), steps: 4, onEvent });
    expect(shapes).toEqual([[6, 2], [3, 4], [1, 12], [2, 6]]);
    expect(counted).toEqual([12, 24, 36, 48]);
    await expect(tinyTrain({ device, model, batches: growing([5]), steps: 1 })).rejects.toThrow(/12 tokens says that its sequences have 5/);
  });

  it("refuses tokens and targets beyond the vocabulary, and batches without targets", async () => {
    const source = (tokens: number, targets: number): BatchSource => ({
      order: "independent", batch: 1, context: 2, settings: {},
      at: () => ({ tokens: new Int32Array(2).fill(tokens), targets: new Int32Array(2).fill(targets) }),
    });
    await expect(tinyTrain({ device, batches: source(11, 0) })).rejects.toEqual(coded("E_ARGUMENT", "11"));
    await expect(tinyTrain({ device, batches: source(0, 11) })).rejects.toEqual(coded("E_ARGUMENT",
      "target 11 is outside the vocabulary of 11"));
    await expect(tinyTrain({ device, batches: source(0, -1) })).rejects.toEqual(coded("E_ARGUMENT", "no target"));
    expect(device.memory().used).toBe(0);
  });
});
