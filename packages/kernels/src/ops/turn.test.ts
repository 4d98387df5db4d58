import { describe, expect, it } from "vitest";
import { dispose, type Tensor } from "../tensor";
import { checkGradient, checkLeaks, checkSameBits, compareWithReference, eachDevice, evaluate, expectClose, expectError, host,
  type HostTensor, normals, referenceDevice, type TestFunction } from "../testing";
import { zeros } from "./memory";
import { turn } from "./turn";

const turned = (halves = false): TestFunction => (x, bias, angle) => turn({ x: x!, bias: bias!, angle: angle! }, { halves });
const unbiased: TestFunction = (x, angle) => turn({ x: x!, angle: angle! });

interface Sizes { B?: number; T: number; R?: number; G?: number; H: number; N: number; A: number }

function inputs({ B = 2, T, R = 1, G = 1, H, N, A }: Sizes, spread = 3): HostTensor[] {
  return [normals(1, [B, T, R, G, N]), normals(2, [R, H, N]), normals(3, [B, T, H, A], spread)];
}

describe("the reference rotation by angles", () => {
  it("is a complex product, of neighbours or of halves", async () => {
    const [x, bias] = [host([1, 2, 3, 4, 5, 6], [1, 1, 1, 1, 6]), host([0, 1, 0, 1, 0, 1], [1, 1, 6])];
    const angle = host([0.3, 2], [1, 1, 1, 2]);
    const of = async (halves: boolean) =>
      (await evaluate(referenceDevice, turned(halves), [x, bias, angle], { precise: true, gradients: false })).outputs[0]!;
    const pair = (a: number, b: number, phi: number) =>
      [a * Math.cos(phi) - b * Math.sin(phi), a * Math.sin(phi) + b * Math.cos(phi)] as const;
    const [phi, psi] = angle.data as [number, number];
    expectClose(await of(false), [...pair(1, 3, phi), ...pair(3, 5, psi), 5, 7], 1e-12);
    const [one, two] = [pair(1, 5, phi), pair(3, 5, psi)];
    expectClose(await of(true), [one[0], two[0], 3, one[1], two[1], 7], 1e-12);
  });

  it("has the gradient that finite differences give", async () => {
    await checkGradient(turned(), inputs({ T: 2, G: 2, H: 4, N: 6, A: 2 }));
    await checkGradient(turned(true), inputs({ T: 2, R: 2, H: 2, N: 4, A: 2 }));
    await checkGradient(unbiased, inputs({ T: 2, H: 2, N: 4, A: 1 }).toSpliced(1, 1));
  });
});

eachDevice("turn", (device) => {
  const sizes: Sizes[] = [
    { T: 1, H: 1, N: 2, A: 1 }, { T: 3, H: 2, N: 10, A: 0 }, { T: 5, R: 3, G: 2, H: 4, N: 14, A: 4 }, { T: 9, H: 3, N: 128, A: 32 },
    { T: 4, R: 4, H: 2, N: 260, A: 130 },
  ];
  it.each(sizes)("is as on the reference: %j", async (size) => {
    for (const halves of [false, true]) await compareWithReference(device, turned(halves), inputs(size), { tolerance: 1e-6 });
    await compareWithReference(device, unbiased, inputs(size).toSpliced(1, 1), { tolerance: 1e-6 });
  });

  it("is exact all around the circle, and for angles of some turns", async () => {
    const angles = Array.from({ length: 512 }, (_, i) => ((i - 64) * Math.PI) / 64);
    await compareWithReference(device, unbiased, [normals(1, [1, 512, 1, 1, 2]), host(angles.map(Math.fround), [1, 512, 1, 1])],
      { tolerance: 5e-7 });
    await compareWithReference(device, unbiased, inputs({ T: 30, H: 2, N: 8, A: 4 }, 2000).toSpliced(1, 1), { tolerance: 1e-6 });
  });

  it.skipIf(device.kind === "webgpu")("turns by large angles too", async () => {
    const angles = [65535, -65536, 65537.5, 1e6, -7e6, 1e7, 1e9, -1e20, 3e38].map(Math.fround);
    await compareWithReference(device, unbiased, [normals(1, [1, 9, 1, 1, 2]), host(angles, [1, 9, 1, 1])], { tolerance: 1e-6 });
  });

  it("passes on what is not a number", async () => {
    const { outputs } = await evaluate(device, unbiased, [host([1, 2, 3, 4], [1, 1, 1, 1, 4]), host([NaN, 0], [1, 1, 1, 2])],
      { gradients: false });
    expect(Array.from(outputs[0]!)).toEqual([NaN, NaN, 3, 4]);
  });

  it("leaves no memory behind, and takes nothing", async () => {
    await checkLeaks(device, turned(), inputs({ T: 9, H: 2, N: 6, A: 2 }));
    expect((await evaluate(device, turned(), inputs({ T: 0, H: 2, N: 6, A: 2 }))).outputs[0]!.length).toBe(0);
  });

  it("refuses what does not fit, naming it", () => {
    const [x, angle, odd, many, three, bias, whole] = [[1, 2, 1, 2, 6], [1, 2, 4, 3], [1, 2, 1, 2, 5], [1, 2, 4, 4], [1, 2, 3, 3], [4, 6]]
      .map((shape) => zeros(device, shape)).concat(zeros(device, [1, 2, 4, 3], "i32")) as Tensor[] as [Tensor, ...Tensor[]];
    expectError(() => turn({ x: odd!, angle: angle! }), "E_SHAPE", /x \[1, 2, 1, 2, 5\] must be \[B,T,R,G,N\] with an even N/);
    expectError(() => turn({ x, angle: many! }), "E_SHAPE", /angle \[1, 2, 4, 4\] must be \[B,T,H,A\]/);
    expectError(() => turn({ x, angle: three! }), "E_SHAPE", /3 heads are no multiple of 2 groups/);
    expectError(() => turn({ x, angle: angle!, bias: bias! }), "E_SHAPE", /bias \[4, 6\] must be \[1, 4, 6\]/);
    expectError(() => turn({ x, angle: whole! }), "E_DTYPE", /angle is i32/);
    dispose([x, angle, odd, many, three, bias, whole]);
  });
});

it("turn: threads change no bit", async () => {
  await checkSameBits(turned(), inputs({ T: 200, H: 4, N: 32, A: 16 }));
});
