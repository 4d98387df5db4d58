import { describe, expect, it } from "vitest";
import { open } from "../open";
import { key } from "../random";
import { eachDevice, expectError } from "../testing";
import { dispose, type Tensor } from "../tensor";
import { constantInit, elementsInit, normalInit, uniformInit } from "./init";
import { matrix, parameter, parameterSet, stack, under } from "./parameters";

const specs = {
  embedding: parameter({ own: "model.embedding.weight", other: "model.embeddings.weight" }, [5, 4],
    { init: normalInit(0.02), decay: true, half: true, copies: ["head.weight"] }),
  layers: stack({ own: "model.layers", other: "blocks" }, 2, (i) => ({
    mixer: under({ own: "mixer", other: "att" }, {
      a: parameter("A", [3], { init: elementsInit((random, n) => n + random.uniform()) }),
      out: matrix({ own: "out.weight", third: "o" }, [4, 3], uniformInit(1 / (i + 1))),
    }),
    bias: i === 0 ? parameter("bias", [4], { init: constantInit(0) }) : null,
  })),
};

describe("parameters by specification", () => {
  const set = parameterSet(specs);
  it("have names, shapes and properties in the order in which they were written", () => {
    expect(Object.entries(set.shapes)).toEqual([
      ["model.embedding.weight", [5, 4]],
      ["model.layers.0.mixer.A", [3]], ["model.layers.0.mixer.out.weight", [4, 3]], ["model.layers.0.bias", [4]],
      ["model.layers.1.mixer.A", [3]], ["model.layers.1.mixer.out.weight", [4, 3]],
    ]);
    const names = Object.keys(set.shapes);
    expect(names.filter(set.decays))
      .toEqual(["model.embedding.weight", "model.layers.0.mixer.out.weight", "model.layers.1.mixer.out.weight"]);
    expect(names.filter(set.halves)).toEqual(names.filter(set.decays));
    expectError(() => set.decays("model.layers.0.mixer.B"), "E_UNKNOWN_NAME",
      /none called model\.layers\.0\.mixer\.B \(did you mean "model\.layers\.0\.mixer\.A"\?\)/);
  });

  it("are called in files as each layout has it, and are read by all names", () => {
    const read = {
      "model.embeddings.weight": "model.embedding.weight", "head.weight": "model.embedding.weight",
      "blocks.0.att.A": "model.layers.0.mixer.A", "blocks.0.att.out.weight": "model.layers.0.mixer.out.weight",
      "model.layers.0.mixer.o": "model.layers.0.mixer.out.weight",
      "blocks.0.bias": "model.layers.0.bias",
      "blocks.1.att.A": "model.layers.1.mixer.A", "blocks.1.att.out.weight": "model.layers.1.mixer.out.weight",
      "model.layers.1.mixer.o": "model.layers.1.mixer.out.weight",
    };
    expect(set.files("own").read).toEqual(read);
    expect(Object.keys(set.files("own").written)).toEqual([...Object.keys(set.shapes), "head.weight"]);
    expect(Object.entries(set.files("other", { copies: false }).written)).toEqual([
      ["model.embeddings.weight", "model.embedding.weight"], ["blocks.0.att.A", "model.layers.0.mixer.A"],
      ["blocks.0.att.out.weight", "model.layers.0.mixer.out.weight"], ["blocks.0.bias", "model.layers.0.bias"],
      ["blocks.1.att.A", "model.layers.1.mixer.A"], ["blocks.1.att.out.weight", "model.layers.1.mixer.out.weight"],
    ]);
    expect(Object.keys(set.files("third").written)).toContain("model.layers.1.mixer.o");
  });

  it("may not share a name", () => {
    expectError(() => parameterSet({ a: matrix("w", [2, 2], constantInit(1)), b: matrix("w", [2, 2], constantInit(1)) }), "E_ARGUMENT",
      /two are called w/);
    expectError(() => parameterSet({ a: matrix("w", [2, 1.5], constantInit(1)) }), "E_SHAPE", /parameter w/);
  });
});

eachDevice("parameters by specification", (device) => {
  const set = parameterSet(specs);
  it("are drawn from keys of their own, and come back as a tree whose names are checked by type", async () => {
    const drawn = set.init(key(1), device);
    const again = set.init(key(1), device);
    expect(Object.keys(drawn)).toEqual(Object.keys(set.shapes));
    for (const [name, t] of Object.entries(drawn)) expect([t.shape, await t.read()]).toEqual([set.shapes[name], await again[name]!.read()]);
    const tree = set.bind(drawn);
    const out: Tensor = tree.layers[1]!.mixer.out;
    expect(out).toBe(drawn["model.layers.1.mixer.out.weight"]);
    expect([tree.layers[0]!.bias, tree.layers[1]!.bias]).toEqual([drawn["model.layers.0.bias"], null]);
    // @ts-expect-error -- no parameter is called so
    expect(tree.layers[0]!.mixer.inn).toBeUndefined();
    const a = [...(await tree.layers[0]!.mixer.a.read())];
    expect(a.map(Math.floor)).toEqual([0, 1, 2]);
    expect(Math.max(...(await out.read()).map(Math.abs))).toBeLessThanOrEqual(0.5);
    const { "model.layers.0.bias": _, ...rest } = drawn;
    expectError(() => set.bind(rest), "E_WEIGHTS", /model\.layers\.0\.bias is missing/);
    dispose([drawn, again]);
  });

  it("that have no room together are refused before any is made", async () => {
    const small = await open(device.kind, { fallback: true, memoryLimit: 4096 });
    const large = parameterSet(stack("layers", 40, () => ({ w: parameter("w", [8, 8], { init: () => expect.fail("made one") }) })));
    expectError(() => large.init(key(1), small), "E_MEMORY",
      /^parameters: the model's 2,560 take 0\.0102 MB, and tensors may hold 0\.0041 MB on \w+, of which 0 MB are taken; choose a smaller/);
    small.close();
  });
});
