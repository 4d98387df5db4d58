/** What every family refuses, each by being registered: configurations that make no model, states of others, noise where none belongs. */
import { createIntervention } from "@lenggen/interventions";
import {
  type Device, devices, dispose, key, leaves, LenggenError, loadState, memorySource, open, saveState, scope, tokenTensor, type Tree,
} from "@lenggen/kernels";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MODELS } from "./families";

const FAMILIES = Object.keys(MODELS.families);

/** A family's first model, with the configuration that makes it again. */
function firstOf(family: string) {
  const model = MODELS.named(family)!;
  return { model, config: structuredClone(model.config) as Record<string, unknown> };
}

const isSection = (value: unknown): value is Record<string, unknown> =>
  value !== null && typeof value === "object" && !Array.isArray(value);

/** Every field of a configuration, those of its sections included, with the object that it stands in. */
function fieldsOf(config: Record<string, unknown>, prefix = ""): { path: string; name: string; of: Record<string, unknown> }[] {
  return Object.entries(config).flatMap(([name, value]) => [
    { path: `${prefix}${name}`, name, of: config },
    ...(isSection(value) ? fieldsOf(value, `${prefix}${name}.`) : []),
  ]);
}

/** The error that a family answers with, once a field of its first model's configuration has been changed. */
function answerTo(family: string, change: (field: ReturnType<typeof fieldsOf>[number]) => void, path: string): LenggenError | undefined {
  const { config } = firstOf(family);
  change(fieldsOf(config).find((field) => field.path === path)!);
  try {
    MODELS.families[family]!.make(config);
  } catch (error) {
    if (error instanceof LenggenError) return error;
    throw error;
  }
  return undefined;
}

const escaped = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
const said = (pattern: string) => ({ code: "E_CONFIG", message: expect.stringMatching(new RegExp(pattern)) as string });

describe("a configuration of no family", () => {
  it.each(FAMILIES)("is answered with the nearest, %s, and all there are", (family) => {
    for (const slip of [family.toUpperCase(), `${family}_`]) {
      expect(() => MODELS.make({ model_type: slip })).toThrow(expect.objectContaining(
        said(`^config: no family of models has the model_type "${slip}" \\(did you mean ".*"\\?\\); there are ${FAMILIES.join(", ")}$`)));
    }
    expect(() => MODELS.make({ model_type: family.toUpperCase() })).toThrow(`did you mean "${family}"?`);
  });

  it.each([[{ model_type: 3 }], [{ model_type: null }], [{ model_type: "" }], [{}], [null], [[]], ["gla"]])("%j is told so", (config) =>
    expect(() => MODELS.make(config)).toThrow(expect.objectContaining(said("^config: (no family of models|it has no model_type)"))));
});

describe.each(FAMILIES)("a configuration of family %s", (family) => {
  const paths = fieldsOf(firstOf(family).config).map(({ path }) => path);

  it.each(paths)("with %s misspelt names the field that was meant", (path) => {
    const name = path.split(".").at(-1)!;
    const error = answerTo(family, (field) => {
      field.of[`${name}z`] = field.of[name];
      delete field.of[name];
    }, path);
    // Which of the two is misspelt, the block or the layers that name it, nobody knows.
    const message = family === "hybrid" && /^blocks\.\w+$/.test(path)
      ? `^config: layers name ${name}, which blocks does not describe \\(did you mean "${name}z"\\?\\); it describes .*${name}z`
      : `^config: there is no field ${escaped(path)}z \\(did you mean "${escaped(name)}"\\?\\); `;
    expect(error).toMatchObject(said(message));
  });

  it.each(paths)("with something else for %s names it, and what it may be", (path) => {
    for (const value of ["nonsense", -1, Number.NaN, [[]]]) {
      expect(answerTo(family, ({ of, name }) => { of[name] = value; }, path))
        .toMatchObject(said(`^config: ${escaped(path)}(\\.\\d)?: expected .*, got `));
    }
  });

  it("with a field of no model is refused, or reported where it is a checkpoint's", () => {
    const { make } = MODELS.families[family]!;
    const config = { ...firstOf(family).config, colour: "blue" };
    expect(() => make(config)).toThrow(expect.objectContaining(said("^config: there is no field colour; correct or remove it$")));
    const reports: string[] = [];
    expect(make(config, { unknownFields: "report", warn: (line) => reports.push(line) }).family).toBe(family);
    expect(reports).toEqual(["config: ignored what lenggen does not know: colour"]);
  });

  // A prime that is no factor of any size.
  it("with sizes that do not divide says which", () => {
    const sizes = paths.filter((path) => fieldsOf(firstOf(family).config).some((field) =>
      field.path === path && Number.isInteger(field.of[field.name])));
    const answers = sizes.map((path) => answerTo(family, ({ of, name }) => { of[name] = 37; }, path)?.message)
      .filter((message) => message !== undefined);
    for (const answer of answers) expect(answer).toMatch(/^config: .*(37|36|74|expected)/);
    if (INDIVISIBLE.has(family)) for (const answer of answers) expect(answer).toContain("expected");
    else expect(answers).toContainEqual(expect.stringMatching(/divide|multiple|even|times/));
  });
});

/** Families without heads or groups: any sizes will do. */
const INDIVISIBLE = new Set(["mamba"]);

/** Names and shapes of a state's tensors. */
const formOf = (state: Tree): string => JSON.stringify(leaves(state).map(({ path, tensor }) => [path, tensor.shape]));

describe("states", () => {
  let device: Device;
  beforeAll(async () => {
    const cpu = (await devices()).find(({ name }) => name === "cpu")!;
    device = await open(cpu.available ? "cpu" : "reference");
  });
  afterAll(() => device.close());

  it.each(FAMILIES)("of other families are refused by %s, in memory and from a file", async (family) => {
    const { model } = firstOf(family);
    const parameters = model.init(key(1), device);
    const tokens = tokenTensor(device, [1, 2, 3], [1, 3], 256);
    const mine = model.initialState(1, device);
    const used = device.memory().used;
    for (const other of FAMILIES) {
      if (other === family) continue;
      const { model: stranger } = firstOf(other);
      const state = stranger.initialState(1, device);
      // Tensors alone don't tell whose they are where names and shapes are the same (GLA and Gated DeltaNet of equal sizes); a file does.
      if (formOf(state) !== formOf(mine)) {
        expect(() => scope(() => model.forward(parameters, tokens, state))).toThrow(expect.objectContaining({
          code: expect.stringMatching(/^E_(ARGUMENT|SHAPE)$/) as string, message: expect.stringMatching(/\bstate\b/) as string }));
      }
      const own = stranger.init(key(1), device);
      const parts: Uint8Array[] = [];
      const place = { read: 0, unread: { token: 1, by: "prompt" }, seed: 0, drawn: 0 } as const;
      for await (const piece of saveState(stranger, own, state, place)) parts.push(piece.slice());
      await expect(loadState(model, parameters, memorySource(Buffer.concat(parts), "saved"))).rejects.toMatchObject(
        said(`^saved: is the state of a model of family "${other}"; this one is a ${family}`));
      dispose([state, own]);
    }
    expect(device.memory().used).toBe(used);
    dispose([parameters, tokens, mine]);
  });

  it.each(FAMILIES)("of %s get noise where they sum up the past, and nowhere else", async (family) => {
    const { model } = firstOf(family);
    const noisy = model.stateLeaves.filter(({ kind }) => kind === "recurrent").map(({ path }) => path);
    for (const name of ["random-noise", "fitted-noise"]) {
      if (noisy.length > 0) createIntervention(name, model).dispose();
      else expect(() => createIntervention(name, model)).toThrow(expect.objectContaining(
        said(`^${name}: a model of family ${family} has no recurrent state to give noise to; train it with zero$`)));
    }
    if (noisy.length === 0) return;
    const source = createIntervention("random-noise", model, { resetProbability: 0 });
    const state = source.next({ key: key(1), step: 1, microBatch: 0, batch: 2, device, dtype: "f32" });
    const found = await Promise.all(leaves(state).map(async ({ path, tensor }) => ({ path, noise: (await tensor.read()).some(Boolean) })));
    expect(found.filter(({ noise }) => noise).map(({ path }) => path).sort()).toEqual([...noisy].sort());
    dispose(state);
    source.dispose();
  });
});
