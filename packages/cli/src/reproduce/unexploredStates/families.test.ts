/** "Unexplored states" with each family in the place of Mamba-2, and with those that it is not about. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { METHODS } from "@lenggen/evals";
import { buildUnexploredStatesReport } from "@lenggen/evals/figures";
import { type Device, devices, open, parameterCount, type SequenceModel } from "@lenggen/kernels";
import { RECURRENT_FAMILIES } from "@lenggen/recurrent";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { modelNamed } from "../../models";
import { accepts, refusedBy } from "./methods";
import { reproduceUnexploredStates } from "./run";
import { PRESETS, withModel } from "./settings";
import { summary } from "./summary";

let device: Device;
let folder: string;
beforeAll(async () => {
  const native = (await devices()).some(({ name, available }) => name === "cpu" && available);
  device = await open(native ? "cpu" : "reference");
  folder = await mkdtemp(join(tmpdir(), "lenggen-unexplored-"));
});
afterAll(async () => {
  device.close();
  await rm(folder, { recursive: true, force: true });
});

/** The preset smoke with a model, to the report. */
function smoke(model: SequenceModel, name: string) {
  return reproduceUnexploredStates({
    preset: "smoke", seed: 3, chosen: { name, model }, settings: withModel(PRESETS["smoke"]!, model), folder: join(folder, name),
    fromScratch: false, device, signal: new AbortController().signal, note: () => {}, show: async () => {},
  });
}

describe.each(Object.keys(RECURRENT_FAMILIES))("family %s", (family) => {
  it("goes through all stages with its byte preset, and the report says whose it is", async () => {
    const model = await modelNamed(family);
    accepts(model);
    const report = await smoke(model, family);
    const left = new Set(report.leftOut?.map(({ method }) => method));
    const expected = METHODS.filter((name) => !left.has(name));
    expect(report.models.map(({ method }) => method)).toEqual(expected);
    expect(expected).toEqual(expect.arrayContaining(["base", "control", "state-passing", "tbtt"]));
    expect(report.recall?.map(({ method }) => method)).toEqual(expected.filter((name) => name !== "tbtt"));
    expect(report.model).toEqual({ family, parameters: parameterCount(model) });
    expect(report.command).toBe(`lenggen reproduce unexplored-states --model ${family} --preset smoke --seed 3`);

    const [base] = report.models;
    const leaves = model.stateLeaves.filter(({ kind }) => kind === "recurrent");
    const layers = new Set(leaves.map(({ layer }) => layer));
    expect(new Set(base!.stateStd.map(({ layer }) => layer))).toEqual(layers);
    expect(new Set(base!.stateStd.flatMap(({ leaf }) => leaf ?? [])).size).toBe(leaves.length > layers.size ? leaves.length : 0);
    const { std } = base!.statePooledStd!.find(({ position }) => position === 32)!;
    const noise = report.models.find(({ method }) => method === "random-noise");
    if (noise) expect(noise.settings!["std"]).toBe(Number(std.toPrecision(2)));

    const page = buildUnexploredStatesReport(report);
    const lines = summary(report, "here");
    expect(page).toContain("parameters \u00b7 preset smoke");
    for (const { why } of report.leftOut ?? []) expect(page).toContain(why.slice(0, 20));
    expect(lines.filter((line) => line.length > 80)).toEqual([]);
    expect(lines.at(-2)).toContain(" parameters; ");
  }, 120_000);
});

describe("models", () => {
  it("that the user names are trained as long as in full, and with half as much in quick, where they learn no recall", async () => {
    const model = await modelNamed("gla");
    const [quick, full] = [withModel(PRESETS["quick"]!, model), withModel(PRESETS["full"]!, model)];
    expect(full).toMatchObject({ base: PRESETS["full"]!.base, postTraining: PRESETS["full"]!.postTraining });
    expect(full.recallTraining?.model).toEqual(model.config);
    const bytes = ({ base, postTraining }: typeof quick) => base.batch * base.steps + 5 * postTraining.batch * postTraining.steps;
    expect(bytes(quick) / bytes(PRESETS["quick"]!)).toBeCloseTo(0.55, 2);
    expect(quick.recallTraining).toBeUndefined();
    expect(PRESETS["quick"]!.recallTraining).toBeDefined();
  });

  it("without a recurrent state, or of other texts than bytes, are refused", async () => {
    expect(() => accepts({ stateLeaves: [{ path: "k", kind: "memory", layer: 0 }], vocabulary: 256, family: "x" } as never))
      .toThrow(expect.objectContaining({ code: "E_ARGUMENT", message: expect.stringContaining("no recurrent state") as string }));
    const published = await modelNamed("130m");
    expect(() => accepts(published)).toThrow("a vocabulary of 50277; the texts are read as bytes, so that it must have 256");
  });

  it("of a family that refuses noise go without these methods, for the reason that it gives", async () => {
    const model = await modelNamed("tiny-byte");
    const windows = { ...model, stateLeaves: model.stateLeaves.map((leaf) => ({ ...leaf, kind: "window" as const })) };
    expect(refusedBy(model)).toEqual([]);
    expect(refusedBy(windows).map(({ method }) => method)).toEqual(["random-noise", "fitted-noise"]);
    expect(refusedBy(windows)[0]!.why).toContain("no recurrent state to give noise to");
  });
});
