import type { ReduceKernels } from "../../ops/reduce";
import type { Launch } from "./launch";

export const reduce = (launch: Launch): ReduceKernels => ({
  reduceSum({ x, out, outer, length, inner, scale }) {
    launch("reduceSum", [x, out], [outer, length, inner, scale]);
  },
  reduceMax({ x, out, outer, length, inner }) {
    launch("reduceMax", [x, out], [outer, length, inner]);
  },
  softmax({ x, y, rows, width, logarithm }) {
    launch("softmax", [x, y], [rows, width, logarithm ? 1 : 0]);
  },
  softmaxGradient({ y, dy, dx, rows, width, logarithm }) {
    launch("softmaxGradient", [y, dy, dx], [rows, width, logarithm ? 1 : 0]);
  },
  argmax({ x, out, rows, width }) {
    launch("argmax", [x, out], [rows, width]);
  },
});
