/** The rotation of ops/rope.ts from products with cosines and sines. */
import { add, mul, sub } from "../ops/elementwise";
import { ropeOp } from "../ops/rope";
import { concat, slice } from "../ops/view";
import { tensor } from "../tensor";
import { composed } from "./form";

export const ropeForms = [
  composed(ropeOp, ["rope"], ({ x }, { start, theta }) => {
    const [, time, , size] = x.shape as [number, number, number, number];
    const half = size / 2;
    const table = (f: (angle: number) => number) =>
      tensor(x.device, Array.from({ length: time * half }, (_, at) =>
        f((start + Math.floor(at / half)) * theta ** ((-2 * (at % half)) / size))), [time, 1, half], x.dtype);
    const [cos, sin] = [table(Math.cos), table(Math.sin)];
    const [first, second] = [slice(x, 3, 0, half), slice(x, 3, half)];
    return { out: concat([sub(mul(first, cos), mul(second, sin)), add(mul(second, cos), mul(first, sin))], 3) };
  }),
];
