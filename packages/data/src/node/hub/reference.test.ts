import { describe, expect, it } from "vitest";
import { formatHubReference, hubReferenceOf, isHubReference, parseHubReference } from "./reference";

const COMMIT = "5b3a".repeat(10);

describe("references to the hub", () => {
  it.each([
    ["hf:state-spaces/mamba2-130m", { type: "model", name: "state-spaces/mamba2-130m", revision: "main", path: "" }],
    ["hf://state-spaces/mamba2-130m@v1.0", { type: "model", name: "state-spaces/mamba2-130m", revision: "v1.0", path: "" }],
    ["hf:BlinkDL/rwkv-6-world/RWKV-x060.pth", { type: "model", name: "BlinkDL/rwkv-6-world", revision: "main", path: "RWKV-x060.pth" }],
    [`hf:models/a/b@${COMMIT}/sub/`, { type: "model", name: "a/b", revision: COMMIT, path: "sub" }],
    ["hf:gpt2", { type: "model", name: "gpt2", revision: "main", path: "" }],
    ["hf:gpt2@main/onnx/config.json", { type: "model", name: "gpt2", revision: "main", path: "onnx/config.json" }],
    ["hf:datasets/a/b@refs/convert/parquet/c/train/*.parquet",
      { type: "dataset", name: "a/b", revision: "refs/convert/parquet", path: "c/train/*.parquet" }],
    ["hf:datasets/a/b@refs/pr/12", { type: "dataset", name: "a/b", revision: "refs/pr/12", path: "" }],
    ["hf:datasets/a/b@feature%2Fx/data", { type: "dataset", name: "a/b", revision: "feature/x", path: "data" }],
  ])("reads %s", (text, reference) => {
    expect(isHubReference(text)).toBe(true);
    expect(parseHubReference(text)).toEqual(reference);
    expect(parseHubReference(formatHubReference(parseHubReference(text)))).toEqual(reference);
  });

  it.each([
    ["hf:", /an owner or a name is missing/],
    ["hf:datasets", /an owner or a name is missing/],
    ["hf:owner/", /an owner or a name is missing/],
    ["hf:/etc/passwd", /an owner or a name is missing/],
    ["hf:../x", /"\.\." is no name of a repository/],
    ["hf:a--b/c", /"a--b" is no name of a repository/],
    ["hf:owner/na me", /"na me" is no name of a repository/],
    ["hf:owner/name@", /a revision is missing behind @/],
    ["hf:owner/name@..", /"\.\." can't be a revision's name/],
    ["hf:owner/name@a%2F..%2F..%2Fb", /can't be a revision's name/],
    ["hf:owner/name@%zz", /a revision is missing behind @/],
    ["hf:owner/name/../../x", /"\.\.\/\.\.\/x" is no path inside a repository/],
    ["hf:owner/name/a//b", /"a\/\/b" is no path inside a repository/],
    [String.raw`hf:owner/name/a\b`, /is no path inside a repository/],
    ["hf:spaces/owner/name", /spaces of the hub are not read, only models and data sets/],
  ])("refuses %s", (text, message) => {
    expect(() => parseHubReference(text)).toThrow(message);
    expect(() => parseHubReference(text)).toThrow("right would be hf:owner/name, hf:owner/name@revision or hf:datasets/");
  });

  it("are told from a place in a cache", () => {
    const cache = "/home/me/.cache/huggingface/hub";
    expect(hubReferenceOf(`${cache}/models--some--model/snapshots/${COMMIT}`)).toBe(`hf:some/model@${COMMIT}`);
    expect(hubReferenceOf(`${cache}/models--gpt2/snapshots/${COMMIT}/a/b.bin`)).toBe(`hf:gpt2@${COMMIT}/a/b.bin`);
    expect(hubReferenceOf(`${cache}/datasets--a--b/snapshots/${COMMIT}/`)).toBe(`hf:datasets/a/b@${COMMIT}`);
    expect(hubReferenceOf(`C:\\cache\\models--a--b\\snapshots\\${COMMIT}\\c\\d.pth`)).toBe(`hf:a/b@${COMMIT}/c/d.pth`);
    expect(hubReferenceOf("runs/base/checkpoints/step-10")).toBeUndefined();
  });
});
