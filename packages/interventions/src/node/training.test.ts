/** Training runs with their files: what is written, what resumes, and what is refused. */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type BatchSource, type Device, key, open, type Parameters, type Tensor } from "@lenggen/kernels";
import { afterAll, describe, expect, it } from "vitest";
import { available, eachDevice, openHere } from "../../test/devices";
import { abortAt, coded } from "../../test/expectations";
import { loseDevice } from "../../test/loseDevice";
import { digests, metrics } from "../../test/runFiles";
import { temporaryFolder } from "../../test/temporaryFolder";
import { tinyModel } from "../../test/tinyModel";
import { type TinyRun, tinyOptions, tinyTrain } from "../../test/tinyRun";
import { INTERVENTIONS, type InterventionName } from "../interventions";
import type { TrainEvent } from "../trainer";
import { runDirectory } from ".";

const device = await open("reference");
const METHODS = Object.keys(INTERVENTIONS) as InterventionName[];

afterAll(() => device.close());

describe("a run directory", () => {
  it("holds run.json, metrics and the newest checkpoints, whole", async () => {
    const folder = await temporaryFolder();
    const events: TrainEvent[] = [];
    const { parameters } = await tinyTrain({
      device, method: "state-passing", store: runDirectory(folder), steps: 7, checkpointEvery: 2, onEvent: (event) => events.push(event),
      about: { version: "1" }, settings: { text: "tiny" },
    });
    expect((await readdir(folder)).toSorted()).toEqual(["checkpoints", "metrics.jsonl", "run.json"]);
    expect((await readdir(join(folder, "checkpoints"))).toSorted()).toEqual(["step-6", "step-7"]);
    expect((await readdir(join(folder, "checkpoints", "step-7"))).toSorted()).toEqual(
      ["config.json", "model.safetensors", "optimizer.safetensors", "trainer.json"]);
    expect(events.filter(({ kind }) => kind === "checkpoint").map(({ step }) => step)).toEqual([0, 2, 4, 6, 7]);
    expect((await metrics(folder)).map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6, 7]);
    const run = JSON.parse(await readFile(join(folder, "run.json"), "utf8")) as { settings: object; about: object };
    expect(run).toMatchObject({
      format: 1, about: { version: "1", device: device.description },
      settings: { text: "tiny", seed: 4, steps: 7, initialStates: { name: "state-passing", resetProbability: 0.1 },
        optimizer: { beta2: 0.95 } },
    });
    const config = JSON.parse(await readFile(join(folder, "checkpoints", "step-7", "config.json"), "utf8")) as object;
    expect(config).toEqual(tinyModel().config);
    expect(Object.keys(parameters)).toEqual(Object.keys(tinyModel().parameterShapes()));
  });

  it("resumed when done, gives the parameters and runs nothing", async () => {
    const folder = await temporaryFolder();
    const first = await tinyTrain({ device, steps: 2, store: runDirectory(folder) });
    const events: TrainEvent[] = [];
    const again = await tinyTrain({ device, steps: 2, store: runDirectory(folder), resume: true, onEvent: (event) => events.push(event) });
    expect(again).toEqual(first);
    expect(events.map(({ kind }) => kind)).toEqual(["resumed"]);
  });

  it("drops metrics of steps that will run again, and a line that was cut off", async () => {
    const folder = await temporaryFolder();
    const run: TinyRun = { device, steps: 6, store: runDirectory(folder), checkpointEvery: 100 };
    await tinyTrain({ ...run, ...abortAt(2) }); // checkpoint at 3
    const file = join(folder, "metrics.jsonl");
    await writeFile(file, `${await readFile(file, "utf8")}{"step":4,"loss":9}\n{"step":5,"los`);
    await tinyTrain({ ...run, resume: true });
    expect((await metrics(folder)).map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6]);
    expect((await metrics(folder))[3]!["loss"]).not.toBe(9);
  });

  it("refuses a folder that holds a run, something else, or a run with other settings", async () => {
    const [folder, foreign] = [await temporaryFolder(), await temporaryFolder()];
    await tinyTrain({ device, steps: 2, store: runDirectory(folder) });
    const before = await digests(folder, 2);
    const at = (more: Partial<TinyRun>, where = folder) => tinyTrain({ device, steps: 2, store: runDirectory(where), ...more });
    await expect(at({})).rejects.toEqual(coded("E_EXISTS", folder, "checkpoint at step 2", "resume it or choose another folder"));
    await expect(at({ resume: true, seed: 5, schedule: { learningRate: 1, warmup: 2 } })).rejects.toEqual(
      coded("E_CONFIG", "other settings", "seed: 4 there, 5 here", "schedule.learningRate: 0.03 there, 1 here"));
    await expect(at({ resume: true, method: "tbtt" })).rejects.toEqual(coded("E_CONFIG", 'initialStates.name: "zero" there, "tbtt" here'));
    expect(await digests(folder, 2)).toEqual(before);
    await writeFile(join(foreign, "thesis.txt"), "precious");
    await expect(at({ resume: true }, foreign)).rejects.toEqual(coded("E_EXISTS", "holds no run (there is thesis.txt)"));
    expect(await readFile(join(foreign, "thesis.txt"), "utf8")).toBe("precious");
    await expect(at({}, join(foreign, "thesis.txt"))).rejects.toEqual(coded("E_IO", "thesis.txt"));
  });

  it("begins anew where a run left nothing but its description", async () => {
    const folder = await temporaryFolder();
    const parameters = () => Promise.reject(new Error("no parameters"));
    await expect(tinyTrain({ device, store: runDirectory(folder), parameters })).rejects.toThrow("no parameters");
    expect((await tinyTrain({ device, store: runDirectory(folder), steps: 1 })).status).toBe("done");
    expect(await readFile(join(folder, "run.json"), "utf8")).toContain('"steps": 1');
  });

  it("refuses a warm-up that is longer than the run, with every schedule, and begins nothing", async () => {
    const folder = await temporaryFolder();
    for (const schedule of ["constant", "cosine"] as const) {
      const long = { device, steps: 3, schedule: { schedule, warmup: 4, learningRate: 0.03 } };
      const refusal = coded("E_CONFIG", "warmup is 4, longer than the run of 3 steps");
      await expect(tinyTrain(long)).rejects.toEqual(refusal);
      for (const resume of [false, true])
        await expect(tinyTrain({ ...long, store: runDirectory(folder), resume })).rejects.toEqual(refusal);
      expect(await readdir(folder)).toEqual(["checkpoints"]);
    }
  });

  it("goes on with a run of an earlier version whose warm-up is longer than it", async () => {
    const folder = await temporaryFolder();
    const warmup = { schedule: "constant", learningRate: 0.03, warmup: 9 } as const;
    await tinyTrain({ device, steps: 4, schedule: { ...warmup, scheduleSteps: 9 }, store: runDirectory(folder), ...abortAt(1) });
    const file = join(folder, "run.json");
    await writeFile(file, (await readFile(file, "utf8")).replace(/,\s*"scheduleSteps": 9/, ""));
    const rates: number[] = [];
    const onEvent = (event: TrainEvent) => { if (event.kind === "step") rates.push(event.learningRate); };
    expect((await tinyTrain({ device, steps: 4, schedule: warmup, store: runDirectory(folder), resume: true, onEvent })).status)
      .toBe("done");
    expect(rates).toEqual([(0.03 * 3) / 9, (0.03 * 4) / 9]);
  });

  it.each([{ schedule: "constant" }, { schedule: "cosine", scheduleSteps: 7 }] as const)(
    "that is done goes on for more steps, to the bits of one that took them all: %j", async (kind) => {
    const [folder, straight] = [await temporaryFolder(), await temporaryFolder()];
    const run = { device, method: "state-passing", schedule: { ...kind, learningRate: 0.03, warmup: 2 } } as const;
    const at = (steps: number, where: string) => tinyTrain({ ...run, steps, store: runDirectory(where), resume: true });
    for (const steps of [4, 7, 9]) expect(await at(steps, folder)).toMatchObject({ status: "done", step: steps });
    await at(9, straight);
    expect(await digests(folder, 9)).toEqual(await digests(straight, 9));
    const rates = async (where: string) => (await metrics(where)).map(({ step, learningRate }) => [step, learningRate]);
    expect(await rates(folder)).toEqual(await rates(straight));
    expect(JSON.parse(await readFile(join(folder, "run.json"), "utf8"))).toMatchObject({ settings: { steps: 9, schedule: kind } });
    await expect(at(8, folder)).rejects.toEqual(coded("E_CONFIG", "has done 9 steps already, more than the 8 asked for"));
  });

  it("with a rate that falls over its steps says why it can't have more, and how it can", async () => {
    const folder = await temporaryFolder();
    const at = (steps: number, scheduleSteps?: number) =>
      tinyTrain({ device, steps, store: runDirectory(folder), resume: true, schedule: { learningRate: 0.03, warmup: 2, scheduleSteps } });
    await at(4);
    const before = await readFile(join(folder, "run.json"), "utf8");
    await expect(at(6)).rejects.toEqual(coded("E_CONFIG", "falls over 4 steps", "other rates",
      "Give 4 as the schedule's length (scheduleSteps) for 6 steps"));
    await expect(at(6, 6)).rejects.toEqual(coded("E_CONFIG", "over 6 they would have had other rates"));
    expect(await readFile(join(folder, "run.json"), "utf8")).toBe(before);
    for (const given of [4, undefined]) expect((await at(6, given)).step).toBe(6); // once it is known, it need not be said again
    expect((await metrics(folder)).slice(3).map(({ learningRate }) => learningRate))
      .toEqual(Array<unknown>(3).fill(expect.closeTo(0.003, 12)));
  });

  it("refuses damaged files and weights of another model", async () => {
    const folder = await temporaryFolder();
    const again = () => tinyTrain({ device, steps: 2, store: runDirectory(folder), resume: true });
    await tinyTrain({ device, steps: 2, store: runDirectory(folder) });
    const damage = async (file: string, text: string | Uint8Array, ...error: [string, ...string[]]) => {
      const path = join(folder, file);
      const good = await readFile(path);
      await writeFile(path, text);
      await expect(again()).rejects.toEqual(coded(...error));
      await writeFile(path, good);
    };
    const checkpoint = "checkpoints/step-2";
    const weights = await readFile(join(folder, checkpoint, "model.safetensors"));
    await damage("run.json", "{", "E_FORMAT", "run.json: not valid JSON");
    await damage("run.json", "null", "E_FORMAT", "is not the description of a run");
    await damage(`${checkpoint}/trainer.json`, "[", "E_FORMAT", "trainer.json: not valid JSON");
    await damage(`${checkpoint}/trainer.json`, "{}", "E_FORMAT", "not the state of a trainer at step 2");
    await damage(`${checkpoint}/model.safetensors`, weights.subarray(0, weights.length - 4), "E_FORMAT", "model.safetensors");
    await damage(`${checkpoint}/optimizer.safetensors`, weights, "E_WEIGHTS", "lacks m.embedding.weight");
    expect((await again()).status).toBe("done");
    expect(device.memory().used).toBe(0);
  });
});

eachDevice("a run", (device) => {
  it.each(METHODS)("resumes %s to the same bits, and metrics to the same losses", async (method) => {
    const [straight, broken] = [await temporaryFolder(), await temporaryFolder()];
    const run: TinyRun = { device, method, steps: 11, microBatches: 2, checkpointEvery: 100 };
    await tinyTrain({ ...run, store: runDirectory(straight) });
    for (const stop of [3, 6, 8]) {
      const { status, step } = await tinyTrain({ ...run, store: runDirectory(broken), resume: true, ...abortAt(stop) });
      expect([status, step]).toEqual(["interrupted", stop + 1]); // the queue was one step ahead
    }
    const resumed: TrainEvent[] = [];
    const last = await tinyTrain({ ...run, store: runDirectory(broken), resume: true, onEvent: (event) => resumed.push(event) });
    expect(last.status).toBe("done");
    expect(resumed[0]).toEqual({ kind: "resumed", step: 9, steps: 11 });
    expect(await digests(broken, 11)).toEqual(await digests(straight, 11));
    const lossesOf = (lines: Record<string, unknown>[]) => lines.map(({ step, loss, tokens }) => ({ step, loss, tokens }));
    expect(lossesOf(await metrics(broken))).toEqual(lossesOf(await metrics(straight)));
    expect(device.memory().used).toBe(0);
  });
});

eachDevice("numbers that are not finite", (device) => {
  /** Batches that are fine until a target's weight is infinite at that step. */
  function poisoned(step: number): BatchSource {
    const { batches } = tinyOptions({ device });
    return {
      ...batches,
      at: (now, part) => ({ ...batches.at(now, part),
        ...(now + 1 === step ? { weights: new Float32Array(18).fill(1).fill(Infinity, 0, 1) } : {}) }),
    };
  }

  it("stop the run, naming the step and the last good checkpoint, before anything bad is saved", async () => {
    for (const step of [1, 5, 6, 8, 9]) {
      const folder = await temporaryFolder();
      const last = step - 1 - ((step - 1) % 4);
      await expect(tinyTrain({ device, batches: poisoned(step), steps: 9, checkpointEvery: 4,
        store: runDirectory(folder) })).rejects.toEqual(
        coded("E_NOT_FINITE", `at step ${step}`, join(folder, "checkpoints", `step-${last}`)));
      expect((await runDirectory(folder).checkpoints()).at(-1)).toBe(last);
      expect((await metrics(folder).catch(() => [])).every(({ loss }) => Number.isFinite(loss))).toBe(true);
    }
    expect(device.memory().used).toBe(0);
  });

  it("in parameters alone stop the run too", async () => {
    const folder = await temporaryFolder();
    const parameters = async (): Promise<Parameters> => {
      const { "embedding.weight": table, ...others } = tinyModel().init(key(1), device) as Record<string, Tensor>;
      return { "embedding.weight": table!.write(new Float32Array(table!.size).fill(Number.NaN)), ...others };
    };
    await expect(tinyTrain({ device, steps: 3, store: runDirectory(folder), parameters })).rejects.toEqual(
      coded("E_NOT_FINITE", "66 parameters, moments or states are not finite after step 0", "no checkpoint was kept"));
    expect(await runDirectory(folder).checkpoints()).toEqual([]);
  });
});

describe.runIf(available.includes("webgpu"))("a device that is lost", () => {
  it("while a checkpoint is written leaves no file of it", async () => {
    const folder = await temporaryFolder();
    const doomed = await openHere("webgpu");
    const store = runDirectory(folder);
    await expect(tinyTrain({
      device: doomed, steps: 5, checkpointEvery: 2,
      store: {
        ...store,
        writeCheckpoint(step, files) {
          if (step < 4) return store.writeCheckpoint(step, files);
          // The other files are there already when it happens.
          const { "optimizer.safetensors": moments, ...others } = files;
          const lost = async function* (): AsyncGenerator<Uint8Array> {
            loseDevice(doomed);
            yield* moments as AsyncIterable<Uint8Array>;
          };
          return store.writeCheckpoint(step, { ...others, "optimizer.safetensors": lost() });
        },
      },
    })).rejects.toEqual(coded("E_DEVICE_LOST", "saving the checkpoint of step 4", join(folder, "checkpoints", "step-2")));
    doomed.close();
    expect((await readdir(join(folder, "checkpoints"))).toSorted()).toEqual(["step-0", "step-2"]);
    expect(await tinyTrain({ device, steps: 5, checkpointEvery: 2, store, resume: true })).toMatchObject({ status: "done", step: 5 });
  });
});

describe.runIf(available.includes("cpu"))("training on the cpu", () => {
  it.each(METHODS)("with %s gives the same bits on 1, 2 and 3 threads, interrupted or not", async (method) => {
    const seen = new Set<string>();
    for (const threads of [1, 2, 3]) {
      const folder = await temporaryFolder();
      const run = async (stop: number, more: number): Promise<void> => {
        const device: Device = await open("cpu", { threads: more });
        await tinyTrain({ device, method, steps: 10, store: runDirectory(folder), resume: true, ...abortAt(stop) });
        device.close();
      };
      if (threads > 1) await run(4, threads - 1);
      await run(99, threads);
      seen.add((await digests(folder, 10)).join(" "));
    }
    expect(seen.size).toBe(1);
  });
});
