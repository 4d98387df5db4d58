/** AdamW as an optimiser of runs; its arithmetic is tested with the op. */
import { dispose, globalNorm, keep, key, mapTree, type Parameters, scale, scope } from "@lenggen/kernels";
import { expect, it } from "vitest";
import { eachDevice } from "../../test/devices";
import { coded } from "../../test/expectations";
import { tinyModel } from "../../test/tinyModel";
import { adamWOptimizer } from "./adamW";

it("refuses options by name", () => {
  expect(() => adamWOptimizer.create(tinyModel(), { beta1: 1 }))
    .toThrow(coded("E_CONFIG", "optimizer: beta1 is 1; it must be a number from 0 to 0.999999"));
});

eachDevice("the optimiser AdamW", (device) => {
  it("clips: gradients a thousand times as large make the same update where both are above the largest norm", async () => {
    const model = tinyModel();
    const after: number[][] = [];
    for (const factor of [10, 10_000]) {
      const parameters = keep(model.init(key(1), device));
      const optimizer = adamWOptimizer.create(model, { clip: 0.1, weightDecay: 0 });
      optimizer.init(parameters);
      scope(() => {
        const gradients = mapTree(model.init(key(2), device), (t) => scale(t, factor)) as Parameters;
        optimizer.update(parameters, gradients, { step: 1, learningRate: 0.01, gradientNorm: globalNorm(gradients) });
      });
      after.push([...await parameters["mixer.mix"]!.read()]);
      expect(Object.keys(optimizer.save())[0]).toBe("m.embedding.weight");
      dispose(parameters);
      optimizer.dispose();
    }
    after[0]!.forEach((value, i) => expect(after[1]![i]).toBeCloseTo(value, 5));
    expect(device.memory().used).toBe(0);
  });
});
