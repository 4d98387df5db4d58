/** A run and its devices: it moves from one to another, and survives when one fails. */
import { describe, expect, it } from "vitest";
import { available, eachDevice, openHere, shared } from "../test/devices";
import { abortAt, coded } from "../test/expectations";
import { loseDevice } from "../test/loseDevice";
import { type MemoryStore, memoryStore } from "../test/memoryStore";
import { type TinyRun, tinyTrain } from "../test/tinyRun";
import type { RunStore } from "./runStore";
import type { TrainEvent } from "./trainer";

const PAIRS = available.flatMap((from) => available.filter((to) => to !== from).map((to): [typeof from, typeof to] => [from, to]));

/** Trains on the device of that kind; gives the losses by step. */
async function lossesOn(kind: (typeof available)[number], run: Omit<TinyRun, "device">, stopAt?: number): Promise<Map<number, number>> {
  const device = shared(kind);
  const losses = new Map<number, number>();
  const { signal, onEvent } = stopAt === undefined ? { signal: undefined, onEvent: () => {} } : abortAt(stopAt);
  const listen = (event: TrainEvent): void => {
    if (event.kind === "step") losses.set(event.step, event.loss);
    onEvent(event);
  };
  await tinyTrain({ ...run, device, signal, onEvent: listen });
  expect(device.memory().used).toBe(0);
  return losses;
}

describe("a checkpoint of one device", () => {
  it.skipIf(PAIRS.length === 0).each(PAIRS)("from %s goes on for 50 steps on %s, and comes back", async (from, to) => {
    const run = { method: "fitted-noise", steps: 60, microBatches: 2 } as const;
    const straight = await lossesOn(from, run);
    const store = memoryStore();
    const moved = new Map([
      ...(await lossesOn(from, { ...run, store }, 4)), // the queue is one step ahead: it stops after step 5
      ...(await lossesOn(to, { ...run, store, resume: true }, 54)),
      ...(await lossesOn(from, { ...run, store, resume: true })),
    ]);
    expect([...moved.keys()]).toEqual([...straight.keys()]);
    const worst = Math.max(...[...straight].map(([step, loss]) => Math.abs(moved.get(step)! / loss - 1)));
    expect(worst).toBeLessThan(1e-5);
  });
});

eachDevice("a device without room", (device) => {
  const limited = (bytes: number) => openHere(device.kind, { memoryLimit: bytes });

  it("stops the run with what was being done and the last good checkpoint", async () => {
    for (const [bytes, ...parts] of [
      [600, "preparing the run: the model's ", " parameters, their gradients and what adamw remembers of them take "],
      [1 << 15, "training step 1: ", "the last good checkpoint is memory/step-0 (step 0)"],
    ] as [number, ...string[]][]) {
      const small = await limited(bytes);
      const store = memoryStore();
      await expect(tinyTrain({ device: small, batch: 64, store })).rejects.toEqual(coded("E_MEMORY", ...parts));
      expect(small.memory().used).toBe(0);
      small.close();
    }
  });

  it("says so too where nothing is kept", async () => {
    const small = await limited(1 << 15);
    await expect(tinyTrain({ device: small, batch: 64 })).rejects.toEqual(coded("E_MEMORY", "training step 1: ", "no checkpoint was kept"));
    small.close();
  });
});

describe.runIf(available.includes("webgpu"))("a device that is lost", () => {
  /** Trains 12 steps with a checkpoint after every fourth, on a device that `accident` takes away. */
  async function interrupted(accident: (lose: () => void, store: RunStore) => Partial<TinyRun>, ...parts: string[]): Promise<MemoryStore> {
    const device = await openHere("webgpu");
    const store = memoryStore();
    const more = accident(() => loseDevice(device), store);
    await expect(tinyTrain({ device, method: "state-passing", steps: 12, checkpointEvery: 4, store, ...more })).rejects.toEqual(
      coded("E_DEVICE_LOST", ...parts, "open a device anew", "the last good checkpoint is memory/step-4 (step 4)"));
    device.close();
    expect(await store.checkpoints()).toEqual([0, 4]);
    return store;
  }

  const atStep = (step: number) => (lose: () => void): Partial<TinyRun> => ({
    onEvent: (event) => { if (event.kind === "step" && event.step === step) lose(); },
  });

  it("stops the run with the last good checkpoint, from which it goes on elsewhere", async () => {
    const run = { method: "state-passing", steps: 12, checkpointEvery: 4 } as const;
    const straight = await lossesOn("webgpu", run);
    const left = await interrupted(atStep(6), "training step ");
    for (const kind of available) {
      const store = left.copy();
      const losses = await lossesOn(kind, { ...run, store, resume: true });
      expect([...losses.keys()]).toEqual([5, 6, 7, 8, 9, 10, 11, 12]);
      for (const [step, loss] of losses) expect(Math.abs(loss / straight.get(step)! - 1)).toBeLessThan(kind === "webgpu" ? 1e-12 : 1e-5);
      expect(await store.checkpoints()).toEqual([8, 12]);
    }
  });

  it("while a checkpoint is written leaves the one before", async () => {
    const store = await interrupted((lose, inner) => ({
      store: {
        ...inner,
        writeCheckpoint: (step, files) => {
          if (step === 8) lose();
          return inner.writeCheckpoint(step, files);
        },
      },
    }), "saving the checkpoint of step 8: ");
    expect([...(await lossesOn("reference", { method: "state-passing", steps: 12, checkpointEvery: 4, store, resume: true })).keys()][0])
      .toBe(5);
  });

  it("during an evaluation names it", async () => {
    const store = await interrupted((lose) => ({
      evaluations: [{
        name: "reading", every: 6,
        async run(parameters) {
          lose();
          return { first: (await parameters["mixer.mix"]!.read())[0]! };
        },
      }],
    }), "evaluation reading after step 6: ");
    expect((await store.readText("metrics.jsonl"))!.trimEnd().split("\n")).toHaveLength(6);
  });
});
