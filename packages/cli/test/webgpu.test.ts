/**
 * A training step of the preset `quick` on WebGPU, counted: what it costs on any GPU, however slow this one is. The counts
 * do not depend on the number of sequences, of which one is enough.
 */
import { type Device, devices, dispose, key, type LaunchCounts, open } from "@lenggen/kernels";
import { createIntervention, independentWindows, train } from "@lenggen/interventions";
import { mamba2 } from "@lenggen/recurrent";
import { describe, expect, it } from "vitest";
import { PRESETS } from "../src/reproduce/settings";

const listing = (await devices({ fallback: true })).find(({ name }) => name === "webgpu")!;
if (!listing.available) console.warn(`training steps on webgpu are not counted: ${listing.reason}`);

const { model: preset, trainLength } = PRESETS["quick"]!;

/** What a steady step of the trainer takes with so many layers, and how many tensors the optimiser updates. */
async function steadyStep(device: Device, layers: number): Promise<LaunchCounts & { tensors: number }> {
  const model = mamba2({ ...preset, n_layer: layers });
  const text = new TextEncoder().encode("All happy families are alike; each unhappy family is unhappy in its own way. ".repeat(10));
  const counts: LaunchCounts[] = [];
  const { parameters } = await train({
    model, device, steps: 4, seed: 1,
    batches: independentWindows(text, { batch: 1, context: trainLength, key: key(1) }),
    initialStates: createIntervention("state-passing", model, { resetProbability: 0 }),
    // Step n is reported when step n + 1 has been queued: step 4 lies between the second report and the third.
    onEvent: (event) => { if (event.kind === "step") counts.push(device.counts!()); },
  });
  const tensors = Object.keys(parameters).length;
  dispose(parameters);
  const spent = (name: keyof LaunchCounts): number => counts[2]![name] - counts[1]![name];
  return { tensors, dispatches: spent("dispatches"), copies: spent("copies"), submissions: spent("submissions"), allocations: spent("allocations") };
}

describe.skipIf(!listing.available)("a training step of the preset quick on webgpu", () => {
  it("takes at most 40 dispatches a layer, three submissions, and no new buffer", async () => {
    const device = await open("webgpu", { fallback: true });
    const [one, two] = [await steadyStep(device, 1), await steadyStep(device, 2)];
    device.close();
    // AdamW takes one dispatch for each tensor, the gradient's norm one for seven; the rest of what a layer adds is forward and backward.
    const optimizer = (tensors: number): number => tensors + Math.ceil(tensors / 7);
    expect(two.dispatches - optimizer(two.tensors) - (one.dispatches - optimizer(one.tensors))).toBeLessThanOrEqual(40);
    for (const { submissions, allocations, copies } of [one, two]) {
      expect(submissions).toBeLessThanOrEqual(3);
      expect(allocations).toBe(0);
      expect(copies).toBe(2); // loss and gradient norm, read back
    }
  }, 600_000);
});
