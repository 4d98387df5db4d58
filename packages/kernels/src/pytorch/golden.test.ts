/**
 * Files that PyTorch has written (data/goldens/ckpt of the project's shared data, whose README says what each of them holds), against the
 * values that it was given. They lie beside the repository; where they are missing, these tests are skipped with the reason.
 */
/// <reference types="vite/types/importMeta.d.ts" />
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Device } from "../device";
import { open } from "../open";
import { openSafetensors } from "../safetensors";
import { memorySource } from "../source";
import type { TensorFile } from "../tensorFile";
import { openPyTorch } from "./index";

// As data URLs, which Node and browsers can read.
const FILES = import.meta.glob<string>([
  "../../../../../shared/data/goldens/ckpt/*/pytorch_model.bin", "../../../../../shared/data/goldens/ckpt/{rwkv7-tiny.pth,misc.pt}",
  "../../../../../shared/data/goldens/ckpt/misc.expected.json", "../../../../../shared/data/goldens/{mamba2,rwkv7}-tiny/model.safetensors",
], { query: "?url&inline", import: "default" });
const GOLDENS = "../../../../../shared/data/goldens";

async function bytesOf(path: string): Promise<Uint8Array> {
  return new Uint8Array(await (await fetch(await FILES[`${GOLDENS}/${path}`]!())).arrayBuffer());
}
const opened = async (path: string): Promise<TensorFile> => openPyTorch(memorySource(await bytesOf(path), path));

const missing = !Object.hasOwn(FILES, `${GOLDENS}/ckpt/misc.pt`);
if (missing) console.warn("tests of PyTorch's files do not run: the shared data (data/goldens) does not lie beside the repository");

describe.skipIf(missing)("files that PyTorch has written", () => {
  let device: Device;
  beforeAll(async () => {
    device = await open("reference");
  });
  afterAll(() => device.close());

  const valuesOf = async (file: Pick<TensorFile, "load">, name: string): Promise<ArrayLike<number>> => {
    using t = await file.load(name, device);
    return t.read();
  };

  it.each([
    ["mamba2-fp32", "F32"], ["mamba2-tied", "F32"], ["mamba2-strided", "F32"], ["mamba2-legacy", "F32"], ["mamba2-parameter", "F32"],
    ["mamba2-fp16", "F16"], ["mamba2-bf16", "BF16"], ["rwkv7-tiny.pth", "BF16"],
  ])("%s holds the values of the model, as %s", async (name, dtype) => {
    const file = await opened(name.endsWith(".pth") ? `ckpt/${name}` : `ckpt/${name}/pytorch_model.bin`);
    const model = name.startsWith("rwkv7") ? "rwkv7-tiny" : "mamba2-tiny";
    const source = await openSafetensors(memorySource(await bytesOf(`${model}/model.safetensors`), model));
    const names = Object.keys(file.tensors);
    expect(new Set(names.filter((each) => each !== "lm_head.weight"))).toEqual(
      new Set(Object.keys(source.tensors).filter((each) => each !== "lm_head.weight")));
    for (const each of names) {
      const original = Object.hasOwn(source.tensors, each) ? each : "backbone.embedding.weight";
      expect(file.tensors[each]!.shape).toEqual(source.tensors[original]!.shape);
      const stored = file.tensors[each]!.dtype;
      expect(stored).toBe(dtype === "F16" && /A_log|\.D$/.test(each) ? "F32" : dtype);
      const [values, expected] = [await valuesOf(file, each), await valuesOf(source, original)];
      // Half a step of the last bit that the type keeps.
      const rounding = { F32: 0, F16: 2 ** -11, BF16: 2 ** -8 }[stored]!;
      const off = Array.from(expected).findIndex((x, i) => !(Math.abs(values[i]! - x) <= rounding * Math.abs(x) + (rounding && 2 ** -25)));
      expect([each, values.length, off]).toEqual([each, expected.length, -1]);
    }
  });

  it("misc.pt holds tensors of every type, by the names under its key \"model\"", async () => {
    const file = await opened("ckpt/misc.pt");
    const { model } = JSON.parse(new TextDecoder().decode(await bytesOf("ckpt/misc.expected.json"))) as
      { model: Record<string, { dtype: string; shape: number[]; values: (number | boolean)[] }> };
    expect(Object.keys(file.tensors)).toEqual(Object.keys(model));
    const types: Record<string, string> = { float32: "F32", float64: "F64", int64: "I64", int32: "I32", int16: "I16", int8: "I8",
      uint8: "U8", bool: "BOOL" };
    for (const [name, { dtype, shape, values }] of Object.entries(model)) {
      expect([name, file.tensors[name]!.dtype, file.tensors[name]!.shape]).toEqual([name, types[dtype], shape]);
      // 2^40 does not fit i32.
      using t = await file.load(name, device, "f64");
      expect([...(await t.read())]).toEqual(values.map(Number));
    }
  });
});
