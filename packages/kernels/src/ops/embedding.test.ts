import { describe, expect, it } from "vitest";
import { checkGradient, checkLeaks, checkSameBits, compareWithReference, eachDevice, evaluate, expectError, host, integers, normals,
  upload } from "../testing";
import { tensor } from "../tensor";
import { embedding, tokenTensor } from "./embedding";

const CASES = [
  { vocabulary: 5, width: 3, shape: [4] },
  { vocabulary: 1, width: 1, shape: [3, 2] },
  { vocabulary: 256, width: 65, shape: [2, 150] },
  { vocabulary: 1000, width: 32, shape: [3, 7] },
  { vocabulary: 7, width: 128, shape: [1, 1] },
];
const inputsOf = ({ vocabulary, width, shape }: (typeof CASES)[number]) =>
  [normals(1, [vocabulary, width]), integers(2, shape, 0, vocabulary)];

eachDevice("embedding", (device) => {
  it("picks rows, and adds up the gradients of repeated tokens", async () => {
    for (const one of CASES) {
      const inputs = inputsOf(one);
      await compareWithReference(device, embedding, inputs, { tolerance: 2e-6 });
      const { outputs, shapes } = await evaluate(device, embedding, inputs, { gradients: false });
      const rows = inputs[1]!.data.flatMap((token) => inputs[0]!.data.slice(token * one.width, (token + 1) * one.width));
      expect(Array.from(outputs[0]!)).toEqual(rows);
      expect(shapes[0]).toEqual([...one.shape, one.width]);
    }
  });

  it("takes no tokens, and rows of no width", async () => {
    const none = await evaluate(device, embedding, [normals(1, [5, 3]), integers(1, [0], 0, 5)]);
    expect(none.outputs[0]).toHaveLength(0);
    expect(Array.from(none.gradients[0]!)).toEqual(new Array(15).fill(0));
    const narrow = await evaluate(device, embedding, [normals(1, [5, 0]), integers(1, [4], 0, 5)]);
    expect(narrow.shapes[0]).toEqual([4, 0]);
  });

  it("reads nothing out of bounds when tokens that nobody checked are out of range", async () => {
    const weight = host([1, 2, 3], [3, 1]);
    const wild = { data: [-1, 3, 2147483647, -2147483648, 1], shape: [5], kind: "integer" as const };
    const { outputs, gradients } = await evaluate(device, embedding, [weight, wild]);
    expect(Array.from(outputs[0]!)).toEqual([1, 3, 3, 1, 2]);
    expect(gradients[0]).toHaveLength(3);
  });

  it("leaves no memory behind", async () => {
    await checkLeaks(device, embedding, inputsOf(CASES[2]!));
  });

  it("checks tokens when they are uploaded", async () => {
    const t = tokenTensor(device, [0, 4, 2, 1], [2, 2], 5);
    expect(Array.from(await t.read())).toEqual([0, 4, 2, 1]);
    t.dispose();
    for (const bad of [5, -1, 0.5, NaN])
      expectError(() => tokenTensor(device, [1, bad], [2], 5), "E_ARGUMENT", new RegExp(`id ${bad} at place 1`));
    expectError(() => tokenTensor(device, [1, 2, 3], [2], 5), "E_SHAPE", /3 ids/);
  });

  it("refuses wrong shapes and types", () => {
    const tokens = () => tensor(device, [0], [1], "i32");
    expectError(() => embedding(upload(device, normals(1, [6])), tokens()), "E_SHAPE", /\[vocabulary, width\]/);
    expectError(() => embedding(upload(device, normals(1, [2, 3])), upload(device, normals(1, [2]))), "E_DTYPE", /tokens are f32/);
    expectError(() => embedding(upload(device, integers(1, [2, 3], 0, 2)), tokens()), "E_DTYPE", /weight is i32/);
    expectError(() => embedding(upload(device, normals(1, [0, 3])), tokens()), "E_SHAPE", /no rows/);
  });
});

describe("gradient of embedding", () => {
  it("agrees with finite differences", async () => {
    for (const one of CASES) await checkGradient(embedding, inputsOf(one), { samples: 20 });
  });
});

describe("embedding kernels", () => {
  it("give the same bits for any number of threads, on every instruction set", async () => {
    for (const one of CASES) await checkSameBits(embedding, inputsOf(one), { tolerance: 2e-6 });
    await checkSameBits(embedding, [normals(1, [300, 33]), integers(2, [5000], 0, 300)], { tolerance: 5e-6 });
  });
});
