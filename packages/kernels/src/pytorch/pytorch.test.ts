import { describe, expect, it } from "vitest";
import { type ByteSource, memorySource } from "../source";
import { referenceDevice } from "../testing";
import { openPyTorch } from "./index";
import {
  archive, call, dictionary, floats, joined, legacy, little, named, ordered, pickle, put, Raw, tensorOf, tuple, type Value, view, zip,
} from "./write.fixture";

const opened = (bytes: Uint8Array) => openPyTorch(memorySource(bytes, "file.pth"));

async function valuesOf(file: Awaited<ReturnType<typeof opened>>, name: string): Promise<number[]> {
  using t = await file.load(name, referenceDevice);
  return [...(await t.read())];
}

const two = dictionary(["a", tensorOf("0", [2])]);
const good = { "0": floats(1, 2) };

describe("a state dictionary", () => {
  it.each([
    ["plain", two], ["ordered", ordered(["a", tensorOf("0", [2])])],
    ["nested under state_dict", dictionary(["epoch", 3], ["optimizer", dictionary(["s", tensorOf("0", [2])])], ["state_dict", two])],
    ["nested twice", dictionary(["model", ordered(["state_dict", two])])],
    ["of parameters", dictionary(["a", call(named("torch._utils", "_rebuild_parameter"), tensorOf("0", [2]), true, ordered())])],
    ["with attributes", new Raw(joined(put(ordered(["a", tensorOf("0", [2])])), put(dictionary(["_metadata", ordered()])), "b"))],
    ["with other values", dictionary(["a", tensorOf("0", [2])], ["n", null], ["f", 1.5], ["l", [1, "x", tuple(true)]], ["b", -(2 ** 40)])],
  ])("%s is read", async (_, value) => {
    const file = await opened(archive(value, good));
    expect(Object.entries(file.tensors).map(([name, { dtype, shape }]) => [name, dtype, shape])).toEqual([["a", "F32", [2]]]);
    expect(await valuesOf(file, "a")).toEqual([1, 2]);
  });

  it("of dictionaries joins their keys", async () => {
    const file = await opened(archive(dictionary(["net", dictionary(["layers", dictionary([0, tensorOf("0", [2])])])]), good));
    expect(Object.keys(file.tensors)).toEqual(["net.layers.0"]);
  });

  it("has names that are only its own", async () => {
    const file = await opened(archive(dictionary(["__proto__", tensorOf("0", [2])], ["constructor", tensorOf("0", [2])]), good));
    expect(Object.keys(file.tensors)).toEqual(["__proto__", "constructor"]);
    expect(await valuesOf(file, "__proto__")).toEqual([1, 2]);
    await expect(file.load("toString", referenceDevice)).rejects.toMatchObject({ code: "E_UNKNOWN_NAME" });
  });

  it("is read from zips of all sizes", async () => {
    for (const options of [{ wide: true }, { endWide: false }, { byteorder: "little" }, { comment: "PK\u0005\u0006 and more" }]) {
      const file = await opened(archive(two, good, options));
      expect(await valuesOf(file, "a")).toEqual([1, 2]);
    }
  });

  it("is read from the older format", async () => {
    const value = dictionary(["a", tensorOf("77", [2], "FloatStorage", [null])], ["b", tensorOf("3", [1], "LongStorage", [null])]);
    const file = await opened(legacy(value, [["3", 1, little(-5, 8)], ["77", 2, floats(1, 2)]]));
    expect([await valuesOf(file, "a"), await valuesOf(file, "b")]).toEqual([[1, 2], [-5]]);
  });
});

describe("tensors", () => {
  it.each([
    ["DoubleStorage", "F64", new Uint8Array(Float64Array.of(1.5).buffer), 1.5], ["HalfStorage", "F16", little(0x3e00, 2), 1.5],
    ["BFloat16Storage", "BF16", little(0x3fc0, 2), 1.5], ["LongStorage", "I64", little(-3, 8), -3],
    ["IntStorage", "I32", little(-3, 4), -3],
    
    ["ShortStorage", "I16", little(-3, 2), -3], ["CharStorage", "I8", little(-3, 1), -3], ["ByteStorage", "U8", little(253, 1), 253],
    ["BoolStorage", "BOOL", little(1, 1), 1],
  ])("of torch.%s are %s", async (storage, dtype, bytes, value) => {
    const file = await opened(archive(dictionary(["t", tensorOf("0", [1], storage)]), { "0": bytes }));
    expect(file.tensors["t"]!.dtype).toBe(dtype);
    expect(await valuesOf(file, "t")).toEqual([value]);
  });

  it("of a type of their own are views of bytes", async () => {
    const storage = new Raw(joined(put(tuple("storage", named("torch.storage", "UntypedStorage"), "0", "cpu", 4)), "Q"));
    const typed = (type: string) => call(named("torch._utils", "_rebuild_tensor_v3"), storage, 0, tuple(2), tuple(1), false, ordered(),
      named("torch", type));
    const file = await opened(archive(dictionary(["u", typed("uint16")], ["f8", typed("float8_e4m3fn")]),
      { "0": Uint8Array.of(1, 0, 0, 1) }));
    expect(await valuesOf(file, "u")).toEqual([1, 256]);
    await expect(file.load("f8", referenceDevice)).rejects.toMatchObject({ code: "E_DTYPE" });
  });

  it("of no axes and of no elements are there", async () => {
    const value = dictionary(["scalar", view({ count: 2, offset: 1, shape: tuple(), strides: tuple() })],
      ["empty", view({ count: 2, shape: tuple(0, 4), strides: tuple(4, 1) })]);
    const file = await opened(archive(value, good));
    expect([await valuesOf(file, "scalar"), await valuesOf(file, "empty")]).toEqual([[2], []]);
  });

  it("show their storage by any strides", async () => {
    const numbers = Array.from({ length: 24 }, (_, i) => i);
    const cases: [shape: number[], strides: number[], offset: number][] = [
      [[2, 3], [3, 1], 4], [[3, 2], [1, 3], 0], [[4], [5], 2], [[2, 3, 2], [1, 4, 2], 3], [[3, 2], [0, 1], 5], [[2, 2], [7, 0], 1],
      [[5, 3], [1, 1], 2], [[1, 4], [99, 2], 0], [[2, 2, 2], [2, 12, 6], 0], [[3], [0], 23],
    ];
    const value = dictionary(...cases.map(([shape, strides, offset], i): [string, Raw] =>
      [`t${i}`, view({ count: 24, offset, shape: tuple(...shape), strides: tuple(...strides) })]));
    const file = await opened(archive(value, { "0": floats(...numbers) }));
    for (const [i, [shape, strides, offset]] of cases.entries()) {
      const size = shape.reduce((a, b) => a * b, 1);
      const expected = Array.from({ length: size }, (_, n) => {
        let [rest, at] = [n, offset];
        for (let axis = shape.length - 1; axis >= 0; axis--) {
          at += (rest % shape[axis]!) * strides[axis]!;
          rest = Math.floor(rest / shape[axis]!);
        }
        return at;
      });
      expect([i, await valuesOf(file, `t${i}`)]).toEqual([i, expected]);
    }
  });

  it("larger than what is in memory at a time read each part of their storage once", async () => {
    const [rows, columns] = [1500, 1499];
    const numbers = Float32Array.from({ length: rows * columns }, (_, i) => i);
    const bytes = archive(dictionary(["t", view({ count: rows * columns, shape: tuple(columns, rows), strides: tuple(1, columns) })]),
      { "0": new Uint8Array(numbers.buffer) });
    let read = 0;
    const memory = memorySource(bytes);
    const source: ByteSource = { ...memory, read: (offset, length) => (read += length, memory.read(offset, length)) };
    const file = await openPyTorch(source);
    read = 0;
    const values = await valuesOf(file, "t");
    expect(values.findIndex((x, i) => x !== (i % rows) * columns + Math.floor(i / rows))).toBe(-1);
    expect(read).toBeLessThan(bytes.length + 1000);
  });
});

describe("pickles with anything else in them", () => {
  const refusal = (message: RegExp) =>
    expect.objectContaining({ name: "LenggenError", code: "E_FORMAT", message: expect.stringMatching(message) });
  const withPickle = (...parts: Parameters<typeof joined>) => zip([["a/data.pkl", joined(...parts)]]);

  it.each<[string, Value, RegExp]>([
    ["a function", call(named("builtins", "print"), "hello"),
      /^file\.pth: its pickle names "builtins\.print", .*nothing in a pickle is run/],
    ["a function that is not called", dictionary(["a", named("posix", "system")]), /names "posix\.system"/],
    ["a class of a model", call(named("__torch__", "Net")), /names "__torch__\.Net"/],
    ["a name of JavaScript's", named("torch", "__proto__"), /names "torch\.__proto__"/],
    ["a call of a type", call(named("torch", "FloatStorage")), /calls torch\.FloatStorage, which is nothing to be called/],
    ["a call of a text", call("eval", "1"), /calls a value, which is nothing/],
    ["a list of tensors", [tensorOf("0", [2])], /holds a list, not a dictionary/],
    ["no tensors", dictionary(["epoch", 3]), /holds no tensors; it has "epoch"/],
    ["a key twice", dictionary(["a", 1], ["a", 2]), /has the key "a" twice/],
    ["a NUL in a name", dictionary(["a\u0000b", tensorOf("0", [2])]), /the name "a\\u0000b", with a NUL/],
    ["two paths to one name", dictionary(["a", dictionary(["b", tensorOf("0", [2])])], ["a.b", dictionary(["c", 1])],
      ["a.b", tensorOf("0", [2])]), /has the key "a\.b" twice/],
    ["a name twice", dictionary(["x", dictionary(["a.b", tensorOf("0", [2])], ["a", dictionary(["b", tensorOf("0", [2])])])]),
      /two tensors are named "x\.a\.b"/],
    ["a name without end", dictionary(["x".repeat(2000), tensorOf("0", [2])]), /more than 1024 characters/],
    ["a missing storage", dictionary(["a", tensorOf("1", [2])]), /names the storage "1", which is not in the file/],
    ["a storage of another size", dictionary(["a", tensorOf("0", [3])]), /storage "0" should have 12 bytes, but has 8/],
    ["a storage of two types", dictionary(["a", tensorOf("0", [2])], ["b", tensorOf("0", [1], "DoubleStorage")]), /two of different/],
    ["too large a tensor", dictionary(["a", view({ count: 2, shape: tuple(3), strides: tuple(1) })]), /leaves its storage "0" of 2/],
    ["an offset outside", dictionary(["a", view({ count: 2, offset: 2, shape: tuple(1), strides: tuple(1) })]), /leaves its storage/],
    ["strides that leave", dictionary(["a", view({ count: 2, shape: tuple(2), strides: tuple(2) })]), /\[2\] with .* \[2\].*leaves/],
    ["a negative stride", dictionary(["a", view({ count: 2, shape: tuple(2), strides: tuple(-1) })]), /at least 0/],
    ["too few strides", dictionary(["a", view({ count: 2, shape: tuple(1, 2), strides: tuple(1) })]), /as many whole numbers/],
    ["sizes that are a list", dictionary(["a", view({ count: 2, shape: [2], strides: tuple(1) })]), /as many whole numbers/],
    ["too many axes", dictionary(["a", view({ count: 2, shape: tuple(...Array<number>(65).fill(1)),
      strides: tuple(...Array<number>(65).fill(1)) })]), /as many whole numbers/],
    ["sizes beyond all numbers", dictionary(["a", view({ count: 2, shape: tuple(2 ** 40, 2 ** 40, 0), strides: tuple(0, 0, 0) })]),
      /too large/],
    ["numbers repeated beyond measure", dictionary(["a", view({ count: 2, shape: tuple(2 ** 21), strides: tuple(0) })]),
      /repeated numbers/],
    ["a storage of no type", dictionary(["a", view({ type: "FloatStorage", count: 2, shape: tuple(2), strides: tuple(1) })]),
      /no storage/],
    ["a storage without a size", dictionary(["a", view({ count: null, shape: tuple(2), strides: tuple(1) })]), /no size/],
    ["a tensor of a text", call(named("torch._utils", "_rebuild_tensor_v2"), "x", 0, tuple(), tuple()), /without a storage/],
    ["a parameter of a text", call(named("torch._utils", "_rebuild_parameter"), "x"), /what is no tensor/],
    ["a marked tensor", call(named("torch._utils", "_rebuild_tensor_v2"),
      new Raw(joined(put(tuple("storage", named("torch", "FloatStorage"), "0", "cpu", 2)), "Q")), 0, tuple(2), tuple(1), false, ordered(),
      dictionary(["neg", true])), /marks/],
    ["attributes of a list", new Raw(joined("]", put(dictionary()), "b")), /gives attributes/],
    ["an item of a list", new Raw(joined("]KaKbs")), /sets an item of what is no dictionary/],
    ["a value appended to a dictionary", new Raw(joined("}Kaa")), /appends to what is no list/],
    ["an ordered dictionary of no pairs", call(named("collections", "OrderedDict"), [1]), /no pairs/],
  ])("are refused: %s", async (_, value, message) => {
    await expect(opened(archive(value, good))).rejects.toEqual(refusal(message));
  });

  it.each<[string, Parameters<typeof joined>, RegExp]>([
    ["another protocol", [[0x80, 4], "N."], /protocol 4/],
    ["an instruction of protocol 4", [[0x80, 2, 0x95], "N."], /instruction FRAME/],
    ["an instruction that makes objects", [[0x80, 2], "(i__main__\nX\n."], /instruction INST/],
    ["an instruction of none", [[0x80, 2, 0xff], "."], /instruction 0xff/],
    ["no end", [[0x80, 2], "}"], /cut short/],
    ["an empty pickle", [], /cut short/],
    ["nothing on the stack", [[0x80, 2], "a."], /takes a value where there is none/],
    ["a value across a mark", [[0x80, 2], "}(K\u0001s."], /takes a value where there is none/],
    ["a mark that is not there", [[0x80, 2], "}u."], /mark that it never made/],
    ["half a pair", [[0x80, 2], "}(K\u0001u."], /a key without a value/],
    ["two values", [[0x80, 2], "NN."], /more than one value/],
    ["a memory of nothing", [[0x80, 2], "h\u0005."], /looks up value 5/],
    ["a text longer than the file", [[0x80, 2], "X", little(0xffffffff, 4), "abc."], /cut short/],
    ["a text that is none", [[0x80, 2], "X", little(1, 4), [0xff], "."], /not valid UTF-8/],
    ["a name without end", [[0x80, 2], "c", "x".repeat(300), "."], /name without an end/],
    ["something behind its end", [pickle(dictionary(["a", tensorOf("0", [0])])), "xyz"], /3 bytes behind the end/],
    ["a call without a tuple", [[0x80, 2], put(named("collections", "OrderedDict")), "NR."], /without a tuple/],
    ["a persistent id that is none", [[0x80, 2], "K\u0001Q."], /no storage of numbers/],
  ])("are refused: %s", async (_, parts, message) => {
    await expect(opened(withPickle(...parts))).rejects.toEqual(refusal(message));
  });

  it("are refused when they hold themselves, and read when they share parts", async () => {
    // d = {}; d["d"] = d
    await expect(opened(withPickle([0x80, 2], "}q\u0000", put("d"), "h\u0000s."))).rejects.toEqual(refusal(/holds itself/));
    // Dictionaries of two keys with the same value each, thirty deep: a thousand million paths.
    let value = joined(put(dictionary()), "q\u0000");
    for (let i = 1; i <= 30; i++) value = joined("}(", put("a"), value, "q", [i], put("b"), "h", [i], "u");
    await expect(opened(withPickle([0x80, 2], value, "."))).rejects.toEqual(refusal(/deep in each other/));
    const shared = joined(put(tensorOf("0", [2])), "q\u0000");
    const file = await opened(zip([["a/data.pkl", joined([0x80, 2], "}(", put("x"), shared, put("y"), "h\u0000u.")],
      ["a/data/0", floats(1, 2)]]));
    expect([await valuesOf(file, "x"), await valuesOf(file, "y")]).toEqual([[1, 2], [1, 2]]);
  });

  it("are refused when they name more tensors than any model has", async () => {
    let value = joined(put(tensorOf("0", [2])), "q\u0000");
    const wide = (inner: Uint8Array, place: number) => joined("}(", put("k"), inner, "q", [place],
      ...Array.from({ length: 99 }, (_, i) => joined(put(i), "h", [place])), "u");
    for (let i = 0; i < 4; i++) value = wide(value, i + 1);
    await expect(opened(zip([["a/data.pkl", joined([0x80, 2], value, ".")], ["a/data/0", floats(1, 2)]]))).rejects.toEqual(
      refusal(/more than 1048576 tensors/));
  });
});

describe("files that are damaged", () => {
  const whole = archive(two, good);
  it("are refused at any length that is too short", async () => {
    for (let length = 0; length < whole.length; length++)
      await expect(opened(whole.subarray(0, length))).rejects.toMatchObject({ code: "E_FORMAT" });
    const old = legacy(dictionary(["a", tensorOf("7", [2], "FloatStorage", [null])]), [["7", 2, floats(1, 2)]]);
    for (let length = 0; length < old.length; length++)
      await expect(opened(old.subarray(0, length))).rejects.toMatchObject({ code: "E_FORMAT" });
  });

  const patched = (field: number, ...bytes: number[]) => archive(two, good, {
    record: (name, record) => {
      if (name.endsWith("data/0")) record.set(bytes, field);
      return record;
    },
  });
  const member = (name: string, text = "N.") => [name, joined(text)] as const;
  it.each<[string, Uint8Array, RegExp]>([
    ["no zip and no pickle", joined("GIF89a"), /begins neither as a zip nor as a pickle/],
    ["compressed", patched(10, 8), /"archive\/data\/0" is compressed \(method 8\); PyTorch stores/],
    ["encrypted", patched(8, 1), /is encrypted/],
    ["stored in another number of bytes", patched(20, 9), /in 9 bytes, not its 8/],
    ["two members of one name", zip([member("a/data.pkl"), member("a/data.pkl")]), /two members of the zip are named "a\/data\.pkl"/],
    ["two pickles", zip([member("a/data.pkl"), member("b/data.pkl")]), /a zip with 2 data\.pkl/],
    ["no pickle", zip([member("a/b/data.pkl")]), /a zip with no data\.pkl/],
    ["big-endian", archive(two, good, { byteorder: "big" }), /"big"-endian; only "little"/],
    ["a big-endian machine", legacy(two, [], false), /big-endian/],
    ["another pickle", joined(pickle("x")), /none of torch\.save's/],
    ["another version", joined(pickle(0x1950a86a20f9469cfc6cn), pickle(1002)), /another version/],
    ["an older storage that differs", legacy(two, [["0", 3, floats(1, 2, 3)]]), /should have 2 elements, but says 3/],
    ["an older storage that nothing names", legacy(two, [["0", 2, floats(1, 2)], ["9", 0, floats()]]), /do not name/],
    ["an older storage that is missing", legacy(two, []), /"0", which is not in the file/],
    ["an older part of a storage", legacy(dictionary(["a", tensorOf("0", [2], "FloatStorage", [tuple("1", 0, 2)])]), []), /PyTorch 0\.3/],
  ])("are refused: %s", async (_, bytes, message) => {
    await expect(opened(bytes)).rejects.toMatchObject({ code: "E_FORMAT", message: expect.stringMatching(message) as string });
  });

  it("are refused when a tensor is asked for whose place is wrong", async () => {
    for (const [field, message] of [[42, /no header at byte/], [44, /beyond the file's/]] as const) {
      const file = await opened(patched(field, 1));
      await expect(file.load("a", referenceDevice)).rejects.toMatchObject({ code: "E_FORMAT",
        message: expect.stringMatching(message) as string });
    }
  });
});
