import { describe, expect, it } from "vitest";
import { choose, type HubKind, shardsOf } from "./choose";

const listed = (...paths: string[]) => paths.map((path) => ({ path, size: 1, sha1: "0".repeat(40) }));
const chosen = (kind: HubKind, paths: readonly string[], path = "", reads?: (path: string) => boolean) => {
  const { files, index, ...rest } = choose(listed(...paths), kind, path, "hf:a/b@main", reads);
  return { ...rest, files: files.map((file) => file.path), ...(index && { index: index.path }) };
};

describe("what is fetched for a checkpoint", () => {
  it.each([
    ["safetensors where there are both", ["config.json", "model.safetensors", "pytorch_model.bin", "tf_model.h5", "README.md"],
      { path: "", files: ["config.json", "model.safetensors"] }],
    ["a list of shards in the place of a pickle",
      ["config.json", "model.safetensors.index.json", "model-00001-of-00002.safetensors", "pytorch_model.bin"],
      { path: "", files: ["config.json", "model.safetensors.index.json"], index: "model.safetensors.index.json" }],
    ["pickles where there is nothing else, as in mamba2-130m", ["README.md", "config.json", "pytorch_model.bin"],
      { path: "", files: ["config.json", "pytorch_model.bin"] }],
    ["shards of pickles", ["pytorch_model.bin.index.json", "pytorch_model-00001-of-00001.bin"],
      { path: "", files: ["pytorch_model.bin.index.json"], index: "pytorch_model.bin.index.json" }],
    ["the one file of another name", ["rwkv_vocab_v20230424.txt", "RWKV-x070-0.1B.pth", "README.md", "hf_rwkv_tokenizer.py"],
      { path: "RWKV-x070-0.1B.pth", files: ["rwkv_vocab_v20230424.txt", "RWKV-x070-0.1B.pth"] }],
    ["tokenizers, and nothing of the training", ["config.json", "model.safetensors", "optimizer.pt", "tokenizer.json",
      "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt", "training_args.bin"],
      { path: "", files: ["config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "model.safetensors"] }],
    ["no other folder's", ["config.json", "model.safetensors", "onnx/model.safetensors"],
      { path: "", files: ["config.json", "model.safetensors"] }],
  ])("is %s", (_, paths, expected) => {
    expect(chosen("checkpoint", paths)).toEqual(expected);
  });

  it("is what the reference's path names: a file or a folder", () => {
    const paths = ["a.pth", "b.pth", "step-10/config.json", "step-10/model.safetensors", "step-20/model.safetensors"];
    expect(chosen("checkpoint", paths, "b.pth")).toEqual({ path: "b.pth", files: ["b.pth"] });
    const ten = { path: "step-10", files: ["step-10/config.json", "step-10/model.safetensors"] };
    expect(chosen("checkpoint", paths, "step-10")).toEqual(ten);
    expect(chosen("checkpoint", paths, "step-10/model.safetensors")).toEqual(ten);
  });

  it("has to be named where there are several, and there has to be one", () => {
    expect(() => chosen("checkpoint", ["a.pth", "b.pth"])).toThrow(
      "hf:a/b@main holds 2 files of weights; name one, such as hf:a/b@main/a.pth: there are a.pth, b.pth");
    expect(() => chosen("checkpoint", ["README.md", "adapter_model.safetensors"])).toThrow(
      /hf:a\/b@main has no weights: none of model\.safetensors, .* there are README\.md, adapter_model\.safetensors/);
    expect(() => chosen("checkpoint", [])).toThrow("there is no file or folder");
  });
});

describe("shards", () => {
  const read = (index: unknown) => shardsOf(listed("sub/model.safetensors.index.json")[0]!, new TextEncoder().encode(JSON.stringify(index)),
    listed("sub/a.safetensors", "sub/b.safetensors", "c.safetensors"), "hf:a/b@main").map(({ path }) => path);

  it("are those that the list names, beside it", () => {
    const map = { x: "b.safetensors", y: "a.safetensors", z: "b.safetensors" };
    expect(read({ weight_map: map })).toEqual(["sub/b.safetensors", "sub/a.safetensors"]);
  });

  it.each([
    [{ weight_map: { x: "c.safetensors" } }, /names "c\.safetensors", which is not in the repository/],
    [{ weight_map: { x: "../c.safetensors" } }, /names "\.\.\/c\.safetensors", which is not in the repository/],
    [{ weight_map: { x: { y: 1 } } }, /names \{"y":1\}, which is not in the repository/],
    [{ metadata: {} }, /has no weight_map/],
  ])("can't be %j", (index, message) => {
    expect(() => read(index)).toThrow(message);
  });
});

describe("what is fetched for a tokenizer", () => {
  it("is no model", () => {
    const paths = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "rwkv_vocab_v20230424.txt"];
    expect(chosen("tokenizer", paths).files).toEqual(["tokenizer.json", "rwkv_vocab_v20230424.txt", "tokenizer_config.json"]);
    expect(chosen("tokenizer", paths, "rwkv_vocab_v20230424.txt").path).toBe("rwkv_vocab_v20230424.txt");
    expect(() => chosen("tokenizer", ["config.json", "vocab.json"])).toThrow(/has no tokenizer: .* there are config\.json, vocab\.json/);
  });
});

describe("what is fetched of a data set", () => {
  const paths = [".gitattributes", "README.md", "a/train-0.jsonl", "a/train-1.jsonl", "a/deep/test-0.jsonl", "b/x.parquet", "picture.png"];
  const reads = (path: string): boolean => /\.(jsonl|parquet|md)$/.test(path);

  it.each([
    ["b/x.parquet", { path: "b/x.parquet", files: ["b/x.parquet"] }],
    ["a", { path: "a", files: ["a/train-0.jsonl", "a/train-1.jsonl", "a/deep/test-0.jsonl"] }],
    ["a/*.jsonl", { path: "a", files: ["a/train-0.jsonl", "a/train-1.jsonl"] }],
    ["a/**/*-0.jsonl", { path: "a", files: ["a/train-0.jsonl", "a/deep/test-0.jsonl"] }],
    ["*/x.*", { path: "", files: ["b/x.parquet"] }],
  ])("is %s", (path, expected) => {
    expect(chosen("text", paths, path, reads)).toEqual(expected);
  });

  it("is its one text where none is named, and never all of many", () => {
    expect(chosen("text", ["README.md", "t.jsonl", "dataset_infos.json"], "", reads)).toEqual({ path: "t.jsonl", files: ["t.jsonl"] });
    expect(() => chosen("text", paths, "", reads)).toThrow(/holds 4 files of text; name one, a folder, or several with \*/);
    expect(() => chosen("text", paths, "c", reads)).toThrow(/there is no text c that can be read; there are \.gitattributes/);
  });
});
