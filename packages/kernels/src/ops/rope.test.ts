import { describe, expect, it } from "vitest";
import { checkGradient, checkLeaks, compareWithReference, eachDevice, evaluate, expectClose, expectError, host, type HostTensor, normals,
  referenceDevice, type TestFunction } from "../testing";
import { zeros } from "./memory";
import { rope } from "./rope";

const turn = (options: { start?: number; theta?: number } = {}): TestFunction => (x) => rope(x!, options);
const input = (T: number, H = 2, D = 8, B = 2): HostTensor[] => [normals(1, [B, T, H, D])];

describe("the reference rotation", () => {
  it("turns by position times speed", async () => {
    const [x] = input(70, 1, 6, 1);
    const { outputs } = await evaluate(referenceDevice, turn({ start: 1000, theta: 50 }), [x!], { precise: true, gradients: false });
    const expected = x!.data.map((value, at) => {
      const [t, i] = [Math.floor(at / 6), at % 6];
      const angle = (1000 + t) * 50 ** (-(i % 3) / 3);
      const other = x!.data[i < 3 ? at + 3 : at - 3]!;
      return value * Math.cos(angle) + (i < 3 ? -other : other) * Math.sin(angle);
    });
    expectClose(outputs[0]!, expected, 1e-12);
  });

  it("has the gradient that finite differences give", async () => {
    await checkGradient(turn({ start: 3 }), input(3, 2, 4));
  });
});

eachDevice("rope", (device) => {
  it.each([[1, 1, 2, 1], [5, 3, 6, 2], [64, 2, 16, 1], [65, 1, 10, 2],
    [200, 2, 80, 1]] as const)("is as on the reference: T = %i, %i heads of %i", async (T, H, D, B) => {
    await compareWithReference(device, turn(), input(T, H, D, B), { tolerance: 1e-6 });
  });

  it("is exact at far positions", async () => {
    await compareWithReference(device, turn({ start: 262_144 * 37 + 11 }), input(70), { tolerance: 1e-6 });
    await compareWithReference(device, turn({ start: -5, theta: 3 }), input(9), { tolerance: 1e-6 });
  });

  it("leaves no memory behind, and takes nothing", async () => {
    await checkLeaks(device, turn(), input(70));
    expect((await evaluate(device, turn(), [host([], [2, 0, 1, 4])])).outputs[0]!.length).toBe(0);
  });

  it("refuses what does not fit, naming it", () => {
    expectError(() => rope(zeros(device, [1, 2, 3])), "E_SHAPE", /x \[1, 2, 3\] must be \[B,T,H,D\]/);
    expectError(() => rope(zeros(device, [1, 2, 1, 3])), "E_SHAPE", /even D/);
    expectError(() => rope(zeros(device, [1, 2, 1, 4], "i32")), "E_DTYPE", /x is i32/);
    expectError(() => rope(zeros(device, [1, 2, 1, 4]), { start: 0.5 }), "E_ARGUMENT", /start 0.5/);
    expectError(() => rope(zeros(device, [1, 2, 1, 4]), { theta: 0 }), "E_ARGUMENT", /theta 0/);
  });
});
