/** Steps that are not finite and are skipped: they leave no trace but that they are counted. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type BatchSource, leaves, scale } from "@lenggen/kernels";
import { expect, it } from "vitest";
import { eachDevice } from "../../test/devices";
import { abortAt, coded } from "../../test/expectations";
import { digests, metrics } from "../../test/runFiles";
import { temporaryFolder } from "../../test/temporaryFolder";
import { tinyModel } from "../../test/tinyModel";
import { type TinyRun, tinyOptions, tinyTrain } from "../../test/tinyRun";
import { createIntervention, INTERVENTIONS, type InterventionName } from "../interventions";
import type { TrainEvent } from "../trainer";
import { runDirectory } from ".";

const METHODS = Object.keys(INTERVENTIONS) as InterventionName[];

eachDevice("a step that is not finite", (device) => {
  const micro = { microBatches: 2 } as const;
  const schedule = { schedule: "constant", learningRate: 0.03, warmup: 2 } as const;
  /** Batches whose second micro-batch has an infinite weight at those steps (from 1). */
  function poisoned(method: InterventionName, ...steps: number[]): BatchSource {
    const { batches } = tinyOptions({ device, method, ...micro });
    const weights = new Float32Array(18).fill(1).fill(Infinity, 0, 1);
    return {
      ...batches,
      at: (now, part) => ({ ...batches.at(now, part), ...(steps.includes(now + 1) && part === 1 ? { weights } : {}) }),
    };
  }

  it.each(METHODS)("is skipped with %s where that is asked for: counted, reported, saved, and the run resumes to the same bits",
    async (method) => {
    const [straight, broken] = [await temporaryFolder(), await temporaryFolder()];
    const run: TinyRun = { device, method, ...micro, batches: poisoned(method, 1, 4, 5, 9), steps: 9, skipNotFinite: 2,
      checkpointEvery: 3 };
    const events: TrainEvent[] = [];
    const whole = await tinyTrain({ ...run, store: runDirectory(straight), onEvent: (event) => events.push(event) });
    expect(whole.status).toBe("done");
    for (const numbers of Object.values(whole.parameters)) for (const number of numbers) expect(Number.isFinite(number)).toBe(true);
    const skips = events.filter((event) => event.kind === "skipped");
    expect(skips.map(({ step, skipped, inARow }) => [step, skipped, inARow])).toEqual([[1, 1, 1], [4, 2, 1], [5, 3, 2], [9, 4, 1]]);
    expect(skips[0]!.why).toBe("the loss is NaN");
    const reported = (await metrics(straight)).map(({ step, loss, skipped }) => [step, typeof loss, skipped]);
    expect(reported).toEqual([
      [1, "undefined", 1], [2, "number", 1], [3, "number", 1], [4, "undefined", 2], [5, "undefined", 3], [6, "number", 3], [7, "number", 3],
      [8, "number", 3],
      [9, "undefined", 4],
    ]);
    const trainer = JSON.parse(await readFile(join(straight, "checkpoints", "step-9", "trainer.json"), "utf8")) as object;
    expect(trainer).toMatchObject({ tokens: 5 * 36, skipped: { total: 4, inARow: 1 } });
    for (const stop of [2, 6]) await tinyTrain({ ...run, store: runDirectory(broken), resume: true, ...abortAt(stop) });
    await tinyTrain({ ...run, store: runDirectory(broken), resume: true });
    expect(await digests(broken, 9)).toEqual(await digests(straight, 9));
    expect(device.memory().used).toBe(0);
  });

  it("leaves parameters and moments as they were, and steps that are finite have the bits that they have without", async () => {
    const [plain, skipping] = [await temporaryFolder(), await temporaryFolder()];
    const run: TinyRun = { device, method: "fitted-noise", ...micro, batches: poisoned("fitted-noise", 4, 5), steps: 3 };
    await tinyTrain({ ...run, schedule, store: runDirectory(plain) });
    for (const steps of [3, 5]) await tinyTrain({ ...run, schedule, steps, skipNotFinite: 2, store: runDirectory(skipping), resume: true });
    const weights = (folder: string, step: number) => digests(folder, step).then(([model]) => model);
    expect(await digests(skipping, 3)).toEqual(await digests(plain, 3));
    expect(await weights(skipping, 5)).toEqual(await weights(plain, 3));
    // A run that ended for such a step goes on when it may skip it.
    await expect(tinyTrain({ ...run, schedule, steps: 5, store: runDirectory(plain), resume: true })).rejects.toEqual(coded("E_NOT_FINITE",
      "at step 4"));
    await tinyTrain({ ...run, schedule, steps: 5, skipNotFinite: 2, store: runDirectory(plain), resume: true });
    expect(await digests(plain, 5)).toEqual(await digests(skipping, 5));
  });

  it("ends the run when it is one too many in a row, also across a resume", async () => {
    const folder = await temporaryFolder();
    const run: TinyRun = { device, ...micro, batches: poisoned("zero", 2, 4, 5, 6), steps: 8, store: runDirectory(folder), resume: true };
    await tinyTrain({ ...run, schedule, skipNotFinite: 2, steps: 5 });
    await expect(tinyTrain({ ...run, schedule, skipNotFinite: 2 })).rejects.toEqual(
      coded("E_NOT_FINITE", "the loss is NaN at step 6, after 2 in a row that were skipped", "step-5"));
    const end = await tinyTrain({ ...run, schedule, skipNotFinite: 3 });
    expect(end).toMatchObject({ status: "done", step: 8 });
  });
});

eachDevice("a final state that is not finite", (device) => {
  it("is not carried on: the next sequences start from zero", async () => {
    const starts: (number[] | undefined)[] = [];
    const plain = tinyModel();
    let bad = false;
    const model: typeof plain = { ...plain, forward(parameters, tokens, state, options) {
      const out = plain.forward(parameters, tokens, state, options);
      if (!bad) return out;
      const [layer] = out.state.layers;
      return { ...out, state: { layers: [{ ...layer, sum: scale(layer.sum, Infinity) }] } };
    } };
    const source = createIntervention("state-passing", model, { resetProbability: 0 });
    const initialStates: typeof source = { ...source, next(request) {
      bad = request.step === 1;
      const state = source.next(request);
      const sum = state && leaves(state).find(({ path }) => path === "layers.0.sum")!.tensor;
      void (sum ? sum.read().then((numbers) => (starts[request.step] = [...numbers])) : undefined);
      return state;
    } };
    await tinyTrain({ device, model, initialStates, steps: 4, skipNotFinite: 1 });
    await device.synchronize();
    expect(starts[1]!.some((number) => number !== 0)).toBe(true);
    expect(starts[2]!.every((number) => number === 0)).toBe(true);
    expect(starts[3]!.some((number) => number !== 0)).toBe(true);
  });
});
