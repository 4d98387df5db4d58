import type { embeddingKernels } from "../../ops/embedding";
import type { ArgumentsOf, KernelsOf } from "../../signature";
import { Tensor } from "../../tensor";
import { BLOCK, eachOf, embeddingGradient, embeddingRows, RANGE, tokenBlocks, WORKGROUP } from "./embeddingShaders";
import { storedAs } from "./half";
import { type Launcher, part, rowParts, type RowRange } from "./launcher";
import { memory } from "./memory";
import { reduceAxis } from "./reduceAxis";
import { powerOfTwoFrom } from "./wgsl";

type GradientArgs = ArgumentsOf<typeof embeddingKernels.embeddingGradient>;

/** With more rows than this, most of them have few tokens or none, and it pays to know first in which blocks those are. */
const MANY_ROWS = 1024;
/** Groups that fill a large GPU, and blocks after which a row's tokens go to another group, since a few tokens may be most of a text. */
const MANY_GROUPS = 1024;
const MANY_BLOCKS = 8;

export const embedding = (gpu: Launcher): KernelsOf<typeof embeddingKernels> => ({
  embedding({ weight, tokens, out, count, width, vocabulary }) {
    if (out.size === 0) return;
    const vector = width % 4 === 0;
    const unit = vector ? 4 : 1;
    for (const rows of rowParts(vocabulary, [width], gpu.maxBinding)) {
      for (const range of rowParts(count, [width], gpu.maxBinding)) {
        gpu.run(
          embeddingRows({ vector, stored: storedAs(weight, gpu) }),
          {
            weight: part(weight, rows.start * width, rows.count * width),
            tokens: part(tokens, range.start, range.count),
            out: part(out, range.start * width, range.count * width),
          },
          { count: range.count, width: width / unit, vocabulary, first: rows.start, rows: rows.count },
          Math.ceil((range.count * width) / (unit * eachOf(vector) * WORKGROUP)),
        );
      }
    }
  },
  embeddingGradient(args) {
    const { dweight, count, width, vocabulary } = args;
    if (dweight.size === 0) return;
    if (count === 0) return memory(gpu).fill({ out: dweight, value: 0 });
    const ranges = rowParts(count, [width], gpu.maxBinding);
    const rowRanges = rowParts(vocabulary, [width], gpu.maxBinding);
    if (vocabulary > MANY_ROWS || ranges.length > 1 || rowRanges.length > 1) {
      for (const rows of rowRanges) for (const range of ranges) gradientOf(gpu, args, rows, range);
    } else gradientInPieces(gpu, args);
  },
});

/** Columns of a group, in units of the shader: wide ones where there are rows enough for many groups. */
const columnsOf = (units: number, vocabulary: number) => Math.min(powerOfTwoFrom(units), vocabulary > MANY_ROWS ? 64 : 16);

/** Few rows: their tokens are cut into pieces where there are many, and the pieces' sums added up in a second pass. */
function gradientInPieces(gpu: Launcher, { tokens, dy, dweight, count, width, vocabulary }: GradientArgs): void {
  const vector = width % 4 === 0;
  const units = vector ? width / 4 : width;
  const columns = columnsOf(units, vocabulary);
  const groups = vocabulary * Math.ceil(units / columns);
  const blocks = Math.ceil(count / BLOCK);
  const wanted = Math.max(Math.ceil(blocks / MANY_BLOCKS), Math.ceil(MANY_GROUPS / groups));
  // The sums of the pieces must stay small beside dy.
  const perPiece = Math.ceil(blocks / Math.max(1, Math.min(wanted, Math.ceil(blocks / 2), Math.floor(count / (4 * vocabulary)))));
  const pieces = Math.ceil(blocks / perPiece);
  const out = pieces === 1 ? dweight : Tensor.empty(dweight.device, [pieces, vocabulary, width]);
  const params = { count, width: units, vocabulary, first: 0, rows: vocabulary, per_piece: perPiece, words: 0, onto: 0 };
  gpu.run(embeddingGradient({ columns, vector, sparse: false }), { tokens, dy, blocks: undefined, out }, params, pieces * groups);
  if (pieces === 1) return;
  reduceAxis(gpu, "sum", part(out, 0, out.size), part(dweight, 0, dweight.size),
    { outer: 1, length: pieces, inner: vocabulary * width }, 1);
  out.dispose();
}

/** Some rows and some tokens: which blocks of tokens each row appears in, then the sums, onto those of earlier tokens. */
function gradientOf(gpu: Launcher, { tokens, dy, dweight, width, vocabulary }: GradientArgs, rows: RowRange, range: RowRange): void {
  const vector = width % 4 === 0;
  const units = vector ? width / 4 : width;
  const columns = columnsOf(units, vocabulary);
  const words = Math.ceil(range.count / (32 * BLOCK));
  const blocks = Tensor.empty(dweight.device, [rows.count, words], "i32");
  const given = part(tokens, range.start, range.count);
  const shared = { count: range.count, vocabulary, first: rows.start, rows: rows.count, words };
  gpu.run(tokenBlocks, { tokens: given, blocks }, shared, words * Math.ceil(rows.count / RANGE));
  gpu.run(
    embeddingGradient({ columns, vector, sparse: true }),
    {
      tokens: given,
      dy: part(dy, range.start * width, range.count * width),
      blocks,
      out: part(dweight, rows.start * width, rows.count * width),
    },
    { ...shared, width: units, per_piece: 0, onto: Number(range.start > 0) },
    rows.count * Math.ceil(units / columns),
  );
  blocks.dispose();
}
