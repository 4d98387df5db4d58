/** Training that a device fails: what is left, and how to go on, are in the error. */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Device, devices, dispose, open } from "@lenggen/kernels";
import { mamba2 } from "@lenggen/recurrent";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { loseDevice } from "../../interventions/test/loseDevice";
import { CONFIG } from "../test/trained";
import { textOf } from "@lenggen/data/node";
import { runTraining, type TrainingPlan } from "./training";

const listings = await devices({ fallback: true });
for (const { name, available, reason } of listings) if (!available)
  console.warn(`tests of failing devices do not run on ${name}: ${reason}`);
const available = listings.filter((device) => device.available).map(({ name }) => name);

let folder: string;
beforeEach(async () => (folder = await mkdtemp(join(tmpdir(), "lenggen-training-"))));
afterEach(() => rm(folder, { recursive: true, force: true }));

const bytes = new TextEncoder().encode("It was the best of times, it was the worst of times. ".repeat(20));
const plan = (more: Partial<TrainingPlan> = {}): TrainingPlan => ({
  label: "train", model: mamba2(CONFIG), text: textOf("here", [{ name: "here", tokens: bytes }]), method: "zero", batch: 2, context: 32,
  steps: 2, seed: 1, folder: join(folder, "run"), resume: false, ...more,
});

/** The error of a run. */
const failureOf = async (device: Device, given: TrainingPlan): Promise<unknown> => {
  const run = runTraining(device, given);
  return run.then(() => undefined, (error: unknown) => error);
};

async function finish(): Promise<void> {
  const device = await open("reference");
  const { status, step, parameters } = await runTraining(device, plan({ resume: true }));
  expect({ status, step }).toEqual({ status: "done", step: 2 });
  dispose(parameters);
  device.close();
}

// The reference device takes what JavaScript has.
it.each(available.filter((kind) => kind !== "reference"))("without room for a step on %s, the run can go on elsewhere", async (kind) => {
  const device = await open(kind, { fallback: true, memoryLimit: 120_000 });
  expect(await failureOf(device, plan())).toMatchObject({
    code: "E_MEMORY",
    message: expect.stringMatching(
      /^training step 1: .*; the last good checkpoint is \S+step-0 \(step 0\); go on with the same command and --resume on a device with more memory \(--device\), or begin anew with a smaller batch$/,
    ) as string,
  });
  device.close();
  await finish();
}, 120_000);

describe.runIf(available.includes("webgpu"))("on a device that is lost", () => {
  it("the run can go on elsewhere", async () => {
    const device = await open("webgpu", { fallback: true });
    const failure = failureOf(device, plan({ again: "the same words" }));
    const saved = async (): Promise<boolean> => (await readdir(join(folder, "run/checkpoints")).catch((): string[] => []))
      .includes("step-0");
    while (!(await saved())) await new Promise((resolve) => setTimeout(resolve, 5));
    loseDevice(device);
    expect(await failure).toMatchObject({
      code: "E_DEVICE_LOST",
      message: expect.stringMatching(
        /the device was lost .*; the last good checkpoint is \S+step-0 \(step 0\); go on with the same words, on this device or on another \(--device\)$/) as string,
    });
    device.close();
    await finish();
  }, 120_000);
});
