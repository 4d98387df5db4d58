import { afterAll, describe, expect, it } from "vitest";
import { devices, open } from "../../open";
import { scope, tensor } from "../../tensor";
import { zeros } from "../../ops/memory";
import { testRandom } from "../../testing";
import type { WebGpuDevice } from ".";
import { program } from "./program";
import { floatBits, SOFT_FLOAT, softLiteral } from "./softFloat";

const listing = (await devices({ fallback: true })).find(({ name }) => name === "webgpu")!;
if (!listing.available) console.warn(`tests of integer float32 arithmetic do not run: ${listing.reason}`);

const floatOf = (bits: number): number => new Float32Array(Uint32Array.of(bits).buffer)[0]!;

const FRACTIONS = [0, 1, 2, 3, 0x3fffff, 0x400000, 0x400001, 0x7ffffe, 0x7fffff];
/** Finite numbers of both signs around every place where rounding changes: zeros, denormals, powers of two, the largest. */
const SPECIAL = [0, 1, 2, 24, 25, 103, 104, 126, 127, 128, 150, 151, 252, 253, 254].flatMap((exponent) =>
  FRACTIONS.flatMap((fraction) => [floatOf((exponent << 23) | fraction), -floatOf((exponent << 23) | fraction)]));
const NUMBERS = SPECIAL.concat(randomBits(1, 4000).map(floatOf).filter(Number.isFinite));
/** Every special number with every other, and random pairs: far from each other, and close, where digits cancel. */
const PAIRS: [number, number][] = [
  ...SPECIAL.flatMap((a) => SPECIAL.map((b): [number, number] => [a, b])),
  ...NUMBERS.map((a, i): [number, number] => [a, NUMBERS[(i * 7 + 3) % NUMBERS.length]!]),
  ...NUMBERS.map((a, i): [number, number] => [a, -floatOf(floatBits(a) + ((i % 61) - 30))]),
  ...NUMBERS.map((a, i): [number, number] => [a, Math.fround(a * floatOf(((100 + (i % 50)) << 23) | (i * 2097)))]),
].filter((pair) => pair.every(Number.isFinite));

function randomBits(seed: number, count: number): number[] {
  const next = testRandom(seed);
  return Array.from({ length: count }, () => Math.floor(next() * 2 ** 32));
}

describe.skipIf(!listing.available)("float32 arithmetic in integers", async () => {
  const device = listing.available ? ((await open("webgpu", { fallback: true })) as WebGpuDevice) : (undefined as never);
  afterAll(() => device?.close());

  /** The bits that an expression of the bits `x` and `y` gives for each pair. */
  async function compute(expression: string, pairs: readonly (readonly [number, number])[]): Promise<Uint32Array> {
    const kernel = program({
      name: "softFloat", reads: { a: "u32", b: "u32" }, writes: { out: "u32" }, params: { size: "u32" }, workgroup: 64,
      code: `${SOFT_FLOAT}
fn run(group: u32, lane: u32) {
  let at = group * WORKGROUP + lane;
  if (at >= params.size) { return; }
  let x = a[at];
  let y = b[at];
  out[at] = ${expression};
}`,
    });
    const out = scope(() => {
      const [a, b] = [0, 1].map((side) => tensor(device, pairs.map((pair) => pair[side]!)));
      const result = zeros(device, [pairs.length]);
      device.launcher.run(kernel, { a, b, out: result }, { size: pairs.length }, Math.ceil(pairs.length / 64));
      return result;
    });
    const numbers = await out.read();
    out.dispose();
    return new Uint32Array(numbers.buffer, numbers.byteOffset, pairs.length);
  }

  async function expectBits(expression: string, pairs: readonly (readonly [number, number])[],
    f: (a: number, b: number) => number): Promise<void> {
    const got = await compute(expression, pairs);
    const wrong = pairs.findIndex(([a, b], i) => got[i] !== floatBits(f(a, b)));
    const [a, b] = pairs[wrong] ?? [0, 0];
    expect(wrong, `${expression} of ${a} and ${b} is ${floatOf(got[wrong] ?? 0)}, not ${Math.fround(f(a, b))}: place`).toBe(-1);
  }

  // A float64 sum, product, quotient or root of float32 numbers, rounded again, is the rounded exact one.
  it("adds", () => expectBits("soft_add(x, y)", PAIRS, (a, b) => a + b));
  it("multiplies", () => expectBits("soft_mul(x, y)", PAIRS, (a, b) => a * b));
  it("divides", () => expectBits("soft_div(x, y)", PAIRS.filter(([, b]) => b !== 0 && floatBits(b) % 2 ** 31 !== 0), (a, b) => a / b));
  it("takes roots", () => expectBits("soft_sqrt(x)", NUMBERS.filter((a) => a >= 0 && !Object.is(a, -0)).map((a) => [a, 0]),
    (a) => Math.sqrt(a)));

  it("adds to infinity", async () => {
    const pairs = [Infinity, -Infinity].flatMap((a) => [0, 1, -3e38].flatMap((b): [number, number][] => [[a, b], [b, a]]));
    await expectBits("soft_add(x, y)", pairs, (a, b) => a + b);
  });

  it("rounds whole numbers", () =>
    expectBits("soft_rounded(0u, -24, x)", randomBits(5, 1000).map((bits) => [floatOf(bits & 0x7f7fffff), 0]),
      (a) => floatBits(a) * 2 ** -24));

  it("writes literals", () => {
    expect([softLiteral(1), softLiteral(-0), softLiteral(0.1)]).toEqual(["0x3f800000u", "0x80000000u", "0x3dcccccdu"]);
  });
});
