/** The rotation as its definition says: see ops/turn.ts. */
import type { turnKernels } from "../../ops/turn";
import type { KernelsOf } from "../../signature";
import { data } from "./data";

/** The places of all pairs of a head: those that turn come first. */
function pairs(size: number, halves: boolean): [number, number][] {
  return Array.from({ length: size / 2 }, (_, i) => (halves ? [i, i + size / 2] : [2 * i, 2 * i + 1]));
}

export const turn: KernelsOf<typeof turnKernels> = {
  turn({ x, bias, angle, y, rows, ranks, groups, heads, size, angles, halves }) {
    const [xs, biases, turns, ys] = [data(x), bias && data(bias), data(angle), data(y)];
    for (let row = 0; row < rows; row++) {
      for (let r = 0; r < ranks; r++) {
        for (let h = 0; h < heads; h++) {
          const from = ((row * ranks + r) * groups + Math.floor((h * groups) / heads)) * size;
          const biasFrom = (r * heads + h) * size;
          const to = ((row * ranks + r) * heads + h) * size;
          const biased = (i: number) => xs[from + i]! + (biases ? biases[biasFrom + i]! : 0);
          pairs(size, halves).forEach(([a, b], i) => {
            const phi = i < angles ? turns[(row * heads + h) * angles + i]! : 0;
            ys[to + a] = biased(a) * Math.cos(phi) - biased(b) * Math.sin(phi);
            ys[to + b] = biased(a) * Math.sin(phi) + biased(b) * Math.cos(phi);
          });
        }
      }
    }
  },
  turnGradient({ angle, y, dy, back, dangle, rows, ranks, heads, size, angles, halves }) {
    const [turns, ys, dys, backs, dturns] = [data(angle), data(y), data(dy), data(back), data(dangle)];
    dturns.fill(0);
    for (let row = 0; row < rows; row++) {
      for (let r = 0; r < ranks; r++) {
        for (let h = 0; h < heads; h++) {
          const at = ((row * ranks + r) * heads + h) * size;
          pairs(size, halves).forEach(([a, b], i) => {
            const place = (row * heads + h) * angles + i;
            const phi = i < angles ? turns[place]! : 0;
            const [da, db] = [dys[at + a]!, dys[at + b]!];
            backs[at + a] = da * Math.cos(phi) + db * Math.sin(phi);
            backs[at + b] = db * Math.cos(phi) - da * Math.sin(phi);
            if (i < angles) dturns[place] = dturns[place]! + db * ys[at + a]! - da * ys[at + b]!;
          });
        }
      }
    }
  },
};
