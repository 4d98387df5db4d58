import { describe, expect, it } from "vitest";
import { openPyTorch } from "./pytorch";
import { archive, dictionary, floats, joined, little, tensorOf, tuple, view } from "./pytorch/write.fixture";
import { type RewriteOptions, rewriteSafetensors } from "./rewrite";
import { openSafetensors } from "./safetensors";
import { memorySource } from "./source";
import type { TensorFile } from "./tensorFile";
import { referenceDevice } from "./testing";

const pickled = (storages: Record<string, Uint8Array>, ...pairs: Parameters<typeof dictionary>) =>
  openPyTorch(memorySource(archive(dictionary(...pairs), storages), "file.pth"));

async function rewritten(file: TensorFile, options?: RewriteOptions): Promise<TensorFile & { whole: Uint8Array }> {
  const { size, chunks } = rewriteSafetensors(file, options);
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk.slice());
  const bytes = joined(...parts);
  expect(bytes.length).toBe(size);
  return { ...(await openSafetensors(memorySource(bytes, "file.safetensors"))), whole: bytes };
}

async function bytesOf(file: TensorFile, name: string): Promise<number[]> {
  const all: number[] = [];
  for await (const part of file.bytes(name)) all.push(...part);
  return all;
}

async function valuesOf(file: TensorFile, name: string): Promise<number[]> {
  using t = await file.load(name, referenceDevice);
  return [...(await t.read())];
}

describe("files of tensors as safetensors", () => {
  it("keep types, names and bits, wide types first", async () => {
    const file = await pickled(
      { "0": joined([1, 2, 3]), "1": little(0x7e01, 2), "2": floats(1, Number.NaN, -0), "3": little(2n ** 40n, 8), "4": joined([1]) },
      ["u", tensorOf("0", [3], "ByteStorage")], ["h", tensorOf("1", [1], "HalfStorage")], ["__proto__", tensorOf("2", [3, 1])],
      ["l", tensorOf("3", [], "LongStorage")], ["b", tensorOf("4", [1], "BoolStorage")]);
    const made = await rewritten(file);
    expect(Object.entries(made.tensors).map(([name, { dtype, shape }]) => [name, dtype, shape])).toEqual([
      ["l", "I64", []], ["__proto__", "F32", [3, 1]], ["h", "F16", [1]], ["u", "U8", [3]], ["b", "BOOL", [1]]]);
    expect(made.metadata).toEqual({ format: "pt" });
    for (const name of Object.keys(file.tensors)) expect(await bytesOf(made, name)).toEqual(await bytesOf(file, name));
    expect((await rewritten(made)).whole).toEqual(made.whole);
  });

  it("hold views with other strides row by row, and shared numbers for each name", async () => {
    const transposed = view({ count: 6, shape: tuple(3, 2), strides: tuple(1, 3) });
    const made = await rewritten(await pickled({ "0": floats(1, 2, 3, 4, 5, 6) }, ["a", tensorOf("0", [2, 3])], ["t", transposed]));
    expect([await valuesOf(made, "a"), await valuesOf(made, "t")]).toEqual([[1, 2, 3, 4, 5, 6], [1, 4, 2, 5, 3, 6]]);
  });

  it("tell which tensors hold what is no finite number, in every type", async () => {
    const file = await pickled({
      "0": floats(1, Number.NaN), "1": little(0xfc00, 2), "2": little(0x7f80, 2), "3": new Uint8Array(Float64Array.of(0, Infinity).buffer),
      "4": floats(1, 3e38), "5": little(-1, 8), "6": little(0x7bff, 2),
    }, ["nan", tensorOf("0", [2])], ["half", tensorOf("1", [1], "HalfStorage")], ["bf16", tensorOf("2", [1], "BFloat16Storage")],
      ["wide", tensorOf("3", [2], "DoubleStorage")], ["large", tensorOf("4", [2])], ["whole", tensorOf("5", [1], "LongStorage")],
      ["largest", tensorOf("6", [1], "HalfStorage")]);
    for (const dtype of [undefined, "BF16", "F32"] as const) {
      const odd: string[] = [];
      await rewritten(file, { ...(dtype && { dtype }), onNotFinite: (path) => odd.push(path) });
      expect(odd.sort()).toEqual(["bf16", "half", "nan", "wide"]);
    }
  });

  it("have their floats rounded to another type, and whole numbers as they are", async () => {
    const file = await pickled({ "0": new Uint8Array(Float64Array.of(1 + 2 ** -11, 2 ** -30, -3).buffer), "1": little(7, 4),
      "2": floats(1 + 2 ** -8) }, ["d", tensorOf("0", [3], "DoubleStorage")], ["i", tensorOf("1", [1], "IntStorage")],
      ["f", tensorOf("2", [1])]);
    const half = await rewritten(file, { dtype: "F16" });
    expect(Object.values(half.tensors).map(({ dtype }) => dtype)).toEqual(["I32", "F16", "F16"]);
    expect([await valuesOf(half, "d"), await valuesOf(half, "f"), await valuesOf(half, "i")]).toEqual([[1, 0, -3], [1 + 2 ** -8], [7]]);
    expect(await valuesOf(await rewritten(file, { dtype: "BF16" }), "f")).toEqual([1]);
    expect(await valuesOf(await rewritten(half, { dtype: "F32" }), "d")).toEqual([1, 0, -3]);
  });

  it("are refused where a number is too large for its new type, but not where it was infinite before", async () => {
    const file = await pickled({ "0": floats(70_000, Number.POSITIVE_INFINITY) }, ["big", tensorOf("0", [2])]);
    await expect(rewritten(file, { dtype: "F16" })).rejects.toMatchObject({ code: "E_WEIGHTS",
      message: 'tensor "big" holds 70000, which is too large for F16' });
    expect(await valuesOf(await rewritten(file, { dtype: "BF16" }), "big")).toEqual([70_144, Number.POSITIVE_INFINITY]);
    const wide = await pickled({ "0": new Uint8Array(Float64Array.of(1e300).buffer) }, ["wide", tensorOf("0", [1], "DoubleStorage")]);
    for (const dtype of ["F32", "BF16"] as const) await expect(rewritten(wide, { dtype })).rejects.toMatchObject({ code: "E_WEIGHTS" });
  });

  it("keep types that nothing here computes with", async () => {
    const file = await pickled({ "0": floats(1, 2) }, ["c", tensorOf("0", [1], "ComplexFloatStorage")]);
    const made = await rewritten(file, { dtype: "F16" });
    expect([made.tensors["c"]!.dtype, await bytesOf(made, "c")]).toEqual(["C64", [...floats(1, 2)]]);
  });
});
