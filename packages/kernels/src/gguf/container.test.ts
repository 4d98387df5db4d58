/** The container against the format's description, byte by byte. What other programs read in whole models: packages/recurrent/test. */
import { describe, expect, it } from "vitest";
import { encodeGguf, type GgufMetadata, type GgufTensor } from "./container";

async function bytesOf(metadata: GgufMetadata, tensors: readonly GgufTensor[]): Promise<Uint8Array> {
  const all: number[] = [];
  const { size, chunks } = encodeGguf(metadata, tensors);
  for await (const chunk of chunks) all.push(...chunk);
  expect(size).toBe(all.length);
  return Uint8Array.from(all);
}

function pieces(name: string, shape: readonly number[], parts: readonly (readonly number[])[], dtype: "F32" | "F16" = "F32"): GgufTensor {
  return { name, shape, dtype, numbers: async function* () { for (const part of parts) yield Float32Array.from(part); } };
}

/** Little-endian whole numbers of so many bytes. */
const little = (value: number, bytes: number) => Array.from({ length: bytes }, (_, i) => Math.floor(value / 256 ** i) % 256);
const text = (value: string) => [...little(new TextEncoder().encode(value).length, 8), ...new TextEncoder().encode(value)];
const single = (value: number) => [...new Uint8Array(Float32Array.of(value).buffer)];
const until = (bytes: readonly number[]) => [...bytes, ...Array<number>((32 - (bytes.length % 32)) % 32).fill(0)];

function refused(code: string, message: RegExp) {
  return expect.objectContaining({ name: "LenggenError", code, message: expect.stringMatching(message) });
}

describe("GGUF", () => {
  it("is a header, values, the tensors' descriptions, and their numbers at multiples of 32 bytes", async () => {
    const metadata = {
      "general.name": ["string", "é"], "a.u": ["u32", 2 ** 32 - 1], "a.i": ["i32", -2], "a.f": ["f32", 1.5], "a.b": ["bool", true],
      "a.s": ["strings", ["", "xy"]], "a.n": ["i32s", [1, -1]], "a.r": ["f32s", [0.5]],
    } as const satisfies GgufMetadata;
    const tensors = [pieces("w", [2, 3], [[1, 2], [3, 4, 5, 6]]), pieces("h", [1, 1, 3], [[1, -2, 65504]], "F16"), pieces("v", [8], [
      [0, 1, 2, 3, 4, 5, 6, 7]])];
    const head = until([
      0x47, 0x47, 0x55, 0x46, ...little(3, 4), ...little(3, 8), ...little(8, 8),
      ...text("general.name"), ...little(8, 4), ...text("é"),
      ...text("a.u"), ...little(4, 4), 255, 255, 255, 255,
      ...text("a.i"), ...little(5, 4), 254, 255, 255, 255,
      ...text("a.f"), ...little(6, 4), ...single(1.5),
      ...text("a.b"), ...little(7, 4), 1,
      ...text("a.s"), ...little(9, 4), ...little(8, 4), ...little(2, 8), ...text(""), ...text("xy"),
      ...text("a.n"), ...little(9, 4), ...little(5, 4), ...little(2, 8), 1, 0, 0, 0, 255, 255, 255, 255,
      ...text("a.r"), ...little(9, 4), ...little(6, 4), ...little(1, 8), ...single(0.5),
      ...text("w"), ...little(2, 4), ...little(3, 8), ...little(2, 8), ...little(0, 4), ...little(0, 8),
      ...text("h"), ...little(3, 4), ...little(3, 8), ...little(1, 8), ...little(1, 8), ...little(1, 4), ...little(32, 8),
      ...text("v"), ...little(1, 4), ...little(8, 8), ...little(0, 4), ...little(64, 8),
    ]);
    expect([...await bytesOf(metadata, tensors)]).toEqual([
      ...head,
      ...until([1, 2, 3, 4, 5, 6].flatMap(single)),
      ...until([0x00, 0x3c, 0x00, 0xc0, 0xff, 0x7b]),
      ...[0, 1, 2, 3, 4, 5, 6, 7].flatMap(single),
    ]);
  });

  it.each<[string, RegExp, GgufMetadata, readonly GgufTensor[]]>([
    ["a name of a value", /a value is named "A b"; names are/, { "A b": ["u32", 1] }, []],
    ["a number out of range", /a\.n is 4294967296; it must be a whole number from 0 to 4294967295/, { "a.n": ["u32", 2 ** 32] }, []],
    ["a fraction", /a\.n is 0\.5/, { "a.n": ["i32s", [1, 0.5]] }, []],
    ["two tensors of one name", /two tensors are named "w"/, {}, [pieces("w", [1], [[1]]), pieces("w", [1], [[1]])]],
    ["a long name", /a name has 1 to 63 bytes/, {}, [pieces("é".repeat(32), [1], [[1]])]],
    ["five axes", /must have 1 to 4 axes/, {}, [pieces("w", [1, 1, 1, 1, 1], [[1]])]],
    ["no axis", /must have 1 to 4 axes/, {}, [pieces("w", [], [[1]])]],
    ["an empty tensor", /none of them empty/, {}, [pieces("w", [0, 2], [])]],
  ])("refuses %s before anything is given", (_, message, metadata, tensors) => {
    expect(() => encodeGguf(metadata, tensors)).toThrow(refused("E_ARGUMENT", message));
  });

  it.each<[string, string, RegExp, GgufTensor]>([
    ["too few numbers", "E_SHAPE", /tensor "w": there are 3 numbers for its shape \[2, 2\]/, pieces("w", [2, 2], [[1, 2, 3]])],
    ["too many", "E_SHAPE", /more numbers than its shape/, pieces("w", [2], [[1, 2], [3]])],
    ["NaN and infinity", "E_WEIGHTS", /2 numbers are NaN or infinite$/, pieces("w", [3], [[1, NaN, -Infinity]])],
    ["what half precision can't hold", "E_WEIGHTS", /1 number is NaN or infinite in half precision/, pieces("w", [2], [[1, 65520]], "F16")],
  ])("refuses %s", async (_, code, message, tensor) => {
    await expect(bytesOf({}, [tensor])).rejects.toThrow(refused(code, message));
  });
});
