/** Plans the reduction of one axis: long ones in two passes, and what is too large to be bound piece by piece. */
import { Tensor } from "../../tensor";
import { type Launcher, type Part, part, rowParts } from "./launcher";
import { MOST_COLUMNS, reduceColumns, type Reduction, reduceRows, WORKGROUP } from "./reduceShaders";
import { view } from "./view";
import { powerOfTwoFrom } from "./wgsl";

interface Sizes {
  readonly outer: number;
  readonly length: number;
  readonly inner: number;
}

/** Groups that fill a large GPU. */
const MANY_GROUPS = 512;
/** Numbers of a row that one group reduces at once, and that each takes when a long row is cut. */
const LONG_ROW = 16384;
const ROW_BLOCK = 4096;
/** Rows above each other that one group takes at least, and at most where that many blocks are allowed. */
const COLUMN_BLOCK = 64;
const TALL_COLUMN = 2048;
const MOST_BLOCKS = 512;

const between = (low: number, value: number, high: number) => Math.max(low, Math.min(value, high));

/** Into how many blocks the length is cut; by the sizes alone, so that the sum's order is fixed. */
function blocksOf({ outer, length, inner }: Sizes, tiles: number): number {
  if (inner === 1) {
    if (length <= LONG_ROW) return 1;
    return between(2, Math.max(Math.ceil(MANY_GROUPS / outer), Math.ceil(length / (4 * LONG_ROW))),
      Math.min(Math.ceil(length / ROW_BLOCK), MOST_BLOCKS));
  }
  const wanted = Math.max(Math.ceil(MANY_GROUPS / (outer * tiles)), Math.ceil(length / TALL_COLUMN));
  return between(1, wanted, Math.min(Math.ceil(length / COLUMN_BLOCK), MOST_BLOCKS));
}

/** One launch on what can be bound: x [outer, length, inner] -> out [outer, blocks, inner]. */
function launch(gpu: Launcher, kind: Reduction, x: Part, out: Part, { outer, length, inner }: Sizes, block: number, blocks: number,
  scale: number): void {
  const params = { outer, length, inner, block, blocks, scale };
  if (inner === 1) {
    const vector = length % 4 === 0 && (blocks === 1 || block % 4 === 0);
    const lanes = Math.min(WORKGROUP, powerOfTwoFrom(Math.min(block, length) / (vector ? 16 : 4)));
    const subgroups = gpu.subgroups && lanes === WORKGROUP;
    return gpu.run(reduceRows({ kind, lanes, vector, subgroups }), { x, out }, params, Math.ceil((outer * blocks * lanes) / WORKGROUP));
  }
  const vector = inner % 4 === 0;
  const across = vector ? inner / 4 : inner;
  const columns = Math.min(MOST_COLUMNS, powerOfTwoFrom(across));
  gpu.run(reduceColumns({ kind, columns, vector }), { x, out }, { ...params, inner: across }, outer * blocks * Math.ceil(across / columns));
}

/** Reduces what can be bound at once: long axes in two passes, the first of which leaves one result per block. */
function reduceBound(gpu: Launcher, kind: Reduction, x: Part, out: Part, sizes: Sizes, scale: number): void {
  const { outer, length, inner } = sizes;
  const blocks = blocksOf(sizes, Math.ceil(inner / (MOST_COLUMNS * (inner % 4 === 0 ? 4 : 1))));
  if (blocks === 1) return launch(gpu, kind, x, out, sizes, length, 1, scale);
  const block = Math.ceil(length / blocks / 4) * 4;
  const count = Math.ceil(length / block);
  const partials = Tensor.empty(x.tensor.device, [outer, count, inner]);
  const all = part(partials, 0, partials.size);
  launch(gpu, kind, x, all, sizes, block, count, 1);
  launch(gpu, kind, all, out, { outer, length: count, inner }, count, 1, scale);
  partials.dispose();
}

/**
 * out [outer, inner] = x [outer, length, inner] reduced over a length of at least 1, a sum times `scale`. What is too large to
 * be bound goes piece by piece, whose results are reduced in turn.
 */
export function reduceAxis(gpu: Launcher, kind: Reduction, x: Part, out: Part, sizes: Sizes, scale: number): void {
  const { outer, length, inner } = sizes;
  const slab = length * inner;
  const most = gpu.maxBinding / 4;
  const at = (t: Part, start: number, count: number) => part(t.tensor, t.start + start, count);
  if (slab <= most) {
    for (const { start, count } of rowParts(outer, [slab, inner], gpu.maxBinding)) {
      reduceBound(gpu, kind, at(x, start * slab, count * slab), at(out, start * inner, count * inner),
        { outer: count, length, inner }, scale);
    }
    return;
  }
  for (let i = 0; i < outer; i++) {
    const row = { x: at(x, i * slab, slab), out: at(out, i * inner, inner) };
    if (2 * inner <= most) reduceTall(gpu, kind, row.x, row.out, { outer: 1, length, inner }, scale);
    else reduceWide(gpu, kind, row.x, row.out, { outer: 1, length, inner }, scale);
  }
}

/** [1, length, inner] of which some rows can be bound, but not all at once: one result per range of rows, then those. */
function reduceTall(gpu: Launcher, kind: Reduction, x: Part, out: Part, { length, inner }: Sizes, scale: number): void {
  const pieces = rowParts(length, [inner], gpu.maxBinding);
  const partials = Tensor.empty(x.tensor.device, [pieces.length, inner]);
  pieces.forEach(({ start, count }, i) => {
    reduceBound(gpu, kind, part(x.tensor, x.start + start * inner, count * inner), part(partials, i * inner, inner),
      { outer: 1, length: count, inner }, 1);
  });
  reduceAxis(gpu, kind, part(partials, 0, partials.size), out, { outer: 1, length: pieces.length, inner }, scale);
  partials.dispose();
}

/** [1, length, inner] whose rows are too wide: columns are brought together in a tensor of their own, some at a time. */
function reduceWide(gpu: Launcher, kind: Reduction, x: Part, out: Part, { length, inner }: Sizes, scale: number): void {
  const width = Math.max(1, Math.floor(gpu.maxBinding / 4 / length));
  for (let start = 0; start < inner; start += width) {
    const count = Math.min(width, inner - start);
    const columns = Tensor.empty(x.tensor.device, [length, count]);
    const layout = { sizes: [length, count], strides: [[inner, 1], [count, 1]] };
    view(gpu).copyStrided({ x: x.tensor, out: columns, xOffset: x.start + start, outOffset: 0, layout });
    reduceAxis(gpu, kind, part(columns, 0, columns.size), part(out.tensor, out.start + start, count),
      { outer: 1, length, inner: count }, scale);
    columns.dispose();
  }
}
