/**
 * Tests of a family's layouts: its files are rewritten from one into another by functions that share nothing with the model's own, and have
 * to load as the same parameters, give the same logits, and be saved as they came, to the bit.
 */
import {
  type Device, dispose, encodeSafetensors, inLayout, keep, key, linear, type LoadedModel, memorySource, open, openSafetensors,
  parameterCount, type Parameters, parseConfig, type ReadFromShapes, rewriteSafetensors, type Safetensors, saveModel, scope,
  type SequenceModel, tensor, type TensorFile, tokenTensor,
} from "@lenggen/kernels";
import type { ConfigOptions } from "@lenggen/kernels/nn";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { stirred } from "./training.fixture";

/** A tensor on the host. */
export interface HostTensor {
  readonly shape: readonly number[];
  readonly values: ArrayLike<number>;
}
export type HostFile = Readonly<Record<string, HostTensor>>;

/** All tensors of a file. */
export async function readHost(file: Safetensors, device: Device): Promise<HostFile> {
  const entries = [];
  for (const name of Object.keys(file.tensors)) {
    const t = await file.load(name, device, "f32");
    entries.push([name, { shape: t.shape, values: await t.read() }] as const);
    t.dispose();
  }
  return Object.fromEntries(entries);
}

/** A file of tensors, as f32 unless another type is given. */
export async function fileOf(tensors: HostFile, device: Device, dtype: "F32" | "F16" | "BF16" = "F32"): Promise<TensorFile> {
  const all = Object.fromEntries(Object.entries(tensors).map(([name, { shape, values }]) => [name, tensor(device, values, shape, "f32")]));
  const bytes = await joined(encodeSafetensors(all, {}, dtype));
  dispose(all);
  return openSafetensors(memorySource(bytes, "model.safetensors"));
}

export async function joined(file: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  for await (const part of file) parts.push(part.slice());
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** The number at the place (i, j, ...) of a tensor, moved to where `from` says it is in `given`. */
export function moved(given: HostTensor, shape: readonly number[], from: (...place: number[]) => readonly number[]): HostTensor {
  const count = shape.reduce((a, b) => a * b, 1);
  const values = Array.from({ length: count }, (_, flat) => {
    const place: number[] = [];
    for (let axis = shape.length - 1, rest = flat; axis >= 0; axis--) {
      place.unshift(rest % shape[axis]!);
      rest = Math.floor(rest / shape[axis]!);
    }
    return given.values[from(...place).reduce((at, i, axis) => at * given.shape[axis]! + i, 0)]!;
  });
  return { shape, values };
}

/** A matrix by columns. */
export const turned = (given: HostTensor): HostTensor => moved(given, [given.shape[1]!, given.shape[0]!], (i, j) => [j, i]);

/** The same numbers in a row. */
export const flat = (given: HostTensor): HostTensor => ({ shape: [given.values.length], values: given.values });

/** Vectors below each other. */
export const below = (rows: readonly HostTensor[]): HostTensor => ({
  shape: [rows.length, rows[0]!.values.length], values: rows.flatMap((row) => Array.from(row.values)),
});

/** A layout, as a test writes it. */
export interface LayoutCase {
  readonly layout: string;
  /** Of the same model. */
  readonly config: object;
  /** The file in this layout, of one in the family's own. */
  rewrite(own: HostFile): HostFile;
  /** Whether it is never written: files of older versions. */
  readonly older?: boolean;
  /** Settings that shapes can't tell, in the test's model other than assumed. */
  readonly untold?: readonly string[];
  /** The layout that its names are taken for, where another has the same ones. */
  readonly told?: string;
}

/** A family whose layouts are tested. */
export interface LayoutFamily {
  readonly label: string;
  readonly config: object;
  make(config: unknown, options?: ConfigOptions): SequenceModel & { readonly layout?: string; readonly settings: object };
  load(config: unknown, weights: Safetensors, device: Device, dtype?: "f32" | "f16"): Promise<LoadedModel>;
  fromShapes(tensors: Safetensors["tensors"]): ReadFromShapes | undefined;
  readonly layouts: readonly LayoutCase[];
}

const without = (settings: object, names: readonly string[]) =>
  Object.fromEntries(Object.entries(settings).filter(([name]) => !names.includes(name)));

export function describeLayouts({ label, config, make, load, fromShapes, layouts }: LayoutFamily): void {
  describe.each(layouts)(`${label} in the layout $layout`, ({ layout, config: given, rewrite, older, untold = [], told: taken }) => {
    let device: Device;
    let own: Parameters;
    let file: Safetensors;
    let written: HostFile;
    const model = stirred(make(config), 0.2);
    beforeAll(async () => {
      device = await open("reference");
      own = keep(scope(() => model.init(key(5), device)));
      written = rewrite(await ownFile());
      file = await fileOf(written, device);
    });
    afterAll(() => device.close());

    const ownFile = async () => readHost(await openSafetensors(memorySource(await joined(saveModel(model, own).weights), "own")), device);
    const opened = async () => {
      const loaded = await load(given, file, device);
      dispose(loaded.parameters);
      return loaded;
    };

    it("loads as the same parameters, and gives the same logits", async () => {
      const loaded = await load(given, file, device);
      expect((loaded.model as typeof model).layout).toBe(layout);
      expect((loaded.model as typeof model).settings).toEqual(model.settings);
      expect(Object.keys(loaded.parameters)).toEqual(Object.keys(own));
      for (const [name, t] of Object.entries(loaded.parameters)) {
        expect([name, t.shape, await t.read()]).toEqual([name, own[name]!.shape, await own[name]!.read()]);
      }
      const tokens = tokenTensor(device, [1, 5, 2, 8, 3, 3, 7], [1, 7], 30);
      const logitsOf = async (m: SequenceModel, p: Parameters) => scope(() => linear(m.forward(p, tokens).hidden, m.head(p))).read();
      expect(await logitsOf(loaded.model, loaded.parameters)).toEqual(await logitsOf(model, own));
      dispose([loaded.parameters, tokens]);
    });

    it.skipIf(older)("is saved as it came, to the bit, and loads again from its own configuration", async () => {
      const used = device.memory().used;
      const loaded = await load(given, file, device);
      const { config: text, weights } = saveModel(loaded.model, loaded.parameters);
      const again = await openSafetensors(memorySource(await joined(weights), "again"));
      expect(Object.keys(again.tensors).sort()).toEqual(Object.keys(file.tensors).sort());
      const bytes = await readHost(again, device);
      for (const [name, { shape, values }] of Object.entries(written)) {
        expect([name, bytes[name]!.shape, Array.from(bytes[name]!.values)]).toEqual([name, shape, Array.from(values)]);
      }
      dispose(loaded.parameters);
      // What was put together for the file is freed; what tests before left to the garbage collector may be too.
      expect(device.memory().used).toBeLessThanOrEqual(used);
      const remade = make(parseConfig(text), { unknownFields: "refuse" });
      expect([remade.layout, remade.settings]).toEqual([layout, model.settings]);
      expect(remade.checkpoint).toMatchObject({ config: text });
    });

    it.skipIf(older)("is made of a file in the family's own layout, to the bit and in its types", async () => {
      for (const type of ["F32", "BF16"] as const) {
        const from = await fileOf(await ownFile(), device, type);
        const target = make(parseConfig(saveModel((await opened()).model, own).config));
        const made = inLayout(model, from, target, device);
        const wanted = await readHost(await fileOf(written, device, type), device);
        const saved = await openSafetensors(memorySource(await joined(rewriteSafetensors(made).chunks), "made"));
        expect(Object.values(saved.tensors).every(({ dtype }) => dtype === type)).toBe(true);
        const found = await readHost(saved, device);
        expect(Object.keys(found).sort()).toEqual(Object.keys(wanted).sort());
        for (const [name, { shape, values }] of Object.entries(wanted)) {
          expect([name, found[name]!.shape, Array.from(found[name]!.values)]).toEqual([name, shape, Array.from(values)]);
        }
        // And back.
        const back = inLayout(target, saved, model, device);
        const again = await readHost(await openSafetensors(memorySource(await joined(rewriteSafetensors(back).chunks), "back")), device);
        expect(again).toEqual(await readHost(from, device));
      }
    });

    it.skipIf(older)("is told from names and shapes alone", async () => {
      const told = fromShapes(file.tensors)!;
      const made = make(told.config);
      expect(made.layout).toBe(taken ?? layout);
      expect(without(made.settings, untold)).toEqual(without(model.settings, untold));
      expect(parameterCount(made)).toBe(parameterCount(model));
      expect(told.assumed.length > 0 || untold.length === 0).toBe(true);
      const loaded = await load(told.config, file, device);
      dispose(loaded.parameters);
    });

    it("loads from half precision: as f32, or with its matrices as f16 and nothing else", async () => {
      const halves = await fileOf(written, device, "F16");
      const wide = await load(given, halves, device);
      const narrow = await load(given, halves, device, "f16");
      for (const [name, t] of Object.entries(narrow.parameters)) {
        expect([name, t.dtype]).toEqual([name, model.halves!(name) ? "f16" : "f32"]);
        expect([name, Array.from(await t.read())]).toEqual([name, Array.from(await wide.parameters[name]!.read())]);
      }
      dispose([wide.parameters, narrow.parameters]);
    });

    it("names what is missing, too much or misshapen, as the file would have it", async () => {
      const names = Object.keys(written);
      const refused = async (tensors: HostFile) => load(given, await fileOf(tensors, device), device).then(() => "loaded", (e: Error) => e);
      for (const name of [names[1]!, names.at(-1)!]) {
        const { [name]: _, ...rest } = written;
        expect(await refused(rest)).toMatchObject({ code: "E_WEIGHTS", message: expect.stringContaining("not in the file") as string });
        const bent = { ...written, [name]: { shape: [1, 7], values: new Float32Array(7) } };
        expect(await refused(bent)).toMatchObject({ code: "E_WEIGHTS", message: expect.stringContaining(name) as string });
      }
      expect(await refused({ ...written, "more.weight": { shape: [1], values: [0] } }))
        .toMatchObject({ code: "E_WEIGHTS", message: expect.stringContaining("more.weight") as string });
    });
  });
}
