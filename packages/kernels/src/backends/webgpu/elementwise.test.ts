import { afterAll, describe, expect, it } from "vitest";
import { devices, open } from "../../open";
import { add, div, equal, exp, mul, neg, scale, sigmoid, silu, softplus, square, sub, tanh } from "../../ops/elementwise";
import { dispose, tensor } from "../../tensor";
import { zeros } from "../../ops/memory";
import { compareWithReference, evaluate, normals, uniforms, kernelsIn } from "../../testing";
import { boxes } from "./nest";

const listing = (await devices({ fallback: true })).find(({ name }) => name === "webgpu")!;
if (!listing.available) console.warn(`tests of elementwise functions on webgpu do not run: ${listing.reason}`);

const UNARY = { neg, exp, square, sigmoid, silu, softplus, tanh };
const BINARY = { add, sub, mul, div };
/** Shapes over the small bindings of `narrow`, every way to stretch them, and tails of vectors of four. */
const PAIRS: readonly (readonly [readonly number[], readonly number[]])[] = [
  [[1000], [1000]],
  [[1001], []],
  [[300, 4], [4]],
  [[50, 33], [50, 1]],
  [[1, 400], [3, 1]],
  [[900, 1], [1, 5]],
  [[2, 1, 30, 12], [40, 1, 12]],
  [[3, 1, 5, 1, 7], [1, 4, 1, 6, 7]],
];

describe.skipIf(!listing.available)("elementwise functions on webgpu", async () => {
  const openHere = (webgpu = {}) => (listing.available ? open("webgpu", { fallback: true, webgpu }) : (undefined as never));
  const device = await openHere();
  const narrow = await openHere({ maxBinding: 1024, features: [], defaultLimits: true });
  afterAll(() => [device, narrow].forEach((d) => d?.close()));

  it("bind what is too large in parts", async () => {
    for (const [name, f] of Object.entries(UNARY)) await compareWithReference(narrow, f, [normals(1, [name === "exp" ? 1000 : 999], 2)]);
    for (const f of Object.values(BINARY)) for (const [a, b] of PAIRS)
      await compareWithReference(narrow, f, [normals(1, a), uniforms(2, b, 0.5, 2)], { tolerance: 2e-5 });
  });

  it("broadcast over five axes, and by vectors", async () => {
    for (const f of Object.values(BINARY)) for (const [a, b] of PAIRS)
      await compareWithReference(device, f, [normals(1, a), uniforms(2, b, 0.5, 2)], { tolerance: 2e-5 });
  });

  it("take one dispatch each", async () => {
    const before = device.counts!().dispatches;
    const inputs = [normals(1, [2, 30, 12]), normals(2, [12])];
    await evaluate(device, (a, b) => [...Object.values(UNARY).map((f) => f(a)), ...Object.values(BINARY).map((f) => f(a, b)), scale(a, 3)],
      inputs, { gradients: false });
    expect(device.counts!().dispatches - before).toBe(7 + 4 + 1);
  });

  it("take windows that begin anywhere, and leave what lies around them", async () => {
    for (const [start, size] of [[4, 64], [7, 50], [65, 3], [128, 40]] as const) {
      const all = tensor(device, Array.from({ length: 200 }, (_, i) => i));
      const out = zeros(device, [200]);
      const [x, y] = [all.window([size], start), out.window([size], start + 5)];
      kernelsIn(device).affine({ x, y, scale: 2, shift: 1 });
      expect(Array.from(await out.read()))
        .toEqual(Array.from({ length: 200 }, (_, i) => (i >= start + 5 && i < start + 5 + size ? 2 * (i - 5) + 1 : 0)));
      dispose([all, out, x, y]);
    }
  });

  it("tell the smallest numbers apart, and 0 from none", async () => {
    const [a, b] = [[1e-45, 0, 1e-40, -1e-40, NaN, Infinity, -Infinity, 0], [0, -0, 1e-40, 1e-40, NaN, Infinity, Infinity, 1]];
    const expected = [0, 1, 1, 0, 0, 1, 0, 0];
    for (const size of [8, 7]) {
      const [x, y] = [tensor(device, a.slice(0, size)), tensor(device, b.slice(0, size))];
      const same = equal(x, y);
      expect(Array.from(await same.read())).toEqual(expected.slice(0, size));
      dispose([x, y, same]);
    }
  });
});

describe("boxes of a loop nest", () => {
  it("cover every step once, and no operand reaches too far", () => {
    const layouts = [
      { sizes: [1000], strides: [[1], [0], [1]] },
      { sizes: [40, 50], strides: [[1, 40], [50, 1]] },
      { sizes: [7, 30, 11], strides: [[0, 11, 1], [1, 77, 7], [330, 11, 1]] },
    ];
    for (const layout of layouts) {
      const places = (of: typeof layout, starts: readonly number[]) => {
        let list = [[...starts]];
        of.sizes.forEach((size, axis) => {
          list = list.flatMap((at) => Array.from({ length: size }, (_, i) => at.map((place, k) => place + i * of.strides[k]![axis]!)));
        });
        return list;
      };
      const cut = boxes(layout, 192);
      for (const { extents } of cut) expect(Math.max(...extents)).toBeLessThanOrEqual(192);
      const seen = cut.flatMap((box) => {
        const own = places({ sizes: [...box.sizes], strides: box.strides.map((s) => [...s]) }, box.starts);
        own.forEach((at) => at.forEach((place, k) => expect(place - box.starts[k]!).toBeLessThan(box.extents[k]!)));
        return own;
      });
      expect(seen.map(String).toSorted()).toEqual(places(layout, layout.strides.map(() => 0)).map(String).toSorted());
    }
    expect(boxes(layouts[1]!, 2000)).toHaveLength(1);
  });
});
