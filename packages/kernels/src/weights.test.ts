import { describe, expect, it } from "vitest";
import { LenggenError } from "./errors";
import { encodeSafetensors } from "./safetensors";
import { type ByteSource, memorySource } from "./source";
import { dispose, tensor } from "./tensor";
import { referenceDevice } from "./testing";
import { openWeights, WEIGHTS_FILE, WEIGHTS_INDEX } from "./weights";

async function file(tensors: Readonly<Record<string, readonly number[]>>): Promise<Uint8Array> {
  const tree = Object.fromEntries(Object.entries(tensors).map(([name, numbers]) => [name, tensor(referenceDevice, numbers)]));
  const parts: Uint8Array<ArrayBuffer>[] = [];
  for await (const part of encodeSafetensors(tree, { format: "pt" })) parts.push(part.slice());
  dispose(tree);
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

const ONE = "model-00001-of-00002.safetensors";
const TWO = "model-00002-of-00002.safetensors";
const MAP = { a: ONE, b: ONE, c: TWO };

/** A folder of files, some of them as JSON; counts what is open. */
function folder(files: Readonly<Record<string, Uint8Array | object | string>>) {
  const at = { open: 0, asked: [] as string[] };
  const open = async (name: string): Promise<ByteSource> => {
    at.asked.push(name);
    const content = Object.hasOwn(files, name) ? files[name]! : undefined;
    if (content === undefined) throw new LenggenError("E_MISSING", `folder/${name}: there is no such file`);
    at.open++;
    const bytes = content instanceof Uint8Array ? content
      : new TextEncoder().encode(typeof content === "string" ? content : JSON.stringify(content));
    return { ...memorySource(bytes, `folder/${name}`), close: async () => void at.open-- };
  };
  return { at, open };
}

const shards = async () => ({ [ONE]: await file({ a: [1, 2], b: [3] }), [TWO]: await file({ c: [4, 5, 6] }) });

describe("weights", () => {
  it("come from one file where there is one, also beside an index", async () => {
    const { at, open } = folder({ [WEIGHTS_FILE]: await file({ a: [7] }), [WEIGHTS_INDEX]: "{" });
    const weights = await openWeights(open);
    expect(Object.keys(weights.tensors)).toEqual(["a"]);
    await weights.close();
    expect(at).toEqual({ open: 0, asked: [WEIGHTS_FILE, WEIGHTS_FILE] }); // found, then opened
  });

  it("come from the files of an index, as if they were one", async () => {
    const { at, open } = folder({ ...(await shards()), [WEIGHTS_INDEX]: { metadata: { total_size: 24.0, total_parameters: null },
      weight_map: MAP } });
    const weights = await openWeights(open);
    expect(at.open).toBe(2);
    expect(weights.metadata).toEqual({ format: "pt" });
    expect(Object.entries(weights.tensors).map(([name, { shape }]) => [name, shape])).toEqual([["a", [2]], ["b", [1]], ["c", [3]]]);
    using c = await weights.load("c", referenceDevice);
    expect([...(await c.read())]).toEqual([4, 5, 6]);
    const all = await weights.loadAll(referenceDevice, { dtype: "f64" });
    expect(await Promise.all(Object.values(all).map(async (t) => [t.dtype, ...(await t.read())])))
      .toEqual([["f64", 1, 2], ["f64", 3], ["f64", 4, 5, 6]]);
    dispose(Object.values(all));
    await expect(weights.load("constructor", referenceDevice)).rejects.toMatchObject({ code: "E_UNKNOWN_NAME" });
    await weights.close();
    expect(at.open).toBe(0);
  });

  it("are missing where there is neither", async () => {
    const { at, open } = folder({});
    await expect(openWeights(open)).rejects.toMatchObject({ code: "E_MISSING", message: `folder/${WEIGHTS_FILE}: there is no such file` });
    expect(at.asked).toEqual([WEIGHTS_FILE, WEIGHTS_INDEX]);
  });

  const NAMES_FILE = /must be the name of a \.safetensors file in the same folder/;
  it.each<[string, object | string, string, RegExp]>([
    ["a name that leaves the folder", { a: "../secret.safetensors" }, "E_FORMAT", NAMES_FILE],
    ["an absolute name", { a: "/etc/secret.safetensors" }, "E_FORMAT", NAMES_FILE],
    ["a name below the folder", { a: "below/model.safetensors" }, "E_FORMAT", NAMES_FILE],
    ["a name of Windows", { a: "..\\secret.safetensors" }, "E_FORMAT", NAMES_FILE],
    ["a drive", { a: "c:secret.safetensors" }, "E_FORMAT", NAMES_FILE],
    ["a NUL", { a: "a\u0000.safetensors" }, "E_FORMAT", NAMES_FILE],
    ["an empty name", { a: "" }, "E_FORMAT", NAMES_FILE],
    ["a pickle", { a: "pytorch_model-00001-of-00002.bin" }, "E_FORMAT", NAMES_FILE],
    ["a number", { a: 3 }, "E_FORMAT", NAMES_FILE],
    ["too many files", Object.fromEntries(Array.from({ length: 1025 }, (_, i) => [`t${i}`, `${i}.safetensors`])), "E_FORMAT",
      /lists 1025 files; at most 1024/],
    ["a missing file", { ...MAP, d: "model-00003-of-00003.safetensors" }, "E_MISSING",
      /lists the file "model-00003-of-00003.safetensors", which is not there: folder\/model-00003/],
    ["a tensor that its file lacks", { ...MAP, d: TWO }, "E_WEIGHTS",
      /has tensor "d" in "model-00002-of-00002.safetensors", which holds none of that name$/],
    ["a tensor in the wrong file", { ...MAP, a: TWO }, "E_WEIGHTS",
      /has tensor "a" in .*00002.safetensors", which holds none of that name; it is in "model-00001/],
    ["a tensor twice in the index", `{"weight_map": {"a": "${ONE}", "a": "${TWO}"}}`, "E_FORMAT", /key "a" appears twice/],
    ["no map", `{"metadata": {}}`, "E_FORMAT", /must be an object with "weight_map"/],
    ["a list", "[]", "E_FORMAT", /must be an object with "weight_map"/],
    ["no JSON", "{", "E_FORMAT", /not valid JSON at character 1/],
  ])("are refused with %s in the index", async (_, map, code, message) => {
    const { at, open } = folder({ ...(await shards()), [WEIGHTS_INDEX]: typeof map === "string" ? map : { weight_map: map } });
    await expect(openWeights(open)).rejects.toEqual(
      expect.objectContaining({ name: "LenggenError", code, message: expect.stringMatching(message) }));
    await expect(openWeights(open)).rejects.toThrow(/^folder\/model\.safetensors\.index\.json: /);
    expect(at.open).toBe(0);
  });

  it("are refused with a tensor in two files, and with a damaged one", async () => {
    const twice = folder({ [ONE]: await file({ a: [1], b: [3] }), [TWO]: await file({ c: [4], a: [2] }),
      [WEIGHTS_INDEX]: { weight_map: MAP } });
    await expect(openWeights(twice.open)).rejects.toMatchObject({ code: "E_WEIGHTS",
      message: expect.stringMatching(/tensor "a" is in two files, ".*00001.*" and ".*00002/) as string });
    expect(twice.at.open).toBe(0);
    const cut = folder({ ...(await shards()), [TWO]: (await shards())[TWO]!.subarray(0, 40), [WEIGHTS_INDEX]: { weight_map: MAP } });
    await expect(openWeights(cut.open)).rejects.toMatchObject({ code: "E_FORMAT",
      message: expect.stringMatching(/^folder\/model-00002-of-00002.safetensors: /) as string });
    expect(cut.at.open).toBe(0);
  });
});
