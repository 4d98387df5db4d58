/** Files of rwkv.cpp: shapes as the authors' have them, and everything that is no such file. A trained one is in the command's tests. */
import { describe, expect, it } from "vitest";
import { open } from "./open";
import { foldIn, hostRandom, key } from "./random";
import { RWKV_CPP } from "./rwkvCpp";
import { memorySource } from "./source";
import { dispose } from "./tensor";

const HEADER = [0x67676d66, 101, 2, 3, 1, 0];
const words = (list: readonly number[]) => new Uint8Array(Uint32Array.from(list).buffer);
const join = (parts: readonly Uint8Array[]) => Uint8Array.from(parts.flatMap((part) => [...part]));

/** A tensor of the numbers 0, 1, 2, ... as the file has it: `shape` is the one stored. */
function entry(name: string, shape: readonly number[], type = 0): Uint8Array {
  const numbers = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i);
  const halves = [0, 0x3c00, 0x4000, 0x4200]; // 0, 1, 2, 3
  const data = type === 0 ? new Uint8Array(numbers.buffer) : new Uint8Array(Uint16Array.from(numbers, (x) => halves[x]!).buffer);
  const encoded = new TextEncoder().encode(name);
  return join([words([shape.length, encoded.length, type, ...shape.toReversed()]), encoded, data]);
}

const MARK = entry("blocks.0.att.time_maa_x", [3]);
const fileOf = (...entries: Uint8Array[]) => join([words(HEADER), MARK, ...entries]);
const opened = (bytes: Uint8Array) => RWKV_CPP.open(memorySource(bytes, "x.bin"));
const device = await open("reference");

describe("a file of rwkv.cpp", () => {
  it("is known by its first bytes", () => {
    expect(RWKV_CPP.recognizes(fileOf())).toBe(true);
    expect(RWKV_CPP.recognizes(words([1]))).toBe(false);
    expect(RWKV_CPP.recognizes(new Uint8Array(2))).toBe(false);
  });

  it.each([
    ["emb.weight", [2, 3], [2, 3], [0, 1, 2, 3, 4, 5]],
    ["blocks.0.att.time_maa_w1", [2, 3], [3, 2], [0, 3, 1, 4, 2, 5]],
    ["blocks.0.att.time_decay_w2", [1, 3], [3, 1], [0, 1, 2]],
    ["blocks.0.att.time_maa_w2", [2, 1, 2], [2, 2, 1], [0, 1, 2, 3]],
    ["blocks.0.att.time_decay", [2, 2, 1], [1, 1, 4], [0, 1, 2, 3]],
    ["blocks.0.ffn.time_maa_k", [3], [1, 1, 3], [0, 1, 2]],
    ["blocks.0.att.time_faaaa", [2, 2, 1], [2, 2], [0, 1, 2, 3]],
  ])("gives %s %j as %j", async (name, stored, shape, numbers) => {
    const file = await opened(fileOf(entry(name, stored)));
    expect(file.tensors[name]!.shape).toEqual(shape);
    const tensor = await file.load(name, device);
    expect([tensor.shape, [...(await tensor.read())]]).toEqual([shape, numbers]);
    dispose(tensor);
  });

  it("holds halves, which load as either type", async () => {
    const file = await opened(fileOf(entry("head.weight", [2, 2], 1)));
    expect(file.tensors["head.weight"]!.dtype).toBe("F16");
    for (const dtype of [undefined, "f16"] as const) {
      const tensor = await file.load("head.weight", device, dtype);
      expect([tensor.dtype, [...(await tensor.read())]]).toEqual([dtype ?? "f32", [0, 1, 2, 3]]);
      dispose(tensor);
    }
    await expect(file.load("absent", device)).rejects.toMatchObject({ code: "E_UNKNOWN_NAME" });
  });

  it.each([
    ["of another version", words([HEADER[0]!, 99, 4, 2, 1, 0]), "E_FORMAT", /version 99/],
    ["quantised", words([HEADER[0]!, 101, 4, 2, 1, 7]), "E_DTYPE", /quantised \(type 7\)/],
    ["with a quantised tensor", join([words(HEADER), words([1, 1, 5, 1]), Uint8Array.of(97)]), "E_DTYPE", /"a" is quantised \(type 5\)/],
    ["cut in its header", words(HEADER.slice(0, 3)), "E_FORMAT", /ends at byte 12/],
    ["cut in a name", join([words(HEADER), words([0, 9, 0])]), "E_FORMAT", /middle of the name/],
    ["cut in its numbers", fileOf().slice(0, -1), "E_FORMAT", /needs 12 bytes, and 11 are left/],
    ["with a rank that is none", join([words(HEADER), words([2 ** 31, 1, 0])]), "E_FORMAT", /no tensor/],
    ["with sizes beyond all numbers", join([words(HEADER), words([3, 1, 0, 2 ** 31, 2 ** 31, 2 ** 31]), Uint8Array.of(97)]), "E_FORMAT",
      /are left/],
    ["with a name twice", fileOf(MARK), "E_FORMAT", /two tensors named/],
    ["with an embedding of another size", fileOf(entry("emb.weight", [3, 3])), "E_FORMAT",
      /says that it has 2 tokens of width 3, .* 3 of 3/],
    ["of another generation", join([words(HEADER), entry("blocks.0.att.time_mix_k", [3])]), "E_FORMAT", /generation/],
    ["with a flat matrix of low rank", fileOf(entry("blocks.0.att.time_maa_w1", [3])), "E_FORMAT", /two axes or three/],
  ])("is refused %s", (_, bytes, code, message) =>
    expect(opened(bytes)).rejects.toMatchObject({ code, message: expect.stringMatching(message) as string }));

  it("is loaded or refused whatever its bytes are, and never holds more than they explain", async () => {
    const whole = fileOf(entry("emb.weight", [2, 3]), entry("blocks.0.att.time_maa_w1", [2, 3]), entry("head.weight", [2, 2], 1));
    const outcomes = new Set<string>();
    for (let i = 0; i < 3000; i++) {
      const random = hostRandom(foldIn(key(7), i));
      const bytes = whole.slice(0, random.integer(4) === 0 ? random.integer(whole.length) : whole.length);
      for (let n = random.integer(3); n >= 0 && bytes.length > 0; n--) bytes[random.integer(bytes.length)] = random.integer(256);
      device.resetPeak();
      try {
        dispose(Object.values(await (await opened(bytes)).loadAll(device)));
        outcomes.add("loaded");
      } catch (error) {
        expect(["E_FORMAT", "E_DTYPE"]).toContain((error as { code?: string }).code);
        outcomes.add("refused");
      }
      expect([device.memory().used, device.memory().peak <= 4 * bytes.length + 64]).toEqual([0, true]);
    }
    expect([...outcomes].sort()).toEqual(["loaded", "refused"]);
  });
});
