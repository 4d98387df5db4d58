/** The mixes of ops/lerp.ts, one after the other. */
import { add, mul, sub } from "../ops/elementwise";
import { lerpOp } from "../ops/lerp";
import { reshape, slice } from "../ops/view";
import { composed } from "./form";

export const lerpForms = [
  composed(lerpOp, ["lerp", "lerpGradient"], ({ a, b, shares, extra }) => {
    const back = sub(b, a);
    const outputs = shares.map((share, j) =>
      add(a, mul(back, extra ? add(reshape(slice(extra, 0, j, j + 1), a.shape), share) : share)));
    return { outputs };
  }),
];
