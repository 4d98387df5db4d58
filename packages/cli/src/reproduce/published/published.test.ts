/** "Published" with a small checkpoint in the place of one that others trained. */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildUnexploredStatesReport } from "@lenggen/evals/figures";
import { type Device, devices, dispose, key, keep, open, saveModel } from "@lenggen/kernels";
import { writeWhole } from "@lenggen/kernels/node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { modelNamed } from "../../models";
import { summary } from "../unexploredStates/summary";
import { type PublishedInput, reproducePublished } from "./run";
import { publishedSettings, PUBLISHED_PRESETS } from "./settings";

let device: Device;
let folder: string;
beforeAll(async () => {
  const native = (await devices()).some(({ name, available }) => name === "cpu" && available);
  device = await open(native ? "cpu" : "reference");
  folder = await mkdtemp(join(tmpdir(), "lenggen-published-"));
});
afterAll(async () => {
  device.close();
  await rm(folder, { recursive: true, force: true });
});

/** A checkpoint's folder, of a model with fresh parameters. */
async function checkpointOf(name: string): Promise<string> {
  const model = await modelNamed(name);
  const parameters = keep(model.init(key(1), device));
  const { config, weights } = saveModel(model, parameters);
  const place = join(folder, name);
  await mkdir(place);
  await writeFile(join(place, "config.json"), config);
  await writeWhole(join(place, "model.safetensors"), weights);
  dispose(parameters);
  return place;
}

function inputOf(place: string, out: string, notes: string[] = []): PublishedInput {
  return {
    preset: "smoke", seed: 3, checkpoint: { name: place, place }, folder: join(folder, out), fromScratch: false, device,
    methods: ["state-passing", "tbtt"], signal: new AbortController().signal, note: (line) => notes.push(line), show: async () => {},
  };
}

describe("a published checkpoint", () => {
  it("is measured, trained on and measured again, and the report says whose it is", async () => {
    const checkpoint = await checkpointOf("gla");
    const notes: string[] = [];
    const input = inputOf(checkpoint, "out", notes);
    const parts: string[] = [];
    const report = await reproducePublished(input, async (_, done) => void parts.push(done));
    expect(report.models.map(({ method, steps }) => [method, steps])).toEqual([["base", 0], ["state-passing", 3], ["tbtt", 3]]);
    expect(report).toMatchObject({ experiment: "published", trainLength: 32, origin: { checkpoint }, tokensTrained: 2 * 3 * 4 * 32,
      command: `lenggen reproduce published --checkpoint ${checkpoint} --methods state-passing,tbtt --preset smoke --seed 3` });
    expect(report.models[0]!.lossByPosition.at(-1)!.position).toBe(128);
    expect(notes[0]).toContain(": GLA as flash-linear-attention has it");
    expect(notes[1]).toContain("2 models trained on from it (3 steps of 4 sequences of 32 tokens)");
    expect(notes[2]).toMatch(/^about [\d.]+ m?s .* to measure a model, .* to train one; [\d.]+ \w+ of memory for tensors/);
    expect(parts.at(-1)).toBe("state passing: done");
    expect(buildUnexploredStatesReport(report)).toContain("as others trained it");
    expect(summary(report, "here")[0]).toMatch(/^published smoke, seed 3, T = 32/);

    // What is done is found again: nothing is trained or measured twice.
    const seconds = report.models.map((model) => model.seconds);
    const again = await reproducePublished(inputOf(checkpoint, "out"), async () => {});
    expect(again.models).toEqual(report.models);
    expect(again.models.map((model) => model.seconds)).toEqual(seconds);
    expect((await readdir(join(folder, "out"))).sort()).toEqual(
      ["base-evaluation.json", "published.json", "state-passing", "state-passing-evaluation.json", "tbtt", "tbtt-evaluation.json"]);
  });

  it("is not mixed with what another one left in the folder", async () => {
    const before = await readFile(join(folder, "out", "base-evaluation.json"), "utf8");
    await expect(reproducePublished({ ...inputOf(join(folder, "gla"), "out"), seed: 4 }, async () => {})).rejects.toMatchObject({
      code: "E_CONFIG", message: expect.stringMatching(/holds the beginning of a reproduction of another checkpoint.*--out$/) as string });
    expect(await readFile(join(folder, "out", "base-evaluation.json"), "utf8")).toBe(before);
  });

  it("has to be of a recurrent model", async () => {
    const checkpoint = await checkpointOf("drt-tiny");
    await expect(reproducePublished(inputOf(checkpoint, "refused"), async () => {})).rejects.toMatchObject({ code: "E_ARGUMENT",
      message: "--checkpoint: a model of family drt has no recurrent state, which the experiment is about" });
    expect(await readdir(folder)).not.toContain("refused");
  });
});

describe("what is measured follows from the training length", () => {
  const lengths = (preset: string, trainLength?: number) => publishedSettings(PUBLISHED_PRESETS[preset]!, { trainLength }).lengths;
  it("from a quarter to the preset's reach", () => {
    expect(lengths("full")).toEqual([512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072, 262144]);
    expect(lengths("quick", 100)).toEqual([25, 50, 100, 200, 400, 800, 1600]);
    expect(lengths("smoke", 1)).toEqual([1, 2, 4]);
  });
});
