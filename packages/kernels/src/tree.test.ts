import { describe, expect, it } from "vitest";
import { dispose, tensor } from "./tensor";
import { referenceDevice } from "./testing";
import { countElements, leaves, mapTree, zipLeaves } from "./tree";

const make = () => ({
  embedding: tensor(referenceDevice, [1, 2, 3]),
  layers: [{ w: tensor(referenceDevice, [4, 5], [1, 2]) }, { w: tensor(referenceDevice, [6]), scale: 2, none: null }],
});

describe("trees", () => {
  it("name their leaves by path, in order", () => {
    const tree = make();
    expect(leaves(tree).map(({ path }) => path)).toEqual(["embedding", "layers.0.w", "layers.1.w"]);
    expect(leaves(tree.embedding)).toEqual([{ path: "", tensor: tree.embedding }]);
    expect(leaves(tree, "model")[0]!.path).toBe("model.embedding");
    expect(leaves([null, 3, "x", undefined, {}])).toEqual([]);
    expect(countElements(tree)).toBe(6);
    dispose(tree);
  });

  it("map leaf by leaf, keep their nesting, and leave other values alone", () => {
    const tree = make();
    expect(mapTree(tree, (leaf, path) => `${path}:${leaf.size}`)).toEqual({
      embedding: "embedding:3",
      layers: [{ w: "layers.0.w:2" }, { w: "layers.1.w:1", scale: 2, none: null }],
    });
    dispose(tree);
  });

  it("map names of Object.prototype like any other", () => {
    const odd = Object.fromEntries([["__proto__", tensor(referenceDevice, [1])], ["constructor", tensor(referenceDevice, [2])]]);
    const mapped = mapTree(odd, (leaf) => leaf.size);
    expect(Object.keys(mapped)).toEqual(["__proto__", "constructor"]);
    expect(Object.getPrototypeOf(mapped)).toBe(Object.prototype);
    dispose(Object.values(odd));
  });

  it("pair up with trees of the same nesting and name the first difference", () => {
    const [a, b] = [make(), make()];
    expect(zipLeaves(a, b).map(({ path, a: x, b: y }) => [path, x.size === y.size])).toEqual([
      ["embedding", true], ["layers.0.w", true], ["layers.1.w", true],
    ]);
    const failure = (message: string) => expect.objectContaining({ code: "E_ARGUMENT", message: expect.stringContaining(message) });
    expect(() => zipLeaves(a, { ...b, layers: [] })).toThrow(failure("leaf 1: layers.0.w against (none)"));
    expect(() => zipLeaves(a, { other: b.embedding })).toThrow(failure("leaf 0: embedding against other"));
    dispose([a, b]);
  });
});
