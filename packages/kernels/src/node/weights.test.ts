import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { archive, dictionary, floats, legacy, tensorOf } from "../pytorch/write.fixture";
import { encodeSafetensors } from "../safetensors";
import { tensor } from "../tensor";
import { referenceDevice } from "../testing";
import { CHECKPOINT_FILES, openWeightsIn, weightsFilesIn, writeWhole } from "./index";

const folder = mkdtempSync(join(tmpdir(), "lenggen-weights-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** A file of `torch.save` with one tensor of one number. */
const pickled = (name: string, value: number): Uint8Array => archive(dictionary([name, tensorOf("0", [1])]), { "0": floats(value) });

async function safetensors(path: string, name: string, value: number): Promise<void> {
  using t = tensor(referenceDevice, [value]);
  await writeWhole(path, encodeSafetensors({ [name]: t }));
}

function place(name: string, files: Readonly<Record<string, Uint8Array | string>> = {}): string {
  const path = join(folder, name);
  mkdirSync(path, { recursive: true });
  for (const [file, content] of Object.entries(files)) writeFileSync(join(path, file), content);
  return path;
}

async function valuesIn(path: string): Promise<Record<string, number>> {
  const weights = await openWeightsIn(path);
  try {
    const values: Record<string, number> = {};
    for (const name of Object.keys(weights.tensors)) {
      using t = await weights.load(name, referenceDevice);
      values[name] = await t.item();
    }
    return values;
  } finally {
    await weights.close();
  }
}

const refusal = (code: string, message: RegExp) => ({ code, message: expect.stringMatching(message) as string });
const filesOf = async (path: string): Promise<string[]> => (await weightsFilesIn(path)).map((file) => basename(file));
const index = (map: object): string => JSON.stringify({ weight_map: map });
const PICKLED_INDEX = "pytorch_model.bin.index.json";
const [ONE, TWO] = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"];

describe("a folder's weights", () => {
  it("are looked for in order", async () => {
    expect(CHECKPOINT_FILES).toEqual(
      ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"]);
    const path = place("order", { [PICKLED_INDEX]: index({ a: ONE, b: TWO }), [ONE]: pickled("a", 1), [TWO]: pickled("b", 2) });
    expect(await valuesIn(path)).toEqual({ a: 1, b: 2 });
    expect(await filesOf(path)).toEqual([ONE, TWO]);
    place("order", { "pytorch_model.bin": pickled("a", 3) });
    expect(await valuesIn(path)).toEqual({ a: 3 });
    place("order", { "model.safetensors.index.json": index({ a: "x.safetensors" }) });
    await safetensors(join(path, "x.safetensors"), "a", 4);
    expect(await valuesIn(path)).toEqual({ a: 4 });
    expect(await filesOf(path)).toEqual(["x.safetensors"]);
    await safetensors(join(path, "model.safetensors"), "a", 5);
    expect(await valuesIn(path)).toEqual({ a: 5 });
    expect(await filesOf(path)).toEqual(["model.safetensors"]);
  });

  it("are missing where there are none, or where a shard is", async () => {
    await expect(openWeightsIn(place("none"))).rejects.toMatchObject({ code: "E_MISSING" });
    await expect(openWeightsIn(join(folder, "nowhere"))).rejects.toMatchObject({ code: "E_MISSING" });
    const path = place("shard", { [PICKLED_INDEX]: index({ a: ONE, b: TWO }), [ONE]: pickled("a", 1) });
    await expect(openWeightsIn(path)).rejects.toMatchObject(refusal("E_MISSING",
      /pytorch_model\.bin\.index\.json: lists the file "pytorch_model-00002-of-00002\.bin", which is not/));
    place("shard", { [TWO]: pickled("b", 2).subarray(0, 100) });
    await expect(openWeightsIn(path)).rejects.toMatchObject(refusal("E_FORMAT", /00002-of-00002\.bin: /));
    place("shard", { [PICKLED_INDEX]: index({ a: "../order/pytorch_model.bin" }) });
    await expect(openWeightsIn(path)).rejects.toMatchObject(refusal("E_FORMAT", /a \.bin file in the same/));
  });
});

describe("a file of weights", () => {
  it("is read by how it begins, whatever its name", async () => {
    const value = dictionary(["a", tensorOf("0", [1], "FloatStorage", [null])]);
    const path = place("files", { "new.pth": pickled("a", 1), "old.pt": legacy(value, [["0", 1, floats(2)]]) });
    await safetensors(join(path, "mine.bin"), "a", 3);
    const files = ["new.pth", "old.pt", "mine.bin"].map((name) => join(path, name));
    expect(await Promise.all(files.map(valuesIn))).toEqual([{ a: 1 }, { a: 2 }, { a: 3 }]);
    expect(await filesOf(join(path, "old.pt"))).toEqual(["old.pt"]);
  });

  it("is refused by its format's reader when its name says what it should be, else by what can be read", async () => {
    const path = place("wrong", { "cut.safetensors": "{}", "cut.bin": "text", "notes.txt": "text" });
    for (const [name, message] of [["cut.safetensors", /has 2 bytes; a safetensors file/], ["cut.bin", /no file of torch\.save/],
      ["notes.txt", /begins as no file of weights does that can be read: safetensors, PyTorch/]] as const) {
      await expect(openWeightsIn(join(path, name))).rejects.toMatchObject(refusal("E_FORMAT", message));
    }
  });
});
