/** The rotation as its definition says: see ops/rope.ts. */
import { ROPE_BLOCK, type ropeKernels } from "../../ops/rope";
import type { KernelsOf } from "../../signature";
import { data } from "./data";

export const rope: KernelsOf<typeof ropeKernels> = {
  rope({ x, table, out, batch, time, heads, headSize, back }) {
    const [xs, angles, ys] = [data(x), data(table), data(out)];
    const half = headSize / 2;
    const fineRows = Math.min(time, ROPE_BLOCK);
    for (let row = 0; row < batch * time; row++) {
      const t = row % time;
      const fine = (t % ROPE_BLOCK) * headSize;
      const coarse = (fineRows + Math.floor(t / ROPE_BLOCK)) * headSize;
      for (let i = 0; i < half; i++) {
        const [c1, s1, c2, s2] = [angles[fine + i]!, angles[fine + half + i]!, angles[coarse + i]!, angles[coarse + half + i]!];
        const cosine = c1 * c2 - s1 * s2;
        const sine = (s1 * c2 + c1 * s2) * (back ? -1 : 1);
        for (let h = 0; h < heads; h++) {
          const at = (row * heads + h) * headSize + i;
          const [a, b] = [xs[at]!, xs[at + half]!];
          ys[at] = a * cosine - b * sine;
          ys[at + half] = b * cosine + a * sine;
        }
      }
    }
  },
};
