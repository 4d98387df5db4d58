/**
 * Rotation of pairs of numbers by given angles: what rotary embedding is where the angle of a step follows from the input (Mamba-3). The
 * first 2A of a head's N numbers, biased, turn in pairs, the others stay:
 *
 *   u = x + bias      y_a = u_a cos φ - u_b sin φ      y_b = u_a sin φ + u_b cos φ
 *
 * with the angle φ_i for the pair (a, b) = (2i, 2i + 1), or (i, i + N/2) for `halves`. Heads may share what they turn: head h of H reads
 * group floor(h · G / H) of x. Several vectors of a head, R of them, turn by the same angles.
 *
 * Gradient: with v = dy turned back by φ, dx sums v over the heads of a group, dbias over the steps, and
 * dφ_i = Σ_R (dy_b y_a - dy_a y_b).
 */
import { check } from "../errors";
import { kernelsOf } from "../kernels";
import { apply, like, type Op } from "../op";
import { showShape } from "../shape";
import type { Family } from "../signature";
import type { Tensor } from "../tensor";
import { checkMultiple, checkReal, shapeCheck } from "./checks";
import { sumToShape } from "./sums";

/** `rows`: sequences times steps; `size` is even, `heads` a multiple of `groups`, 2 · `angles` at most `size`. */
const numbers = {
  rows: "size", ranks: "size", groups: "size", heads: "size", size: "size", angles: "size", halves: "flag",
} as const;

export const turnKernels = {
  turn: {
    numbers,
    reads: { x: "[rows,ranks,groups,size]", bias: "[ranks,heads,size]?", angle: "[rows,heads,angles]" },
    writes: { y: "[rows,ranks,heads,size]" },
  },
  /** `back`: dy turned back. */
  turnGradient: {
    numbers,
    reads: { angle: "[rows,heads,angles]", y: "[rows,ranks,heads,size]", dy: "[rows,ranks,heads,size]" },
    writes: { back: "[rows,ranks,heads,size]", dangle: "[rows,heads,angles]" },
  },
} as const satisfies Family;

const kernels = kernelsOf<typeof turnKernels>;

interface TurnAttributes {
  readonly halves: boolean;
}

type TurnInputs = { readonly x: Tensor; readonly bias: Tensor | null; readonly angle: Tensor };

function sizesOf({ x, angle }: TurnInputs) {
  const [batch, time, ranks, groups, size] = x.shape as [number, number, number, number, number];
  const [, , heads, angles] = angle.shape as [number, number, number, number];
  return { batch, time, rows: batch * time, ranks, groups, heads, size, angles };
}

function checkTurn(given: TurnInputs): void {
  const { x, bias, angle } = given;
  checkReal("turn", { x, bias, angle });
  check(x.shape.length === 5 && x.shape[4]! % 2 === 0, "E_SHAPE", () => `turn: x ${showShape(x.shape)} must be [B,T,R,G,N] with an even N`);
  const { batch, time, ranks, groups, heads, size, angles } = sizesOf(given);
  check(angle.shape.length === 4 && angle.shape[0] === batch && angle.shape[1] === time && 2 * angles <= size, "E_SHAPE", () =>
    `turn: angle ${showShape(angle.shape)} must be [B,T,H,A] with the B and T of x ${showShape(x.shape)} and A at most N/2`);
  checkMultiple("turn", heads, "heads", groups, "groups", { x, angle });
  shapeCheck("turn", { x, angle })("bias", bias, [ranks, heads, size]);
}

const turnOp: Op<TurnInputs, { y: Tensor }, TurnAttributes> = {
  name: "turn",
  optional: ["bias"],
  outputs(given) {
    checkTurn(given);
    const { batch, time, ranks, heads, size } = sizesOf(given);
    return { y: { shape: [batch, time, ranks, heads, size], dtype: given.x.dtype } };
  },
  forward(given, { y }, { halves }) {
    if (y.size > 0) kernels(y).turn({ ...given, ...sizesOf(given), halves, y });
  },
  gradient({ inputs: given, outputs: { y }, attributes: { halves }, wanted }, { y: dy }) {
    const { x, bias, angle } = given;
    const sizes = sizesOf(given);
    const { batch, time, ranks, groups, heads, size } = sizes;
    const [back, dangle] = [like(y), like(angle)];
    if (y.size > 0) kernels(y).turnGradient({ angle, y, dy, back, dangle, ...sizes, halves });
    const summed = (shape: readonly number[], target: readonly number[], result: Tensor): Tensor => {
      const view = back.window(shape);
      const sum = sumToShape(view, target, 1);
      view.dispose();
      const shaped = sum.window(result.shape);
      sum.dispose();
      return shaped;
    };
    const rows = batch * time;
    const gradients = {
      x: wanted.x ? summed([rows * ranks, groups, heads / groups, size], [rows * ranks, groups, 1, size], x) : null,
      bias: bias && wanted.bias ? summed([rows, ranks * heads * size], [1, ranks * heads * size], bias) : null,
      angle: dangle,
    };
    back.dispose();
    return gradients;
  },
};

/**
 * Turns pairs of numbers by angles: x [B,T,R,G,N] with an even N, bias [R,H,N] or null, angle [B,T,H,A] in radians with A at most N/2 ->
 * x + bias, turned, [B,T,R,H,N]; head h has group floor(h · G / H). The i-th pair is (2i, 2i + 1), or (i, i + N/2) with `halves`; numbers
 * beyond the A pairs stay. All inputs are differentiable. Angles should be reduced to a few turns, as `cumulativeSum` with a modulo
 * does: a large float has no digits left for where in the turn it stands. Throws `E_SHAPE`, `E_DTYPE`.
 */
export function turn(given: { x: Tensor; bias?: Tensor | null; angle: Tensor }, options: { halves?: boolean } = {}): Tensor {
  const { x, bias = null, angle } = given;
  return apply(turnOp, { x, bias, angle }, { halves: options.halves ?? false }).y;
}
