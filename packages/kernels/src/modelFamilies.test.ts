import { expect, it } from "vitest";
import { modelFamilies, type ModelFamily } from "./modelFamilies";
import type { SequenceModel } from "./model";

/** A family whose models are nothing but a name and a configuration. */
const family = (name: string, more: Partial<ModelFamily> = {}): ModelFamily => ({
  presets: { [`${name}-small`]: { size: 1 }, [`${name}-large`]: { size: 2 } },
  make: (config) => ({ family: name, config }) as SequenceModel,
  load: async (config) => ({ model: { family: name, config } as SequenceModel, parameters: {} }),
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
  const loaded = await models.load({ model_type: "bee" }, {} as never, {} as never);
  expect(loaded.model.family).toBe("bee");
});

it("names what there is when a configuration is of no family", async () => {
  const models = modelFamilies({ bee: family("bee") });
  expect(() => models.make({ model_type: "be" })).toThrow(/model_type "be" \(did you mean "bee"\?\); there are bee/);
  expect(() => models.make({ model_type: 3 })).toThrow(expect.objectContaining({ code: "E_CONFIG" }));
  expect(() => models.make({})).toThrow(/it has no model_type, which must be one of bee/);
  await expect(models.load({}, {} as never, {} as never)).rejects.toMatchObject({ code: "E_CONFIG" });
});
