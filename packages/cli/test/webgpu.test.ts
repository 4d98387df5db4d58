/** A training step of the preset `quick` on WebGPU, counted: what it costs on any GPU, however slow this one is. */
import {
  crossEntropy, type Device, devices, dispose, key, keep, type LaunchCounts, open, type Parameters, scope, sum, tensor, tokenTensor,
  valueAndGradient,
} from "@lenggen/kernels";
import { createIntervention, independentWindows, train } from "@lenggen/interventions";
import { mamba2, type Mamba2Json } from "@lenggen/recurrent";
import { afterAll, describe, expect, it } from "vitest";
import { PRESETS } from "../src/reproduce/unexploredStates/settings";

const listing = (await devices({ fallback: true })).find(({ name }) => name === "webgpu")!;
if (!listing.available) console.warn(`training steps on webgpu are not counted: ${listing.reason}`);

const { model, trainLength, base } = PRESETS["quick"]!;
const preset = model as Mamba2Json;

/** Dispatches of loss and gradients of one whole batch, with so many layers. */
async function gradientDispatches(device: Device, layers: number): Promise<number> {
  const model = mamba2({ ...preset, n_layer: layers });
  const parameters = keep(model.init(key(1), device));
  const passed = keep(model.initialState(base.batch, device)); // as state passing does: the heaviest case
  await device.synchronize();
  const before = device.counts!().dispatches;
  const shape = [base.batch, trainLength];
  const bytes = Int32Array.from({ length: base.batch * trainLength }, (_, i) => (i * i) % 251);
  scope(() => {
    const tokens = tokenTensor(device, bytes, shape, model.vocabulary);
    const targets = tensor(device, bytes, shape, "i32");
    return valueAndGradient((p: Parameters) => {
      const { hidden, state } = model.forward(p, tokens, passed);
      return { loss: sum(crossEntropy(hidden, model.head(p), targets)), aux: state };
    }, parameters).loss;
  }).dispose();
  await device.synchronize();
  dispose([parameters, passed]);
  return device.counts!().dispatches - before;
}

/** What a steady step of the trainer takes. */
async function steadyStep(device: Device, batch: number): Promise<LaunchCounts> {
  const model = mamba2(preset);
  const text = new TextEncoder().encode("All happy families are alike; each unhappy family is unhappy in its own way. ".repeat(10));
  const counts: LaunchCounts[] = [];
  const { parameters } = await train({
    model, device, steps: 4, seed: 1,
    batches: independentWindows(text, { batch, context: trainLength, key: key(1) }),
    initialStates: createIntervention("state-passing", model, { resetProbability: 0 }),
    // Step n is reported when step n + 1 has been queued: step 4 lies between the second report and the third.
    onEvent: (event) => { if (event.kind === "step") counts.push(device.counts!()); },
  });
  dispose(parameters);
  const spent = (name: keyof LaunchCounts): number => counts[2]![name] - counts[1]![name];
  return { dispatches: spent("dispatches"), copies: spent("copies"), submissions: spent("submissions"), allocations: spent("allocations") };
}

describe.skipIf(!listing.available)("a training step of the preset quick on webgpu", async () => {
  const device = listing.available ? await open("webgpu", { fallback: true }) : (undefined as never);
  afterAll(() => device?.close());

  it("takes at most 40 dispatches a layer, forward and backward", async () => {
    const [one, two] = [await gradientDispatches(device, 1), await gradientDispatches(device, 2)];
    expect(two - one).toBeLessThanOrEqual(40);
    expect(two - one).toBeGreaterThan(10);
  }, 600_000);

  it("makes no buffer, and takes few submissions", async () => {
    // One sequence instead of eight: a software adapter is slow, and this does not depend on it.
    expect(await steadyStep(device, 1)).toMatchObject({
      allocations: 0,
      submissions: 2, // of the step, and of its two numbers that are read back
      copies: 2,
    });
  }, 600_000);
});
