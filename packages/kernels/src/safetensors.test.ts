import { describe, expect, it } from "vitest";
import type { FileDType, WritableDType } from "./fileDtype";
import { encodeSafetensors, openSafetensors } from "./safetensors";
import { type ByteSource, memorySource } from "./source";
import { dispose, keep, scope, tensor } from "./tensor";
import { zeros } from "./ops/memory";
import { eachDevice, normals, referenceDevice, upload } from "./testing";

/** A file from header text and data; the length of the header as given, or as it is. */
function file(header: string | Uint8Array, data: Uint8Array = new Uint8Array(), length?: bigint): ByteSource {
  const json = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const bytes = new Uint8Array(8 + json.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(json.length), true);
  bytes.set(json, 8);
  bytes.set(data, 8 + json.length);
  return memorySource(bytes, "model.safetensors");
}

function entry(dtype: string, shape: unknown, begin: unknown, end: unknown) {
  return { dtype, shape, data_offsets: [begin, end] };
}

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  for await (const chunk of chunks) parts.push(chunk.slice());
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

function refused(message: RegExp, code = "E_FORMAT") {
  return expect.objectContaining({ name: "LenggenError", code, message: expect.stringMatching(message) });
}

eachDevice("safetensors", (device) => {
  it("gives back what was written, in any type that holds it", async () => {
    const tree = scope(() => ({
      embedding: tensor(device, [1, -2.5, 0, 65504, 2 ** -14, -0], [2, 3]),
      layers: [{ ids: tensor(device, [-7, 2 ** 31 - 1], [2], "i32"), empty: zeros(device, [0, 4]), scalar: tensor(device, [3], []) }],
    }));
    for (const floats of ["F32", "F16", "F64"] as WritableDType[]) {
      for (const wholes of ["I32", "I64"] as WritableDType[]) {
        const bytes = await collect(encodeSafetensors(tree, { format: "pt" }, (_, t) => (t.dtype === "i32" ? wholes : floats)));
        const opened = await openSafetensors(memorySource(bytes));
        expect(opened.metadata).toEqual({ format: "pt" });
        expect(Object.keys(opened.tensors)).toEqual(["embedding", "layers.0.ids", "layers.0.empty", "layers.0.scalar"]);
        const loaded = await opened.loadAll(device);
        expect(loaded.embedding!.shape).toEqual([2, 3]);
        expect([...(await loaded.embedding!.read())]).toEqual([1, -2.5, 0, 65504, 2 ** -14, -0]);
        expect([...(await loaded["layers.0.ids"]!.read())]).toEqual([-7, 2 ** 31 - 1]);
        expect(loaded["layers.0.empty"]!.shape).toEqual([0, 4]);
        expect([loaded["layers.0.scalar"]!.shape, await loaded["layers.0.scalar"]!.item()]).toEqual([[], 3]);
        dispose(loaded);
      }
    }
    dispose(tree);
  });

  it("carries tensors larger than a slice, window by window", async () => {
    const n = (1 << 20) * 2 + 5;
    const big = tensor(device, Float32Array.from({ length: n }, (_, i) => i));
    const window = big.window([n - 3], 3);
    const opened = await openSafetensors(memorySource(await collect(encodeSafetensors({ window }))));
    const loaded = await opened.load("window", device);
    const numbers = await loaded.read();
    expect(numbers.findIndex((x, i) => x !== i + 3)).toBe(-1);
    dispose([big, window, loaded]);
  });

  it("keeps loaded tensors out of scopes, and frees them when loading fails", async () => {
    const opened = await openSafetensors(file(JSON.stringify({ a: entry("F32", [2], 0, 8), b: entry("I64", [1], 8, 16) }),
      new Uint8Array(16).fill(127)));
    const before = device.memory().used;
    const pending = scope(() => ({ promise: opened.load("a", device) })).promise;
    const loaded = await pending;
    expect((await loaded.read()).length).toBe(2);
    loaded.dispose();
    await expect(opened.loadAll(device)).rejects.toEqual(refused(/tensor "b": holds 9187201950435737471, which does not fit/));
    await device.synchronize();
    expect(device.memory().used).toBe(before);
  });
});

describe("reading", () => {
  it("converts every type of the format", async () => {
    const cases: [FileDType, ArrayBufferView, number[], string][] = [
      ["F64", Float64Array.of(Math.PI), [Math.PI], "f64"],
      ["F32", Float32Array.of(1.5), [1.5], "f32"],
      ["F16", Uint16Array.of(0x3555, 0x0001), [0.333251953125, 2 ** -24], "f32"],
      ["BF16", Uint16Array.of(0x4049), [3.140625], "f32"],
      ["I64", BigInt64Array.of(-3n), [-3], "i32"],
      ["U64", BigUint64Array.of(3n), [3], "i32"],
      ["I32", Int32Array.of(-(2 ** 31)), [-(2 ** 31)], "i32"],
      ["U32", Uint32Array.of(5), [5], "i32"],
      ["I16", Int16Array.of(-2), [-2], "i32"],
      ["U16", Uint16Array.of(65535), [65535], "i32"],
      ["I8", Int8Array.of(-1), [-1], "i32"],
      ["U8", Uint8Array.of(255), [255], "i32"],
      ["BOOL", Uint8Array.of(1, 0), [1, 0], "i32"],
    ];
    for (const [dtype, view, expected, type] of cases) {
      const data = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
      // A header of odd length: the data lies at an odd address.
      const header = JSON.stringify({ x: entry(dtype, [expected.length], 0, data.length) });
      const opened = await openSafetensors(file(header.length % 2 ? header : `${header} `, data));
      for (const wanted of [undefined, "f32", "f64"] as const) {
        const loaded = await opened.load("x", referenceDevice, wanted);
        expect(loaded.dtype).toBe(wanted ?? type);
        expect([...(await loaded.read())]).toEqual(loaded.dtype === "f32" ? expected.map(Math.fround) : expected);
        loaded.dispose();
      }
    }
  });

  it("keeps the bits of half-precision numbers that become f16, odd in number or not", async () => {
    for (const n of [1, 2, 7, (1 << 20) + 1]) {
      const halves = Uint16Array.from({ length: n }, (_, i) => (i * 7919) & 0x7bff);
      const opened = await openSafetensors(file(JSON.stringify({ x: entry("F16", [n], 0, 2 * n) }), new Uint8Array(halves.buffer)));
      using half = await opened.load("x", referenceDevice, "f16");
      using wide = await opened.load("x", referenceDevice, "f32");
      expect(await half.read()).toEqual(await wide.read());
    }
  });

  it("does not load floats as whole numbers", async () => {
    const opened = await openSafetensors(file(JSON.stringify({ x: entry("F16", [0], 0, 0) })));
    await expect(opened.load("x", referenceDevice, "i32")).rejects.toEqual(refused(/"x" holds F16 numbers, .* load it as f32/, "E_DTYPE"));
  });

  it.each([
    ["F8_E4M3", [3], 3], ["F8_E5M2", [3], 3], ["F8_E8M0", [3], 3], ["F8_E4M3FNUZ", [3], 3], ["F8_E5M2FNUZ", [3], 3],
    ["F4", [2, 3], 3], ["F6_E2M3", [4], 3], ["F6_E3M2", [2, 2], 3], ["C64", [2], 16], ["X7_LATER", [5, 5], 11], ["F4", [0], 0],
  ])("opens a file that holds %s, and loads the other tensors", async (dtype, shape, bytes) => {
    const data = new Uint8Array(bytes + 4);
    new DataView(data.buffer).setFloat32(bytes, 1.5, true);
    const opened = await openSafetensors(
      file(JSON.stringify({ odd: entry(dtype, shape, 0, bytes), x: entry("F32", [1], bytes, bytes + 4) }), data));
    expect(opened.tensors["odd"]).toMatchObject({ dtype, shape, byteLength: bytes });
    using x = await opened.load("x", referenceDevice);
    expect(await x.item()).toBe(1.5);
    const wanted = refused(new RegExp(`^model.safetensors: tensor "odd" holds ${dtype} numbers, which can't be read; what can is F64, `),
      "E_DTYPE");
    await expect(opened.load("odd", referenceDevice)).rejects.toEqual(wanted);
    await expect(opened.loadAll(referenceDevice)).rejects.toEqual(wanted);
    dispose(await opened.loadAll(referenceDevice, { names: ["x"] }));
  });

  it("takes odd names as names", async () => {
    const names = ["__proto__", "constructor", "toString", "", "1", "0", "\u0000", "ü😀", "a.b/c"];
    const header = `{${names.map((name, i) => `${JSON.stringify(name)}:${JSON.stringify(entry("U8", [1], i, i + 1))}`).join(",")}}`;
    const opened = await openSafetensors(file(header, Uint8Array.from(names, (_, i) => i)));
    for (const [i, name] of names.entries()) {
      const loaded = await opened.load(name, referenceDevice);
      expect(await loaded.item()).toBe(i);
      loaded.dispose();
    }
    await expect(opened.load("hasOwnProperty", referenceDevice)).rejects.toEqual(refused(/holds no tensor named "hasOwnProperty"/,
      "E_UNKNOWN_NAME"));
    const loaded = await opened.loadAll(referenceDevice);
    expect(Object.keys(loaded).sort()).toEqual([...names].sort());
    dispose(Object.values(loaded));
  });

  it("takes an empty file of tensors, and trailing spaces in the header", async () => {
    expect(Object.keys((await openSafetensors(file("{}   "))).tensors)).toEqual([]);
  });

  const eight = new Uint8Array(8);
  const one = (e: unknown) => JSON.stringify({ x: e });
  it.each<[string, ByteSource, RegExp]>([
    ["an empty file", memorySource(new Uint8Array(), "model.safetensors"), /has 0 bytes; .* at least 8/],
    ["a header beyond the file", file("{}", eight, 11n), /header of 11 bytes but has only 10/],
    ["a header beyond the bound", file("{}", eight, 100_000_001n), /header of 100000001 bytes; the format allows at most 100000000/],
    ["a header length of 2⁶⁴ - 1", file("{}", eight, 2n ** 64n - 1n), /header of 18446744073709552000 bytes/],
    ["an empty header", file(""), /must begin with "\{"/],
    ["a header with a space before", file(" {}"), /must begin with "\{"/],
    ["a list", file("[]"), /must begin with "\{"/],
    ["broken JSON", file("{\"x\":"), /header: not valid JSON at character 5/],
    ["broken UTF-8", file(new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x7d])), /header: is not valid UTF-8/],
    ["zeros after the header", file("{}\u0000"), /not valid JSON/],
    ["deep nesting", file(`{"x":${"[".repeat(50_000)}`), /nested more than 4 deep/],
    ["a repeated name", file(`{"x":${JSON.stringify(entry("U8", [4], 0, 4))},"x":${JSON.stringify(entry("U8", [4], 4, 8))}}`, eight),
      /key "x" appears twice/],
    ["a repeated field", file('{"x":{"dtype":"U8","dtype":"I8","shape":[8],"data_offsets":[0,8]}}', eight), /key "dtype" appears twice/],
    ["metadata that is no record", file('{"__metadata__":[]}'), /__metadata__ must map names to strings/],
    ["metadata that is not text", file('{"__metadata__":{"a":1}}'), /__metadata__ must map names to strings/],
    ["an entry that is no object", file(one(3), eight), /tensor "x": must be an object/],
    ["a missing field", file(one({ dtype: "U8", shape: [8] }), eight), /data_offsets \(missing\)/],
    ["an unknown field", file(one({ ...entry("U8", [8], 0, 8), stride: 1 }), eight), /unknown field "stride"/],
    ["a type that is no name", file(one(entry("f32", [2], 0, 8)), eight), /dtype "f32" is not the name of a type, such as F64, F32/],
    ["a type named after Object.prototype", file(one(entry("constructor", [8], 0, 8)), eight), /is not the name of a type/],
    ["a type that is a number", file(one(entry(32 as never, [8], 0, 8)), eight), /dtype 32 is not the name of a type/],
    ["F8 of the wrong size", file(one(entry("F8_E4M3", [9], 0, 8)), eight), /shape \[9\] of F8_E4M3 needs 9 bytes, .* hold 8/],
    ["F4 in parts of bytes", file(one(entry("F4", [15], 0, 8)), eight), /shape \[15\] of F4 needs 7.5 bytes, .* hold 8/],
    ["F6 of the wrong size", file(one(entry("F6_E2M3", [8], 0, 8)), eight), /shape \[8\] of F6_E2M3 needs 6 bytes, .* hold 8/],
    ["a shape that is no list", file(one(entry("U8", 8, 0, 8)), eight), /shape 8 must be a list/],
    ["a negative axis", file(one(entry("U8", [-8], 0, 8)), eight), /shape \[-8\] must be a list/],
    ["a fractional axis", file(one(entry("U8", [1.5], 0, 8)), eight), /shape \[1.5\]/],
    ["an axis beyond safe numbers", file(one(entry("U8", [2 ** 53], 0, 8)), eight), /shape \[9007199254740992\] must/],
    ["a shape whose product overflows", file(one(entry("U8", [2 ** 52, 2 ** 52], 0, 8)), eight), /is too large/],
    ["a shape that overflows before its zero", file(one(entry("U8", [2 ** 52, 2 ** 52, 0], 0, 0))), /is too large/],
    ["a rank of 100", file(one(entry("U8", Array.from({ length: 100 }, () => 1), 0, 1)), new Uint8Array(1)), /at most 64/],
    ["three offsets", file(one({ ...entry("U8", [8], 0, 8), data_offsets: [0, 4, 8] }), eight), /data_offsets \[0,4,8\] must be two/],
    ["negative offsets", file(one(entry("U8", [8], -8, 0)), eight), /must be two whole numbers/],
    ["text offsets", file(one(entry("U8", [8], "0", "8")), eight), /must be two whole numbers/],
    ["offsets out of order", file(one(entry("U8", [0], 8, 0)), eight), /\[8, 0\] must be in order/],
    ["offsets beyond the data", file(one(entry("U8", [9], 0, 9)), eight), /within the 8 bytes of data/],
    ["a size that differs from the shape", file(one(entry("F32", [3], 0, 8)), eight),
      /shape \[3\] of F32 needs 12 bytes, but data_offsets \[0, 8\] hold 8/],
    ["overlapping tensors", file(JSON.stringify({ x: entry("U8", [6], 0, 6), y: entry("U8", [4], 4, 8) }), eight),
      /"y" starts at byte 4 of the data, but another tensor overlaps it up to 6/],
    ["twice the same bytes", file(JSON.stringify({ x: entry("U8", [8], 0, 8), y: entry("U8", [8], 0, 8) }), eight),
      /another tensor overlaps/],
    ["a hole", file(JSON.stringify({ x: entry("U8", [2], 0, 2), y: entry("U8", [4], 4, 8) }), eight),
      /"y" starts at byte 4 .* nothing covers the bytes from 2/],
    ["a hole at the start", file(one(entry("U8", [4], 4, 8)), eight), /nothing covers the bytes from 0/],
    ["bytes after the last tensor", file(one(entry("U8", [4], 0, 4)), eight), /has 4 bytes after the last tensor/],
  ])("refuses %s", async (_, source, message) => {
    await expect(openSafetensors(source)).rejects.toEqual(refused(message));
    await expect(openSafetensors(source)).rejects.toEqual(refused(/^model\.safetensors: /));
  });

  it("refuses every truncation of a file", async () => {
    const t = upload(referenceDevice, normals(1, [4, 3]));
    const bytes = await collect(encodeSafetensors({ a: t, b: t.window([2], 3) }));
    for (let size = 0; size < bytes.length; size++) {
      await expect(openSafetensors(memorySource(bytes.slice(0, size)))).rejects.toEqual(refused(/./));
    }
    t.dispose();
  });

  it("refuses a file that shrinks while it is read", async () => {
    const whole = file(one(entry("F32", [2], 0, 8)), eight);
    const opened = await openSafetensors({ ...whole, read: async (at, n) =>
      (at === 8 || at === 0 ? whole.read(at, n) : new Uint8Array(n - 1)) });
    await expect(opened.load("x", referenceDevice)).rejects.toEqual(refused(/"x": ends early: 7 of 8 bytes .* changed while it was read/));
  });

  it("allocates nothing for a file that claims more than it has", async () => {
    const before = referenceDevice.memory().peak;
    await expect(openSafetensors(file(one(entry("F32", [2 ** 40], 0, 2 ** 42)), eight))).rejects.toEqual(refused(/within the 8 bytes/));
    expect(referenceDevice.memory().peak).toBe(before);
  });
});

describe("writing", () => {
  it("pads the header to 8 bytes and gives equal bytes for equal input", async () => {
    const t = keep(tensor(referenceDevice, [1, 2], [2]));
    for (let n = 1; n <= 9; n++) {
      const write = () => collect(encodeSafetensors({ ["x".repeat(n)]: t }));
      const bytes = await write();
      const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
      expect(length % 8).toBe(0);
      expect(bytes.length).toBe(8 + length + 8);
      expect(await write()).toEqual(bytes);
    }
    const text = new TextDecoder().decode((await collect(encodeSafetensors({ a: t }, { k: "v" }))).slice(8, -8));
    expect(text.trimEnd()).toBe('{"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}');
    t.dispose();
  });

  it("reads no metadata where it is null, and writes none that is not text", async () => {
    expect((await openSafetensors(file('{"__metadata__":null}'))).metadata).toEqual({});
    const write = () => encodeSafetensors({ a: zeros(referenceDevice, [1]) }, { step: 5 as unknown as string });
    expect(() => scope(write))
      .toThrow(expect.objectContaining({ code: "E_ARGUMENT", message: expect.stringMatching(/metadata "step" is no string/) as string }));
  });

  it("refuses names that collide", () => {
    const t = zeros(referenceDevice, [1]);
    const failure = refused(/two tensors are named "a.b"|reserved/, "E_ARGUMENT");
    expect(() => encodeSafetensors({ a: { b: t }, "a.b": t })).toThrow(failure);
    expect(() => encodeSafetensors({ __metadata__: t })).toThrow(failure);
    t.dispose();
  });
});
