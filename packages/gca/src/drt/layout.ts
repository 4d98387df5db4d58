/**
 * Where tokens and landmarks of one forward pass stand. The model reads a stream in which a landmark follows the last token of
 * each chunk:
 *
 *   t t t t L t t t t L t t L L t t     chunks of 4; the third was ended early, after two tokens, and the fourth is empty
 *
 * All rows of a batch share the layout, so that it is plain numbers on the host. Neighbouring pieces of equal shape make one
 * run, which is cut out and put together as a whole: a long text has three runs at most.
 */
import { check, concat, type Device, full, reshape, slice, tensor, type Tensor } from "@lenggen/kernels";

/** `pieces` pieces side by side, each of `tokens` tokens of this pass and, when it is closed, a landmark. */
export interface Run {
  readonly pieces: number;
  readonly tokens: number;
  readonly closed: boolean;
  /** Tokens of earlier passes that the (then single) piece goes on from. */
  readonly pending: number;
}

/** The pieces of one forward pass, in order. */
export interface Layout {
  readonly runs: readonly Run[];
  /** Places in the stream, landmarks included. */
  readonly length: number;
  /** Chunks that this pass completes, with the tokens of each. */
  readonly closed: readonly number[];
  /** Place after each landmark: where the chunks that retrieve by it begin. */
  readonly borders: readonly number[];
  /** Tokens of the running chunk at the end. */
  readonly pending: number;
}

/**
 * Cuts `tokens` new tokens into chunks of `size`, with `pending` tokens of the running chunk before them. Each of `ends` closes the
 * running chunk after so many tokens, if it holds any; a repeated one makes an empty chunk. Throws `E_ARGUMENT` for ends out of order.
 */
export function layoutOf(tokens: number, size: number, pending: number, ends: readonly number[] = []): Layout {
  ends.forEach((end, i) => check(Number.isInteger(end) && end >= 0 && end <= tokens && end >= (ends[i - 1] ?? 0), "E_ARGUMENT", () =>
    `ends: ${end} must be a whole number from ${ends[i - 1] ?? 0} to the ${tokens} tokens of this pass, in ascending order`));
  const pieces: Run[] = [];
  let [at, filled, next, justEnded] = [0, pending, 0, -1];
  for (;;) {
    while (next < ends.length && ends[next] === at) {
      // The first end at a place where no chunk runs is there already.
      if (filled > 0 || justEnded === at) {
        if (filled > 0 && lastOpen(pieces)) pieces.push({ ...pieces.pop()!, closed: true });
        else pieces.push({ pieces: 1, tokens: 0, closed: true, pending: filled });
        filled = 0;
      }
      justEnded = at;
      next++;
    }
    if (at === tokens) break;
    const stop = Math.min(at + size - filled, tokens, ends[next] ?? tokens);
    const closed = filled + stop - at === size;
    pieces.push({ pieces: 1, tokens: stop - at, closed, pending: filled });
    filled = closed ? 0 : filled + stop - at;
    at = stop;
  }
  return describe(pieces, filled);
}

const lastOpen = (pieces: readonly Run[]) => pieces.at(-1)?.closed === false;

function describe(pieces: readonly Run[], pending: number): Layout {
  const runs: Run[] = [];
  const closed: number[] = [];
  const borders: number[] = [];
  let length = 0;
  for (const piece of pieces) {
    const last = runs.at(-1);
    if (last && last.closed && piece.closed && last.pending === 0 && piece.pending === 0 && last.tokens === piece.tokens) {
      runs[runs.length - 1] = { ...last, pieces: last.pieces + 1 };
    } else runs.push(piece);
    length += slotsOf(piece);
    if (piece.closed) {
      closed.push(piece.pending + piece.tokens);
      borders.push(length);
    }
  }
  return { runs, length, closed, borders, pending };
}

/** Places that one piece takes. */
function slotsOf({ tokens, closed }: Run): number {
  return tokens + (closed ? 1 : 0);
}

/**
 * Where the rows of retrieval come into force: row i holds from place i of this list to the next. The first row is that of the pass
 * before.
 */
export function rowPlaces({ borders, length }: Layout): number[] {
  return [0, ...borders, length];
}

/** The same numbers for every row of a batch: i32 [B,n]. */
export function inEveryRow(device: Device, numbers: readonly number[], batch: number): Tensor {
  const count = numbers.length;
  return tensor(device, Array.from({ length: batch * count }, (_, i) => numbers[i % count]!), [batch, count], "i32");
}

/** Puts landmarks between tokens: [B,T] i32 -> [B,U] i32. `landmark`: the id that stands for one. */
export function withLandmarks(layout: Layout, tokens: Tensor, landmark: number): Tensor {
  const batch = tokens.shape[0]!;
  let at = 0;
  const parts = layout.runs.map((run) => {
    const width = run.pieces * run.tokens;
    const piece = reshape(cut(tokens, at, at + width), [batch, run.pieces, run.tokens]);
    at += width;
    if (!run.closed) return reshape(piece, [batch, width]);
    const marks = full(tokens.device, [batch, run.pieces, 1], landmark, "i32");
    return reshape(run.tokens === 0 ? marks : concat([piece, marks], 2), [batch, run.pieces * (run.tokens + 1)]);
  });
  return joined(parts);
}

/** One run of a stream x [B,U,D]: the tokens [B,pieces,n,D] and the landmarks [B,pieces,1,D], null where there are none. */
export interface RunParts {
  readonly run: Run;
  readonly tokens: Tensor | null;
  readonly landmarks: Tensor | null;
}

/** Takes a stream [B,U,D] apart, run by run. */
export function partsOf(layout: Layout, x: Tensor): RunParts[] {
  const [batch, , width] = x.shape as [number, number, number];
  let at = 0;
  return layout.runs.map((run) => {
    const slots = slotsOf(run);
    const piece = reshape(cut(x, at, at + run.pieces * slots), [batch, run.pieces, slots, width]);
    at += run.pieces * slots;
    if (!run.closed) return { run, tokens: piece, landmarks: null };
    return {
      run,
      tokens: run.tokens === 0 ? null : slice(piece, 2, 0, run.tokens),
      landmarks: run.tokens === 0 ? piece : slice(piece, 2, run.tokens, slots),
    };
  });
}

/** The tokens of a stream without its landmarks: [B,T,D]. */
export function tokensOf(parts: readonly RunParts[]): Tensor {
  return joined(parts.filter(({ tokens }) => tokens !== null).map(({ tokens }) => flat(tokens!)));
}

/** The landmarks of a stream: [B,chunks,D], or null when no chunk was completed. */
export function landmarksOf(parts: readonly RunParts[]): Tensor | null {
  const found = parts.filter(({ landmarks }) => landmarks !== null).map(({ landmarks }) => flat(landmarks!));
  return found.length === 0 ? null : joined(found);
}

/** [B,pieces,n,D] -> [B,pieces·n,D] */
function flat(x: Tensor): Tensor {
  const [batch, pieces, n, width] = x.shape as [number, number, number, number];
  return reshape(x, [batch, pieces * n, width]);
}

/** Joins along axis 1; one part is itself. */
export function joined(parts: readonly Tensor[]): Tensor {
  return parts.length === 1 ? parts[0]! : concat(parts, 1);
}

/** Places from ... to - 1 along axis 1; the whole is itself. */
function cut(x: Tensor, from: number, to: number): Tensor {
  return from === 0 && to === x.shape[1] ? x : slice(x, 1, from, to);
}
