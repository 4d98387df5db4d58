import { expect, it } from "vitest";
import { check } from "./errors";
import { modelFamilies, type ModelFamily } from "./modelFamilies";
import type { SequenceModel } from "./model";
import type { Safetensors } from "./safetensors";

/** A family whose models are nothing but a name and a configuration. */
const family = (name: string, more: Partial<ModelFamily> = {}): ModelFamily => ({
  presets: { [`${name}-small`]: { size: 1 }, [`${name}-large`]: { size: 2 } },
  make: (config) => ({ family: name, config }) as SequenceModel,
  load: async (config) => {
    const model = { family: name, config, vocabulary: 1, parameterShapes: () => ({}) } as unknown as SequenceModel;
    return { model, parameters: {} };
  },
  ...more,
});
const shown = (model: SequenceModel | undefined) => model && [model.family, model.config];

it("gives models by preset, by family, and by configuration", async () => {
  const models = modelFamilies({ ant: family("ant", { untyped: (config) => "size" in config }), bee: family("bee") });
  expect(models.presets).toEqual(["ant-small", "ant-large", "bee-small", "bee-large"]);
  expect(shown(models.named("bee-large"))).toEqual(["bee", { size: 2 }]);
  expect(shown(models.named("bee"))).toEqual(["bee", { size: 1 }]);
  expect(models.named("wasp")).toBeUndefined();
  expect(models.named("toString")).toBeUndefined();
  expect(shown(models.make({ model_type: "bee", size: 3 }))).toEqual(["bee", { model_type: "bee", size: 3 }]);
  expect(shown(models.make({ size: 3 }))).toEqual(["ant", { size: 3 }]);
  for (const other of [{ length: 3 }, null, "ant"])
    expect(() => models.make(other)).toThrow(/no model_type, which must be one of ant, bee; nor does it look like/);
  const loaded = await models.load({ model_type: "bee", size: 1 }, file({}), {} as never);
  expect(loaded.model.family).toBe("bee");
});

/** A file of tensors with these shapes. */
const file = (shapes: Record<string, readonly number[]>, dtype = "F16"): Safetensors => ({
  tensors: Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, { dtype, shape, offset: 0, byteLength: 0 }])),
  metadata: {}, load: () => Promise.reject(new Error("not loaded")), loadAll: () => Promise.reject(new Error("not loaded")),
});

/** A family that is told by a tensor of its name, and has as many layers. */
const told = (name: string, assumed: readonly string[] = []) => family(name, {
  fromShapes(tensors) {
    const config = { model_type: name, size: Object.keys(tensors).length };
    return `${name}.0` in tensors ? { config, assumed } : undefined;
  },
  make: (config) => {
    const { size } = config as { size: number };
    const shapes = Object.fromEntries(Array.from({ length: size }, (_, i) => [`${name}.${i}`, [2, 3]]));
    const about = `${name}, ${size} long`;
    return { family: name, config, vocabulary: 1000, about, parameterShapes: () => shapes } as unknown as SequenceModel;
  },
  load: async (config, weights) => {
    const model = models.make(config);
    const { size } = config as { size: number };
    check(size === Object.keys(weights.tensors).length, "E_WEIGHTS", () => "weights: another number of tensors");
    return { model, parameters: {} };
  },
});
const models = modelFamilies({ ant: told("ant"), bee: told("bee", ["two wings", "one sting"]) });

it("finds the family of a checkpoint without a configuration, and says what it is and what it can't know", async () => {
  const loaded = await models.load(undefined, file({ "ant.0": [1], "ant.1": [1] }), {} as never);
  expect([loaded.model.family, loaded.about]).toEqual(["ant", "ant, 2 long; 1,000 tokens, 12 parameters as f16"]);
  const other = await models.load(undefined, file({ "bee.0": [1] }, "BF16"), {} as never);
  expect(other.about).toBe("bee, 1 long; 1,000 tokens, 6 parameters as bf16; no configuration tells otherwise, so it is taken to have "
    + "two wings, one sting");
  expect((await models.load({ model_type: "ant", size: 1 }, file({ "ant.0": [1] }), {} as never)).about)
    .toBe("ant, 1 long; 1,000 tokens, 6 parameters as f16");
});

it("names the nearest family when a file's names are of none", async () => {
  const refused = (shapes: Record<string, readonly number[]>) => models.load(undefined, file(shapes), {} as never);
  await expect(refused({ "bee.4": [1], "bee.7": [2], "legs.0": [1], "legs.1": [1] })).rejects.toMatchObject({
    code: "E_WEIGHTS", message: "weights: there is no configuration, and by the names of its 4 tensors the file is of no family of models "
      + "that there is; the nearest is bee, which has 1 of its 2 kinds of names, and not legs.N",
  });
  await expect(refused({ wings: [1] })).rejects.toThrow(/that there is \(ant, bee\)$/);
  await expect(refused({})).rejects.toMatchObject({ code: "E_WEIGHTS" });
});

it("names both where configuration and file are of different models", async () => {
  await expect(models.load({ model_type: "ant", size: 3 }, file({ "bee.0": [1] }), {} as never)).rejects.toMatchObject({
    code: "E_WEIGHTS", message: "weights: another number of tensors; by its configuration the model is ant, 3 long; 1,000 tokens, "
      + "18 parameters; by names and shapes the file is bee, 1 long; 1,000 tokens, 6 parameters",
  });
  await expect(models.load({ model_type: "wasp" }, file({ "bee.0": [1] }), {} as never)).rejects.toMatchObject({
    code: "E_CONFIG", message: expect.stringMatching(/model_type "wasp".*; by names and shapes the file is bee, 1 long/) as string,
  });
  await expect(models.load({ model_type: "ant", size: 3 }, file({ wings: [1] }), {} as never))
    .rejects.toMatchObject({ message: "weights: another number of tensors" });
});

it("refuses a layout that a family has not", () => {
  const layered = modelFamilies({ ant: family("ant", { layouts: ["hill", "tree"] }), bee: family("bee") });
  expect(layered.make({ model_type: "ant" }, { layout: "hill" }).family).toBe("ant");
  expect(() => layered.make({ model_type: "ant" }, { layout: "hil" }))
    .toThrow(/in the layout "hil" \(did you mean "hill"\?\); there is hill, tree/);
  expect(() => layered.make({ model_type: "bee" }, { layout: "hill" })).toThrow(/of family bee can't be saved .* there is but its own/);
});

it("names what there is when a configuration is of no family", async () => {
  const models = modelFamilies({ bee: family("bee") });
  expect(() => models.make({ model_type: "be" })).toThrow(/model_type "be" \(did you mean "bee"\?\); there are bee/);
  expect(() => models.make({ model_type: 3 })).toThrow(expect.objectContaining({ code: "E_CONFIG" }));
  expect(() => models.make({})).toThrow(/it has no model_type, which must be one of bee/);
  await expect(models.load({}, {} as never, {} as never)).rejects.toMatchObject({ code: "E_CONFIG" });
});
