/** The penalty on the final state: its value, its gradient, and what it does in a run. */
import { dispose, keep, key, leaves, type Parameters, scope, square, sum, tensor, tokenTensor, valueAndGradient } from "@lenggen/kernels";
import { describe, expect, it } from "vitest";
import { eachDevice } from "../../test/devices";
import { coded } from "../../test/expectations";
import { memoryStore } from "../../test/memoryStore";
import { HEADS, tinyModel, WIDTH } from "../../test/tinyModel";
import { type TinyRun, tinyTrain } from "../../test/tinyRun";
import type { Loss, LossBatch } from "../loss";
import type { StepEvent } from "../meter";
import { crossEntropyLoss } from "./crossEntropy";
import { stateNormLoss } from "./stateNorm";

const model = tinyModel();

describe("state-norm", () => {
  it("refuses a negative weight, and a model without a recurrent state", () => {
    expect(() => stateNormLoss.create(model, { weight: -1 })).toThrow(coded("E_CONFIG", "state-norm: weight is -1"));
    const windows = { ...model, stateLeaves: model.stateLeaves.filter(({ kind }) => kind === "window") };
    expect(() => stateNormLoss.create(windows)).toThrow(coded("E_CONFIG", "family tiny has no recurrent state"));
  });
});

eachDevice("state-norm", (device) => {
  it("adds the weighted mean square of the final state to the cross-entropy, and its gradient", async () => {
    const weight = 0.3;
    const parameters = keep(scope(() => model.init(key(1), device)));
    const ids = Array.from({ length: 8 }, (_, i) => (3 * i) % 11);
    const found = keep(scope(() => {
      const batch: LossBatch = {
        tokens: tokenTensor(device, ids, [2, 4], 11), targets: tensor(device, ids, [2, 4], "i32"), forward: {},
        whole: { weight: 16, sequences: 4 }, // of which this is one half
      };
      const of = (loss: Loss) => valueAndGradient((p: Parameters) => {
        const { loss: value, state, terms } = loss.evaluate(model, p, batch, undefined);
        return { loss: value, aux: { state, terms } };
      }, parameters);
      const both = stateNormLoss.create(model, { weight });
      const penalty = valueAndGradient((p: Parameters) => ({ loss: sum(square(model.forward(p, batch.tokens).state.layers[0].sum)) }),
        parameters);
      return { both: of(both), plain: of(crossEntropyLoss.create(model)), penalty };
    }));
    const { both, plain, penalty } = found;
    const share = weight / (HEADS * WIDTH) / 4;
    expect(await both.loss.item()).toBeCloseTo(await plain.loss.item() + share * await penalty.loss.item(), 5);
    expect(await both.aux.terms!["crossEntropy"]!.item()).toBe(await plain.loss.item());
    expect(await both.aux.terms!["stateNorm"]!.item()).toBeCloseTo(share * await penalty.loss.item(), 6);
    for (const { path, tensor: slope } of leaves(both.gradients)) {
      const [own, other, values] = [plain.gradients, penalty.gradients].map((tree) => tree[path]!).concat(slope).map((t) => t.read());
      const [a, b, c] = await Promise.all([own!, other!, values!]);
      c.forEach((value, i) => expect(value).toBeCloseTo(a[i]! + share * b[i]!, 5));
    }
    dispose([found, parameters]);
    expect(device.memory().used).toBe(0);
  });

  const run = (more: Partial<TinyRun> = {}): TinyRun => ({
    device, model, method: "state-passing", steps: 30, batch: 8, loss: stateNormLoss.create(model, { weight: 0.3 }),
    schedule: { schedule: "constant", learningRate: 0.03, warmup: 2 }, ...more,
  });

  it("keeps states smaller than training without it, tells its terms, and resumes to the same bits", async () => {
    const lines = async (more: Partial<TinyRun>): Promise<StepEvent[]> => {
      const events: StepEvent[] = [];
      await tinyTrain(run({ ...more, onEvent: (event) => event.kind === "step" && events.push(event) }));
      return events;
    };
    const store = memoryStore();
    const [gentle, firm] = [await lines({ loss: stateNormLoss.create(model, { weight: 1e-6 }) }), await lines({ store })];
    for (const { loss, terms } of firm) expect(terms!["crossEntropy"]! + terms!["stateNorm"]!).toBeCloseTo(loss, 5);
    const meanSquare = ({ terms }: StepEvent, weight: number): number => terms!["stateNorm"]! / weight;
    expect(meanSquare(firm.at(-1)!, 0.3)).toBeLessThan(0.7 * meanSquare(gentle.at(-1)!, 1e-6));
    expect((await store.readText("metrics.jsonl"))!.split("\n")[0]).toMatch(/"terms":\{"crossEntropy":[\d.]+,"stateNorm":[\d.e-]+\}/);
    expect(JSON.parse((await store.readText("run.json"))!)).toMatchObject({ settings: { loss: { name: "state-norm", weight: 0.3 } } });

    const stopped = memoryStore();
    const resumed = (steps: number) => tinyTrain(run({ steps, store: stopped, resume: true }));
    await resumed(11);
    expect((await resumed(30)).parameters).toEqual((await tinyTrain(run())).parameters);
    await expect(tinyTrain(run({ steps: 31, store: stopped, resume: true, loss: undefined }))).rejects.toEqual(coded("E_CONFIG", "loss"));
    expect(device.memory().used).toBe(0);
  });

  it("adds up over micro-batches to that of one large batch", async () => {
    const tokens = Int32Array.from({ length: 24 }, (_, i) => (i * 5) % 11);
    const parts = (count: number): Partial<TinyRun> => ({
      microBatches: count, method: "zero",
      batches: {
        order: "independent", batch: 4 / count, context: 6, settings: {},
        at: (_, part) => {
          const cut = tokens.slice((part * 24) / count, ((part + 1) * 24) / count);
          return { tokens: cut, targets: cut };
        },
      },
    });
    const [whole, parted] = [await tinyTrain(run({ steps: 3, ...parts(1) })), await tinyTrain(run({ steps: 3, ...parts(2) }))];
    for (const [name, values] of Object.entries(whole.parameters))
      values.forEach((value, i) => expect(parted.parameters[name]![i]).toBeCloseTo(value, 5));
  });
});
