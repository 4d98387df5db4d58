/**
 * Rotary position embedding (Su et al. 2021, "RoFormer", equation 34, with the pairs (i, i + D/2) of LLaMA). A head's pair i at
 * position p turns by the angle φ = p·theta^(-2i/D):
 *
 *   y_i = x_i cos φ - x_{i+D/2} sin φ      y_{i+D/2} = x_{i+D/2} cos φ + x_i sin φ
 *
 * so that products of two rotated vectors depend on the distance of their positions alone. Gradient: dy turned back by φ.
 *
 * Angles of far positions are large numbers, whose cosines float32 can't give. So they are computed here in float64, and
 * reach kernels as numbers of size 1: a coarse row for every 64th position and a fine row for each of the first 64, whose
 * complex product is the wanted cosine and sine.
 */
import { check } from "../errors";
import { kernelsOf } from "../kernels";
import { apply, like, type Op } from "../op";
import { showShape } from "../shape";
import type { Family } from "../signature";
import { type Tensor, tensor } from "../tensor";
import { checkReal } from "./checks";

/** Positions from one coarse row of the table to the next. */
export const ROPE_BLOCK = 64;

export const ropeKernels = {
  /**
   * `table` [min(time, 64) + ceil(time / 64), headSize]: first the fine rows, then the coarse ones; in a row first the D/2
   * cosines, then the sines. Step t takes fine row t % 64 and coarse row t / 64. `back` turns the other way.
   */
  rope: {
    numbers: { batch: "size", time: "size", heads: "size", headSize: "size", back: "flag" },
    reads: { x: "[batch,time,heads,headSize]", table: "[*]" },
    writes: { out: "[batch,time,heads,headSize]" },
  },
} as const satisfies Family;

const kernels = kernelsOf<typeof ropeKernels>;

interface RopeAttributes {
  readonly start: number;
  readonly theta: number;
}

function tableOf(x: Tensor, { start, theta }: RopeAttributes): Tensor {
  const [, time, , headSize] = x.shape as [number, number, number, number];
  const half = headSize / 2;
  const fine = Math.min(time, ROPE_BLOCK);
  const coarse = Math.ceil(time / ROPE_BLOCK);
  const data = new Float64Array((fine + coarse) * headSize);
  for (let i = 0; i < half; i++) {
    const speed = theta ** ((-2 * i) / headSize);
    for (let row = 0; row < fine + coarse; row++) {
      const position = row < fine ? row : start + (row - fine) * ROPE_BLOCK;
      data[row * headSize + i] = Math.cos(position * speed);
      data[row * headSize + half + i] = Math.sin(position * speed);
    }
  }
  return tensor(x.device, data, [fine + coarse, headSize], x.dtype);
}

function rotate(x: Tensor, out: Tensor, attributes: RopeAttributes, back: boolean): void {
  if (x.size === 0) return;
  const [batch, time, heads, headSize] = x.shape as [number, number, number, number];
  const table = tableOf(x, attributes);
  kernels(x).rope({ x, table, out, batch, time, heads, headSize, back });
  table.dispose();
}

export const ropeOp: Op<{ x: Tensor }, { out: Tensor }, RopeAttributes> = {
  name: "rope",
  outputs({ x }, { start, theta }) {
    checkReal("rope", { x });
    check(x.shape.length === 4 && x.shape[3]! % 2 === 0, "E_SHAPE", () => `rope: x ${showShape(x.shape)} must be [B,T,H,D] with an even D`);
    check(Number.isSafeInteger(start), "E_ARGUMENT", () => `rope: start ${start} must be a whole number`);
    check(Number.isFinite(theta) && theta > 0, "E_ARGUMENT", () => `rope: theta ${theta} must be above 0`);
    return { out: { shape: x.shape, dtype: x.dtype } };
  },
  forward: ({ x }, { out }, attributes) => rotate(x, out, attributes, false),
  gradient({ inputs: { x }, attributes }, { out: dout }) {
    const dx = like(x);
    rotate(dout, dx, attributes, true);
    return { x: dx };
  },
};

/**
 * Rotary position embedding: turns the pairs (i, i + D/2) of each head by position · theta^(-2i/D): x [B,T,H,D] with an even D -> the
 * same shape. Step t is at position `start` + t (0 unless given); `theta` is 10,000 unless given. Throws `E_SHAPE`, `E_DTYPE`,
 * `E_ARGUMENT`.
 */
export function rope(x: Tensor, options: { start?: number; theta?: number } = {}): Tensor {
  return apply(ropeOp, { x }, { start: options.start ?? 0, theta: options.theta ?? 10_000 }).out;
}
