/**
 * The scan of Mamba-2 by chunks of 64 steps; the programs are in ssdForward.ts, ssdGradient.ts and ssdGradientShared.ts. Dispatches,
 * where all can be bound at once: a single step 1; forward 2 for one chunk, 3 for more; gradient 3 for one chunk without states, 4 or 5
 * with them, 5 for more chunks.
 *
 * Saved for the gradient are the states at the start of each chunk, [B,chunks,H,P,N], whatever the size of chunk that was asked for; with
 * one chunk none, as the state that came in is at hand.
 */
import type { ssdKernels, SsdSizes } from "../../ops/ssd";
import type { ArgumentsOf, KernelsOf } from "../../signature";
import { Tensor } from "../../tensor";
import { type Launcher, type Part, part, rowParts } from "./launcher";
import { ssdOutputs, ssdPass, ssdStates, ssdStep } from "./ssdForward";
import { RECORD, recordQuads, ssdInputGradient, ssdScoreGradient, ssdStateGradient } from "./ssdGradient";
import { type SharedParts, ssdGradientShared } from "./ssdGradientShared";
import { CHUNK } from "./ssdTile";
import { chunksOf, SQUARE, type Unit } from "./scanUnits";
import { unitsOf } from "./ssdUnits";

type Forward = ArgumentsOf<typeof ssdKernels.ssd>;
type Gradient = ArgumentsOf<typeof ssdKernels.ssdGradient>;
type Inputs = Pick<Forward, "x" | "dt" | "a" | "b" | "c">;

/** Groups that keep a large GPU busy: fewer heads to a group where there would be less. */
const MANY_GROUPS = 256;

const tiles = (size: number): number => Math.ceil(size / 64);

/** One unit of a scan: its parts of the tensors, and the numbers that all programs take. */
class Scan {
  readonly chunks: number;
  /** Chunks and heads; chunks and groups of heads. */
  readonly rows: number;
  readonly pairs: number;
  /** Whether all rows of x and of b are whole quads. */
  readonly quads: boolean;
  readonly params: Record<"time" | "chunks" | "heads" | "headSize" | "shares" | "stateSize", number>;
  readonly #sizes: SsdSizes;
  readonly #unit: Unit;

  constructor(sizes: SsdSizes, unit: Unit) {
    this.#sizes = sizes;
    this.#unit = unit;
    this.chunks = unit.chunks;
    this.rows = unit.rows * unit.chunks * sizes.heads;
    this.pairs = unit.rows * unit.chunks * sizes.groups;
    this.quads = sizes.headSize % 4 === 0 && sizes.stateSize % 4 === 0;
    const { heads, headSize, groups, stateSize } = sizes;
    this.params = { time: unit.time, chunks: unit.chunks, heads, headSize, shares: groups, stateSize };
  }

  /** Elements of a state of all heads. */
  get state(): number {
    return this.#sizes.heads * this.#sizes.headSize * this.#sizes.stateSize;
  }

  /** The unit's part of a tensor [B,T,...] with `width` elements per step. */
  #alongSteps(t: Tensor, width: number): Part {
    const { row, rows, step, time } = this.#unit;
    return part(t, (row * this.#sizes.time + step) * width, rows * time * width);
  }
  vectors(t: Tensor): Part {
    return this.#alongSteps(t, this.#sizes.heads * this.#sizes.headSize);
  }
  scalars(t: Tensor): Part {
    return this.#alongSteps(t, this.#sizes.heads);
  }
  shared(t: Tensor): Part {
    return this.#alongSteps(t, this.#sizes.groups * this.#sizes.stateSize);
  }
  /** Of a state [B,H,P,N]. */
  states(t: Tensor): Part {
    return part(t, this.#unit.row * this.state, this.#unit.rows * this.state);
  }
  /** Of the starts [B,chunks,H,P,N] of the whole scan. */
  starts(t: Tensor): Part {
    const all = chunksOf(this.#sizes.time);
    return part(t, (this.#unit.row * all + this.#unit.step / CHUNK) * this.state, this.#unit.rows * this.chunks * this.state);
  }
  inputs({ x, dt, a, b, c }: Inputs) {
    return { x: this.vectors(x), dt: this.scalars(dt), a: this.scalars(a), b: this.shared(b), c: this.shared(c) };
  }
  /** Groups of a product with a state per chunk and head: tiles of P and N. */
  stateTiles(chunks = this.chunks): number {
    return (this.rows / Math.max(1, this.chunks)) * chunks * tiles(this.#sizes.headSize) * tiles(this.#sizes.stateSize);
  }
  /** An invocation for each element of the states of all sequences and heads (or each quad): size of one, how many, groups. */
  elements() {
    const size = (this.#sizes.headSize * this.#sizes.stateSize) / (this.quads ? 4 : 1);
    const count = this.#unit.rows * this.#sizes.heads * size;
    return { size, count, groups: Math.ceil(count / 256) };
  }
}

const whole = (t: Tensor): Part => part(t, 0, t.size);

export const ssd = (gpu: Launcher): KernelsOf<typeof ssdKernels> => {
  /** exp of each chunk's sum of decays, and where asked the scores. For {@link states} and what follows. */
  function states(scan: Scan, inputs: Inputs,
    target: { out: Part; state: Part | null; work: Tensor; only: boolean; scores: boolean }): void {
    const { out, state, work, only } = target;
    const stateTiles = scan.stateTiles();
    gpu.run(
      ssdStates({ quads: scan.quads, only, hasState: state !== null }),
      { ...scan.inputs(inputs), state: only ? state : null, out, work: whole(work) },
      { ...scan.params, stateTiles, squares: scan.rows }, stateTiles + (target.scores ? scan.pairs : 0),
    );
  }

  function pass(scan: Scan, backwards: boolean, buffers: { work: Tensor; slots: Part; incoming: Part | null; outgoing: Part | null },
    place: { stride: number; offset: number }): void {
    const { size, count, groups } = scan.elements();
    const { chunks, heads } = scan.params;
    gpu.run(
      ssdPass({ quads: scan.quads, backwards, hasIncoming: buffers.incoming !== null, hasOutgoing: buffers.outgoing !== null }),
      { ...buffers, work: whole(buffers.work) }, { chunks, heads, size, count, ...place }, groups,
    );
  }

  function step({ x, dt, a, b, c, d, state, y, final, batch, heads, headSize, groups, stateSize }: Forward): void {
    gpu.copy(x, 0, y, 0, x.size);
    const widths = [heads * headSize * stateSize, groups * stateSize, heads * headSize];
    for (const { start, count } of rowParts(batch, widths, gpu.maxBinding)) {
      const of = (t: Tensor, width: number) => part(t, start * width, count * width);
      const states = (t: Tensor) => of(t, heads * headSize * stateSize);
      gpu.run(
        ssdStep({ quads: stateSize % 4 === 0, hasSkip: d !== null, hasState: state !== null }),
        {
          dt: of(dt, heads), a: of(a, heads), b: of(b, groups * stateSize), c: of(c, groups * stateSize), d, state: state && states(state),
          y: of(y, heads * headSize), out: states(final),
        },
        { heads, headSize, shares: groups, stateSize }, count * heads * Math.ceil(headSize / 8),
      );
    }
  }

  function forward(args: Forward, unit: Unit, starts: Tensor | null): void {
    const { x: { device }, d, final, y } = args;
    const scan = new Scan(args, unit);
    const only = args.time <= CHUNK;
    const given = unit.step > 0 ? final : args.state;
    const state = given && scan.states(given);
    using work = Tensor.empty(device, [scan.rows * 4 + scan.pairs * SQUARE]);
    const kept = starts && scan.starts(starts);
    using own = kept || only ? null : Tensor.empty(device, [unit.rows * scan.chunks, scan.state]);
    const slots = kept ?? (own && whole(own));
    states(scan, args, { out: only ? scan.states(final) : slots!, state, work, only, scores: true });
    if (!only) pass(scan, false, { work, slots: slots!, incoming: state, outgoing: scan.states(final) }, { stride: 1, offset: 0 });
    const { x, dt, a, c } = scan.inputs(args);
    gpu.run(
      ssdOutputs({ quads: scan.quads, hasSkip: d !== null, hasStarts: !only || state !== null }),
      { x, dt, a, c, d, starts: only ? state : slots, work: whole(work), y: scan.vectors(y) },
      { ...scan.params, hasState: Number(state !== null), squares: scan.rows }, scan.rows * tiles(args.headSize),
    );
  }

  /** `dfinal`, `dstate`: of this unit, [B,H,P,N] with its rows only; `more`: dd has other units' parts already. */
  function gradient(args: Gradient, unit: Unit, dfinal: Part | null, dstate: Part | null, more: boolean): void {
    const { x: { device }, d, dy, dx, ddt, da, db, dc, dd, heads, groups, stateSize, headSize } = args;
    const scan = new Scan(args, unit);
    const { quads, params, rows, pairs, chunks } = scan;
    const only = args.time <= CHUNK;
    const hasState = Number(args.state !== null || unit.step > 0);
    const hasEnd = Number(dfinal !== null);
    const record = 4 * recordQuads(headSize, stateSize);
    const room = Math.floor((gpu.maxBinding / 4 - rows * record) / (SQUARE * Math.max(1, pairs))) - 1;
    const parts = Math.max(1, Math.min(heads / groups, Math.ceil(MANY_GROUPS / Math.max(1, pairs)), room));
    const squares = (rows * record) / 4;
    using work = Tensor.empty(device, [rows * record + (1 + parts) * pairs * SQUARE]);
    const starts = only ? args.state && scan.states(args.state) : scan.starts(args.saved.starts);
    using slots = only ? null : Tensor.empty(device, [unit.rows * chunks, scan.state]);
    const ends = only ? dfinal : whole(slots!);

    const inputs = scan.inputs(args);
    const firstChunk = dstate ? 0 : 1;
    const scoreGroups = pairs * parts;
    const added = only ? dstate : whole(slots!);
    gpu.run(
      ssdScoreGradient({ quads, hasEnds: added !== null }),
      { ...inputs, dy: scan.vectors(dy), ends: added, work: whole(work) },
      { ...params, scoreGroups, parts, firstChunk, squares }, scoreGroups + (added ? scan.stateTiles(chunks - firstChunk) : 0),
    );
    const place = { stride: record / 4, offset: RECORD.total };
    if (!only) pass(scan, true, { work, slots: whole(slots!), incoming: dfinal, outgoing: dstate }, place);
    else if (dstate && dfinal) {
      const { groups: launched, ...counts } = scan.elements();
      gpu.run(ssdStateGradient(quads), { dfinal, out: dstate, work: whole(work) }, { ...counts, stride: place.stride }, launched);
    }

    gpu.run(
      ssdInputGradient({ quads, hasSkip: d !== null, hasEnds: ends !== null }),
      { x: inputs.x, b: inputs.b, d, dy: scan.vectors(dy), ends, dx: scan.vectors(dx), work: whole(work) },
      { ...params, hasEnd, squares }, rows * tiles(headSize),
    );

    const tilesOfN = pairs * tiles(stateSize);
    const sums = Math.ceil(rows / 2) + (dd ? heads : 0);
    const finish = (which: SharedParts, launched: number) => gpu.run(
      ssdGradientShared({ parts: which, quads, hasStarts: starts !== null, hasEnds: ends !== null, hasSkip: dd !== null }),
      {
        x: inputs.x, dy: scan.vectors(dy), b: inputs.b, c: inputs.c, starts, ends, work: whole(work),
        dc: scan.shared(dc), db: scan.shared(db), da: scan.scalars(da), ddt: scan.scalars(ddt), dd,
      },
      { ...params, hasState, hasEnd, parts, pairs, rows, squares, tiles: tilesOfN, more: Number(more) }, launched,
    );
    if (!starts && !ends) finish("all", 2 * tilesOfN + sums);
    else {
      finish("dc", tilesOfN);
      finish("db and sums", tilesOfN + sums);
    }
  }

  return {
    ssd(args) {
      const { x: { device }, recording, batch, time, heads, headSize, stateSize } = args;
      const starts = recording && time > CHUNK ? Tensor.empty(device, [batch, chunksOf(time), heads, headSize, stateSize]) : null;
      if (time === 1) step(args);
      else for (const unit of unitsOf(args, gpu.maxBinding)) forward(args, unit, starts);
      return starts ? { starts } : {};
    },
    ssdGradient(args) {
      const { x: { device }, dfinal, dstate } = args;
      const units = unitsOf(args, gpu.maxBinding).toReversed();
      const cut = units.some(({ last }) => !last);
      // Between units of a row travels the gradient by the state.
      using carry = cut ? Tensor.empty(device, [1, args.heads, args.headSize, args.stateSize]) : null;
      units.forEach((unit, i) => {
        const of = (t: Tensor | null) => t && new Scan(args, unit).states(t);
        gradient(args, unit, unit.last ? of(dfinal) : whole(carry!), unit.step === 0 ? of(dstate) : whole(carry!), i > 0);
      });
    },
  };
};
