import { createHash } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Device, devices, dispose, key, LenggenError, open, type Parameters, type Tensor } from "@lenggen/kernels";
import { afterAll, describe, expect, it } from "vitest";
import { temporaryFolder } from "../test/temporaryFolder";
import { tinyModel } from "../test/tinyModel";
import { type TinyRun, tinyOptions, tinyTrain } from "../test/tinyRun";
import type { BatchSource } from "./data";
import { INTERVENTIONS, type InterventionName } from "./interventions";
import type { StepEvent } from "./meter";
import { runDirectory } from "./node";
import { train, type TrainEvent } from "./trainer";

const device = await open("reference");
const listings = await devices();
const available = listings.filter((listing) => listing.available).map(({ name }) => name);
for (const { name, available: here, reason } of listings) if (!here) console.warn(`training on device ${name} is not tested: ${reason}`);

const METHODS = Object.keys(INTERVENTIONS) as InterventionName[];

afterAll(() => device.close());

const coded = (code: string, ...parts: string[]) =>
  expect.objectContaining({ code, message: expect.stringMatching(new RegExp(parts.map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")).join(".*"))) });

async function metrics(folder: string): Promise<Record<string, unknown>[]> {
  const text = await readFile(join(folder, "metrics.jsonl"), "utf8");
  expect(text.endsWith("\n")).toBe(true);
  return text.trimEnd().split("\n").map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** Digests of the files of the newest checkpoint that the next step depends on. */
async function digests(folder: string, step: number): Promise<string[]> {
  return Promise.all(["model.safetensors", "optimizer.safetensors"].map(async (file) =>
    createHash("sha256").update(await readFile(join(folder, "checkpoints", `step-${step}`, file))).digest("hex")));
}

/** Aborts once that step is reported. */
function abortAt(step: number): { signal: AbortSignal; onEvent: (event: TrainEvent) => void } {
  const controller = new AbortController();
  return { signal: controller.signal, onEvent: (event) => { if (event.kind === "step" && event.step === step) controller.abort(); } };
}

describe("training", () => {
  it.each(METHODS)("learns with %s", async (method) => {
    const losses: number[] = [];
    const onEvent = (event: TrainEvent) => { if (event.kind === "step") losses.push(event.loss); };
    await tinyTrain({ device, method, steps: 150, batch: 8, onEvent });
    const mean = (values: number[]) => values.reduce((a, b) => a + b) / values.length;
    expect(losses).toHaveLength(150);
    expect(mean(losses.slice(0, 5))).toBeGreaterThan(2.2); // ln 11 = 2.40: nothing known
    expect(mean(losses.slice(-10))).toBeLessThan(1.6);
  });

  it.each(available)("keeps device memory where it was after step 10 on %s", async (kind) => {
    const here = await open(kind);
    const used: number[] = [];
    const before = here.memory().used;
    await tinyTrain({
      device: here, method: "state-passing", steps: 1000, context: 2, batch: 2, microBatches: 2,
      evaluations: [{ name: "memory", every: 10, run: async () => { used.push(here.memory().used); return {}; } }],
    });
    expect(used).toHaveLength(100);
    expect(used[99]).toBe(used[0]);
    expect(here.memory().used).toBe(before);
    here.close();
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
          return { tokens: stream.slice(start, start + context), targets: stream.slice(start + 1, start + context + 1), fresh: [step === 0] };
        },
      };
      const onEvent = (event: TrainEvent) => { if (event.kind === "step") losses.push(event.loss); };
      await tinyTrain({ device, method: "tbtt", batches, steps: 12 / context, schedule: { learningRate: 0 }, onEvent });
      return losses.reduce((a, b) => a + b) / losses.length;
    };
    const whole = await lossOf(12);
    for (const context of [1, 3, 6]) expect(await lossOf(context)).toBeCloseTo(whole, 5);
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
    [{ optimizer: { beta1: 1 } }, "beta1 is 1"], [{ schedule: { learningRate: -1 } }, "learningRate is -1"],
  ] as [Partial<TinyRun>, string][])("refuses %j", async (wrong, message) => {
    const { batches } = tinyOptions({ device });
    await expect(tinyTrain({ device, batches, ...wrong })).rejects.toEqual(coded("E_CONFIG", message));
  });

  it("refuses tokens and targets beyond the vocabulary, and batches without targets", async () => {
    const source = (tokens: number, targets: number): BatchSource => ({
      order: "independent", batch: 1, context: 2, settings: {},
      at: () => ({ tokens: new Int32Array(2).fill(tokens), targets: new Int32Array(2).fill(targets) }),
    });
    await expect(tinyTrain({ device, batches: source(11, 0) })).rejects.toEqual(coded("E_ARGUMENT", "11"));
    await expect(tinyTrain({ device, batches: source(0, 11) })).rejects.toEqual(coded("E_ARGUMENT", "target 11 is outside the vocabulary of 11"));
    await expect(tinyTrain({ device, batches: source(0, -1) })).rejects.toEqual(coded("E_ARGUMENT", "no target"));
    expect(device.memory().used).toBe(0);
  });
});

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
      settings: { text: "tiny", seed: 4, steps: 7, initialStates: { name: "state-passing", resetProbability: 0.1 }, optimizer: { beta2: 0.95 } },
    });
    const config = JSON.parse(await readFile(join(folder, "checkpoints", "step-7", "config.json"), "utf8")) as object;
    expect(config).toEqual(tinyModel().config);
    expect(Object.keys(parameters)).toEqual(Object.keys(tinyModel().parameterShapes()));
  });

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

describe("numbers that are not finite", () => {
  /** Batches that are fine until a target's weight is infinite at that step. */
  function poisoned(step: number): BatchSource {
    const { batches } = tinyOptions({ device });
    return {
      ...batches,
      at: (now, part) => ({ ...batches.at(now, part), ...(now + 1 === step ? { weights: new Float32Array(18).fill(1).fill(Infinity, 0, 1) } : {}) }),
    };
  }

  it("stop the run, naming the step and the last good checkpoint, before anything bad is saved", async () => {
    for (const step of [1, 5, 6, 8, 9]) {
      const folder = await temporaryFolder();
      const last = step - 1 - ((step - 1) % 4);
      await expect(tinyTrain({ device, batches: poisoned(step), steps: 9, checkpointEvery: 4, store: runDirectory(folder) })).rejects.toEqual(
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

describe.runIf(available.includes("cpu"))("training on the cpu", () => {
  it.each(METHODS)("with %s gives the same bits on 1, 2 and 3 threads, interrupted or not", async (method) => {
    const seen = new Set<string>();
    for (const threads of [1, 2, 3]) {
      const folder = await temporaryFolder();
      const run = async (stop: number, more: number): Promise<void> => {
        const cpu: Device = await open("cpu", { threads: more });
        await tinyTrain({ device: cpu, method, steps: 10, store: runDirectory(folder), resume: true, ...abortAt(stop) });
        cpu.close();
      };
      if (threads > 1) await run(4, threads - 1);
      await run(99, threads);
      seen.add((await digests(folder, 10)).join(" "));
    }
    expect(seen.size).toBe(1);
  });
});
