import { cp, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { GcaRetrievalReport } from "@lenggen/evals";
import { type Device, devices, key, open } from "@lenggen/kernels";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ReproductionInput } from "../experiment";
import { stageBatches } from "./batches";
import { gcaRetrieval } from "./experiment";
import { reproduceGcaRetrieval } from "./run";
import { PRESETS } from "./settings";

let device: Device;
let folder: string;
beforeAll(async () => {
  const cpu = (await devices()).find(({ name }) => name === "cpu")!;
  device = await open(cpu.available ? "cpu" : "reference");
  folder = await mkdtemp(join(tmpdir(), "lenggen-gca-"));
});
afterAll(async () => {
  device.close();
  await rm(folder, { recursive: true, force: true });
});

const input = (name: string, signal = new AbortController().signal): ReproductionInput =>
  ({ preset: "smoke", seed: 3, folder: join(folder, name), fromScratch: false, device, signal, note: () => {}, show: async () => {} });

describe("reproduce gca-retrieval", () => {
  it("writes its report in the format that others rely on", async () => {
    const { report, page, chart, summary } = await gcaRetrieval.run(input("whole"));
    expect(chart!.series.map(({ label }) => label)).toEqual(["DRT \u00d71", "DRT \u00d72", "sliding window", "full attention"]);
    const { models, streaming, ...rest } = report as GcaRetrievalReport;
    expect(rest).toMatchObject({ experiment: "gca-retrieval", preset: "smoke", seed: 3, trainLength: 96,
      seconds: expect.any(Number) as number });
    expect(models.map(({ method }) => method)).toEqual(["drt-1", "drt-2", "sliding-window", "full-attention"]);
    for (const { parameters, tokensTrained } of models) {
      expect(parameters).toBeGreaterThan(1000);
      expect(tokensTrained).toBe(2 * 2 * 64 + 2 * 2 * 96);
    }
    const places = models.map(({ retrieval }) => retrieval.map(({ task, length, depth, samples, aligned, perStream }) =>
      [task, length, depth, samples, aligned ? "aligned" : "", perStream > 1 ? `${perStream} in a stream` : ""].join(" ").trim()));
    const oneKey = (aligned: string) =>
      [64, 96].flatMap((length) => [0.25, 0.75].map((depth) => `key-retrieval ${length} ${depth} 2${aligned}`));
    expect(places[0]).toEqual([...oneKey("").slice(0, 2), ...oneKey(" aligned").slice(0, 2), ...oneKey("").slice(2),
      ...oneKey(" aligned").slice(2), "two-hop 64 0.5 2",
      ...[0.25, 0.75].map((depth) => `many-key 1024 ${depth} 1  2 in a stream`)]);
    expect(places[1]!.slice(-2)).toEqual([0.25, 0.75].map((depth) => `many-key 512 ${depth} 2  2 in a stream`));
    expect(places[2]).toEqual(oneKey(""));
    for (const cell of models.flatMap(({ retrieval }) => retrieval)) {
      expect(Object.keys(cell).slice(0, 6)).toEqual(["task", "length", "depth", "samples", "accuracy", "aligned"]);
      expect(cell.answerBits).toBeGreaterThan(0);
    }
    expect(models.map(({ reading }) => [reading!.steps, reading!.tokensTrained]))
      .toEqual([2, 2, 3, 1].map((steps) => [steps, steps * 2 * 64]));
    for (const { reading } of models) {
      expect(reading!.lossByLength!.map(({ position }) => position)).toEqual([64, 128]);
      expect(reading!.lossByPosition!.at(-1)!.bitsPerByte).toBeGreaterThan(5);
    }
    expect(streaming.map(({ length }) => length)).toEqual([256, 512, 1024]);
    for (const point of streaming) {
      expect(Object.keys(point).slice(0, 5).sort()).toEqual(["deviceBytes", "diskBytes", "length", "residentBytes", "tokensPerSecond"]);
      for (const value of Object.values(point)) expect(value).toBeGreaterThan(0);
    }
    expect(streaming[2]!.diskBytes).toBeGreaterThan(1.8 * streaming[1]!.diskBytes);
    // no file of chunks is left
    expect((await readdir(join(folder, "whole"))).filter((name) => name.includes("stream"))).toEqual(["drt-1-stream.json"]);

    expect(page).toContain("Retrieval far beyond the training length");
    const lines = summary("report.html");
    expect(lines[0]).toMatch(/^gca-retrieval smoke, seed 3, T = 96/);
    expect(lines.filter((line) => line.length > 80)).toEqual([]);
    // Once more: all is found on disk.
    const again = (await gcaRetrieval.run(input("whole"))).report as GcaRetrievalReport;
    expect(again.models.map(({ retrieval, lossByLength, reading, trainingSpeed }) => ({ retrieval, lossByLength, reading, trainingSpeed })))
      .toEqual(models.map(({ retrieval, lossByLength, reading, trainingSpeed }) => ({ retrieval, lossByLength, reading, trainingSpeed })));
    expect(again.streaming).toEqual(streaming);
  });

  it("goes on where it was interrupted", async () => {
    const stop = new AbortController();
    const stopped = gcaRetrieval.run(input("stopped", stop.signal));
    const until = setInterval(() => void readdir(join(folder, "stopped", "answers"))
      .then((names) => names.length > 1 && stop.abort(new Error("stopped")), () => {}), 5);
    await expect(stopped).rejects.toThrow(/stopped|interrupted/);
    clearInterval(until);
    const { report } = await gcaRetrieval.run(input("stopped"));
    const whole = (await gcaRetrieval.run(input("whole"))).report as GcaRetrievalReport;
    expect((report as GcaRetrievalReport).models.map(({ retrieval }) => retrieval)).toEqual(whole.models.map(({ retrieval }) => retrieval));
  });

  it("takes a committed checkpoint where there is one for the seed, and refuses that of another model", async () => {
    const smoke = PRESETS["smoke"]!;
    const run = async (from: string, name: string, more: Partial<ReproductionInput> = {}) => {
      const checkpoints = { folder: join(folder, `committed-${from}`), fromScratch: "1 min" };
      await cp(join(folder, "whole", from, "stage-3", "checkpoints", "step-2"), join(checkpoints.folder, "seed-3", "drt-1"),
        { recursive: true });
      const settings = { ...smoke, models: [{ ...smoke.models[0]!, checkpoints }], questions: smoke.questions.slice(0, 1), loss: undefined,
        reading: undefined, speed: undefined, streaming: from === "drt-1" ? smoke.streaming : undefined };
      return reproduceGcaRetrieval({ ...input(name), ...more, settings });
    };
    const notes: string[] = [];
    const [committed] = (await run("drt-1", "committed", { note: (line) => notes.push(line) })).models;
    expect(notes).toEqual(["drt-1: from the committed checkpoint; --from-scratch trains it anew, about 1 min on two cores"]);
    expect(committed).toMatchObject({ tokensTrained: 0, settings: { trainedBefore: true } });
    const [another] = (await run("drt-1", "another-seed", { seed: 4, note: (line) => notes.push(line) })).models;
    expect(notes[1]).toBe("drt-1: training from scratch, about 1 min on two cores");
    expect(another!.tokensTrained).toBeGreaterThan(0);
    const [scratch] = (await run("drt-1", "scratch", { fromScratch: true })).models;
    expect(scratch!.tokensTrained).toBeGreaterThan(0);
    expect(scratch!.retrieval).toEqual(committed!.retrieval);
    await expect(run("drt-2", "other")).rejects.toMatchObject({ code: "E_CONFIG",
      message: expect.stringMatching(/is of another model than the settings of drt-1/) as string });
  });

  it.each([
    ["no stages", [], "the training of drt-1 needs at least one stage"],
    ["a last stage of another model", [{ steps: 1, length: 64, batch: 2, model: { top_k: 1 } }], 'its last stage can\'t have a "model"'],
  ])("refuses a training with %s", async (name, stages, message) => {
    const smoke = PRESETS["smoke"]!;
    const settings = { ...smoke, models: smoke.models.slice(0, 1), training: { ...smoke.training, stages } };
    await expect(reproduceGcaRetrieval({ ...input(name), settings })).rejects.toMatchObject({ code: "E_ARGUMENT",
      message: expect.stringContaining(message) as string });
  });
});

describe("batches of a stage", () => {
  const mix = { tasks: [{ task: "key-retrieval", share: 3 }, { task: "two-hop", share: 1, ends: 2 }], answerShare: 0.5 } as const;
  const stage = { steps: 40, length: 64, batch: 3 } as const;
  const text = new TextEncoder().encode("A line of text, and then another one. ".repeat(50));
  const batches = stageBatches(stage, mix, key(5), text);

  it("are functions of the step, and no shorter than the stage says", () => {
    expect(batches.at(39, 0)).toMatchObject({ context: 64, tokens: { length: 3 * 64 } });
    expect(batches.at(7, 0)).toEqual(stageBatches(stage, mix, key(5), text).at(7, 0));
    const longer = stageBatches({ ...stage, length: 128, shortest: 120 }, mix, key(5), text);
    for (let step = 0; step < 20; step++) expect(longer.at(step, 0).ends![0]).toBeGreaterThanOrEqual(120 - 6 - 1);
  });

  it("hold the tasks by their shares, with their ends before the question's last token", () => {
    const all = Array.from({ length: 80 }, (_, step) => batches.at(step, 0));
    const twoHops = all.filter(({ ends }) => ends!.length === 2);
    expect(twoHops.length).toBeGreaterThan(8);
    expect(twoHops.length).toBeLessThan(36);
    for (const { tokens, ends } of all) expect(tokens[ends![0]!]).toBe((ends!.length === 2 ? ">" : "[").charCodeAt(0));
    expect(new Set(all.map(({ ends }) => ends![0]! % 8)).size).toBeGreaterThan(4);
    const own = stageBatches({ ...stage, tasks: [mix.tasks[0]] }, mix, key(5), text);
    for (let step = 0; step < 40; step++) expect(own.at(step, 0).ends).toHaveLength(1);
  });

  it("weigh text and answer by the share of the answer", () => {
    const { weights, targets, context } = stageBatches(stage, { ...mix, tasks: [mix.tasks[0]] }, key(5), text).at(0, 0);
    const row = weights!.subarray(0, context);
    expect(targets.length).toBe(weights!.length);
    const answer = row.filter((weight) => weight > 1).reduce((sum, weight) => sum + weight, 0);
    const prompt = row.filter((weight) => weight === 1).length;
    expect(answer).toBeCloseTo(64 + 1 - 3, 4);
    expect(prompt).toBeLessThanOrEqual(61);
  });

  it("refuse a stage that is too short for a task, or has none", () => {
    expect(() => stageBatches({ ...stage, length: 32 }, mix, key(0), text)).toThrow(/two-hop: rows of .* can't hold a prompt/);
    expect(() => stageBatches({ ...stage, tasks: [] }, mix, key(0), text)).toThrow("at least one task");
  });
});
