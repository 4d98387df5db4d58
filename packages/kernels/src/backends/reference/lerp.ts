/** The mixes as their definition says: see ops/lerp.ts. */
import type { lerpKernels } from "../../ops/lerp";
import type { KernelsOf } from "../../signature";
import { data } from "./data";

export const lerp: KernelsOf<typeof lerpKernels> = {
  lerp({ a, b, shares, extra, outputs, rows, width }) {
    const [as, bs, es] = [data(a), data(b), extra && data(extra)];
    shares.forEach((share, j) => {
      const [ss, ys] = [data(share), data(outputs[j]!)];
      for (let i = 0; i < rows * width; i++) ys[i] = as[i]! + (bs[i]! - as[i]!) * (ss[i % width]! + (es ? es[j * rows * width + i]! : 0));
    });
  },

  lerpGradient({ a, b, shares, extra, douts, da, db, dshares, dextra, rows, width }) {
    const [as, bs, es, ga, gb, ge] = [data(a), data(b), extra && data(extra), data(da), data(db), dextra && data(dextra)];
    ga.fill(0);
    gb.fill(0);
    ge?.fill(0);
    shares.forEach((share, j) => {
      const [ss, gs, gy] = [data(share), data(dshares[j]!), douts[j] && data(douts[j])];
      gs.fill(0);
      if (!gy) return;
      for (let i = 0; i < rows * width; i++) {
        const s = ss[i % width]! + (es ? es[j * rows * width + i]! : 0);
        const slope = gy[i]! * (bs[i]! - as[i]!);
        ga[i] = ga[i]! + gy[i]! * (1 - s);
        gb[i] = gb[i]! + gy[i]! * s;
        gs[i % width] = gs[i % width]! + slope;
        if (ge) ge[j * rows * width + i] = slope;
      }
    });
  },
};
