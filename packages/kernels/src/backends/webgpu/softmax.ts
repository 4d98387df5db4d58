/** Softmax, its gradient and argmax along rows: part of the family reduce. */
import type { Layout } from "../../ops/layout";
import type { rowKernels } from "../../ops/reduce";
import type { KernelsOf } from "../../signature";
import { Tensor } from "../../tensor";
import { elementwise } from "./elementwise";
import { type Launcher, type Part, part, rowParts } from "./launcher";
import { reduceAxis } from "./reduceAxis";
import { argmax, softmax, softmaxGradient, WORKGROUP } from "./softmaxShaders";
import { powerOfTwoFrom } from "./wgsl";

/** Numbers of a row that a lane keeps at most. */
const MOST_KEPT = 16;

/** Lanes for a row: each takes about four elements. */
const lanesOf = (width: number) => Math.min(WORKGROUP, powerOfTwoFrom(width / 4));

export const softmaxKernels = (gpu: Launcher): KernelsOf<typeof rowKernels> => ({
  softmax({ x, y, rows, width, logarithm }) {
    if (x.size === 0) return;
    if (width * 4 > gpu.maxBinding) return wideSoftmax(gpu, x, y, rows, width, logarithm);
    const program = softmax({ logarithm, subgroups: gpu.subgroups, ...shapeOf(width) });
    eachRange(gpu, rows, width, (start, count, groups) => {
      const [xs, ys] = [x, y].map((t) => part(t, start * width, count * width));
      gpu.run(program, { x: xs!, y: ys! }, { rows: count, width }, groups);
    });
  },
  softmaxGradient({ y, dy, dx, rows, width, logarithm }) {
    if (y.size === 0) return;
    if (width * 4 > gpu.maxBinding) return wideGradient(gpu, y, dy, dx, rows, width, logarithm);
    const program = softmaxGradient({ logarithm, subgroups: gpu.subgroups, ...shapeOf(width) });
    eachRange(gpu, rows, width, (start, count, groups) => {
      const [ys, dys, dxs] = [y, dy, dx].map((t) => part(t, start * width, count * width));
      gpu.run(program, { y: ys!, dy: dys!, dx: dxs! }, { rows: count, width }, groups);
    });
  },
  argmax({ x, out, rows, width }) {
    if (rows === 0) return;
    const lanes = lanesOf(width);
    if (width * 4 > gpu.maxBinding) return wideArgmax(gpu, x, out, rows, width);
    eachRange(gpu, rows, width, (start, count, groups) => {
      gpu.run(argmax({ lanes, pieces: false, subgroups: gpu.subgroups }),
        { x: part(x, start * width, count * width), out: part(out, start, count), orders: undefined },
        { rows: count, width, start: 0 }, groups);
    });
  },
});

/** Lanes for a row, and how many of its elements each keeps. */
function shapeOf(width: number): { lanes: number; kept: number } {
  const lanes = lanesOf(width);
  const each = powerOfTwoFrom(width / lanes);
  return { lanes, kept: each <= MOST_KEPT ? each : 0 };
}

/** Calls back for each range of rows that can be bound, with its number of groups. */
function eachRange(gpu: Launcher, rows: number, width: number, body: (start: number, count: number, groups: number) => void): void {
  for (const { start, count } of rowParts(rows, [width], gpu.maxBinding))
    body(start, count, Math.ceil((count * lanesOf(width)) / WORKGROUP));
}

const all = (t: Tensor): Part => part(t, 0, t.size);

/** Rows beside one number for each: the layout of both, the second stretched. */
const besideRows = (rows: number, width: number): Layout => ({ sizes: [rows, width], strides: [[width, 1], [1, 0]] });

/** Rows that can't be bound whole are put together from kernels that need not see whole rows. */
function wideSoftmax(gpu: Launcher, x: Tensor, y: Tensor, rows: number, width: number, logarithm: boolean): void {
  const { unary, binary } = elementwise(gpu);
  const layout = besideRows(rows, width);
  const column = () => Tensor.empty(x.device, [rows]);
  const [most, total, shifted, powers] = [column(), column(), Tensor.empty(x.device, [x.size]), Tensor.empty(x.device, [x.size])];
  reduceAxis(gpu, "max", all(x), all(most), { outer: rows, length: width, inner: 1 }, 1);
  binary({ op: "sub", a: x, b: most, out: shifted, layout });
  unary({ op: "exp", x: shifted, y: powers });
  reduceAxis(gpu, "sum", all(powers), all(total), { outer: rows, length: width, inner: 1 }, 1);
  if (logarithm) {
    unary({ op: "log", x: total, y: most });
    binary({ op: "sub", a: shifted, b: most, out: y, layout });
  } else binary({ op: "div", a: powers, b: total, out: y, layout });
  for (const t of [most, total, shifted, powers]) t.dispose();
}

function wideGradient(gpu: Launcher, y: Tensor, dy: Tensor, dx: Tensor, rows: number, width: number, logarithm: boolean): void {
  const { unary, binary } = elementwise(gpu);
  const layout = besideRows(rows, width);
  const whole: Layout = { sizes: [y.size], strides: [[1], [1]] };
  const [a, b, total] = [Tensor.empty(y.device, [y.size]), Tensor.empty(y.device, [y.size]), Tensor.empty(y.device, [rows])];
  if (!logarithm) binary({ op: "mul", a: dy, b: y, out: a, layout: whole });
  reduceAxis(gpu, "sum", all(logarithm ? dy : a), all(total), { outer: rows, length: width, inner: 1 }, 1);
  if (logarithm) {
    unary({ op: "exp", x: y, y: a });
    binary({ op: "mul", a, b: total, out: b, layout });
    binary({ op: "sub", a: dy, b, out: dx, layout: whole });
  } else {
    binary({ op: "sub", a: dy, b: total, out: b, layout });
    binary({ op: "mul", a: y, b, out: dx, layout: whole });
  }
  for (const t of [a, b, total]) t.dispose();
}

/** Piece by piece along each row. */
function wideArgmax(gpu: Launcher, x: Tensor, out: Tensor, rows: number, width: number): void {
  const orders = Tensor.empty(x.device, [1], "i32");
  for (let row = 0; row < rows; row++) {
    for (const { start, count } of rowParts(width, [1], gpu.maxBinding)) {
      const buffers = { x: part(x, row * width + start, count), out: part(out, row, 1), orders };
      gpu.run(argmax({ lanes: WORKGROUP, pieces: true, subgroups: gpu.subgroups }), buffers, { rows: 1, width: count, start }, 1);
    }
  }
  orders.dispose();
}
