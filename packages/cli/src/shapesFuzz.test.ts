/**
 * Fuzzes what is read from names and shapes: whatever a file holds, its family, configuration and model are found or refused with a
 * LenggenError, at once and without memory; nothing is loaded before names and shapes are those of a model.
 */
import {
  dispose, foldIn, hostRandom, key, LenggenError, open, type Safetensors, type Shape, Tensor, type TensorFile,
} from "@lenggen/kernels";
import { expect, it } from "vitest";
import { MODELS } from "./families";

const INPUTS = Number(process.env["LENGGEN_FUZZ_INPUTS"] ?? 20_000) / 20;

type Shapes = Record<string, Shape>;

/** Names and shapes of every family in every layout, as its first preset has them. */
function seeds(): { config: unknown; shapes: Shapes }[] {
  return Object.values(MODELS.families).flatMap(({ layouts, make, presets }) => [undefined, ...(layouts ?? [])].flatMap((layout) => {
    try {
      const model = make(Object.values(presets)[0], layout === undefined ? {} : { layout });
      const own = model.parameterShapes();
      const { written = Object.fromEntries(Object.keys(own).map((name) => [name, name])), rearranged = {} } = model.checkpoint ?? {};
      const shapes = Object.fromEntries(Object.entries(written).map(([name, parameter]) => [name, own[parameter]!]));
      const others = Object.fromEntries(Object.entries(rearranged).map(([name, { shape }]) => [name, shape]));
      return [{ config: model.config, shapes: { ...shapes, ...others } }];
    } catch (error) {
      if (error instanceof LenggenError) return []; // a preset that the layout has no place for
      throw error;
    }
  }));
}

const SIZES = [0, 1, 2, 3, 5, 16, 64, 255, 256, 1023, 2 ** 20, 2 ** 20 + 1, 2 ** 24, 2 ** 31, 2 ** 32, Number.MAX_SAFE_INTEGER];
const NAMES = ["", ".", "__proto__", "constructor", "toString", "blocks.0.att.r_k", "rwkv7.blocks.0.att.r_k", "model.layers.0.attn.r_k",
  "blocks.0.att.time_maa_w2", "model.layers.0.attn.x_bias", "model.layers.0.attn.bonus", "backbone.layers.0.mixer.dt_bias",
  "backbone.layers.0.mixer.B_bias", "backbone.layers.0.mixer.x_proj.weight", "model.layers.0.attn.gk_proj.0.weight", "x".repeat(5000),
  "blocks.99999999999999999999.att.r_k", "lm_head.weight", "backbone.embedding.weight", "backbone.embeddings.weight", "emb.weight"];

it(`is found or refused, of ${INPUTS} files`, async () => {
  const device = await open("reference");
  const all = seeds();
  expect(all.length).toBeGreaterThan(15);
  const outcomes = { found: 0, refused: 0 };
  for (let n = 0; n < INPUTS; n++) {
    const random = hostRandom(foldIn(key(22), n));
    const pick = <T>(list: readonly T[]): T => list[random.integer(list.length)]!;
    const seed = pick(all);
    const shapes: Shapes = Object.assign(Object.create(null) as Shapes, seed.shapes);
    for (let moves = random.integer(4); moves > 0; moves--) {
      const name = pick(Object.keys(shapes)) ?? "";
      switch (random.integer(6)) {
        case 0: delete shapes[name]; break;
        case 1: shapes[name] = Array.from({ length: random.integer(5) }, () => pick(SIZES)); break;
        case 2: shapes[name] = (shapes[name] ?? [1]).map((size) => (random.integer(2) === 0 ? size : pick(SIZES))); break;
        case 3: shapes[pick(NAMES)] = Array.from({ length: random.integer(5) }, () => pick(SIZES)); break;
        case 4: Object.assign(shapes, pick(all).shapes); break;
        default: for (const other of Object.keys(shapes)) if (random.integer(3) === 0) delete shapes[other];
      }
    }
    const tensors = Object.assign(Object.create(null) as object, Object.fromEntries(
      Object.entries(shapes).map(([name, shape]) => [name, { dtype: "F32", shape }]))) as Safetensors["tensors"];
    const file: TensorFile = {
      tensors, metadata: {},
      bytes: () => { throw new Error("nothing is read"); },
      loadAll: () => Promise.reject(new Error("nothing loads all")),
      // Only what a model has is asked for, in the shapes of the file.
      load: async (name) => {
        if (shapes[name]!.reduce((a, b) => a * b, 1) > 2 ** 22) throw new LenggenError("E_MEMORY", "as the reader says");
        return Tensor.empty(device, shapes[name]!, "f32");
      },
    };
    try {
      const config = random.integer(2) === 0 ? undefined : pick(all).config;
      const { model, weights } = MODELS.inFile(config, file);
      expect(Object.keys(model.parameterShapes()).length).toBeLessThan(5000);
      expect(Object.keys(weights.tensors).length).toBeLessThanOrEqual(Object.keys(tensors).length);
      const loaded = await MODELS.load(config, file, device);
      dispose(loaded.parameters);
      outcomes.found++;
    } catch (error) {
      if (!(error instanceof LenggenError) || !["E_CONFIG", "E_WEIGHTS", "E_MEMORY", "E_SHAPE"].includes(error.code)) {
        throw new Error(`input ${n} of ${JSON.stringify(shapes).slice(0, 2000)}`, { cause: error });
      }
      outcomes.refused++;
    }
    expect(device.memory().used).toBe(0);
  }
  console.log(outcomes);
  expect(Math.min(outcomes.found, outcomes.refused)).toBeGreaterThan(INPUTS / 100);
  device.close();
}, 600_000);
