/**
 * The scan of Mamba-1 by chunks of 16 steps; the programs are in selectiveScanShaders.ts. Dispatches, where all can be bound at once:
 * forward 1 for one chunk, 3 for more; gradient 4 and 6.
 *
 * Saved for the gradient are the states at the start of each chunk, [B,chunks,N,D], whatever the size of chunk that was asked for; with one
 * chunk none, as the state that came in is at hand.
 */
import type { selectiveScanKernels, SelectiveScanSizes } from "../../ops/selectiveScan";
import type { ArgumentsOf, KernelsOf } from "../../signature";
import { Tensor } from "../../tensor";
import { type Launcher, type Part, part } from "./launcher";
import { sumPartials } from "./partials";
import { cutScan, type Unit } from "./scanUnits";
import { CHANNELS, scanEnds, scanGradient, scanOutputs, scanPass, STEPS } from "./selectiveScanShaders";
import { CHUNK } from "./ssdTile";

type Forward = ArgumentsOf<typeof selectiveScanKernels.selectiveScan>;
type Gradient = ArgumentsOf<typeof selectiveScanKernels.selectiveScanGradient>;

const chunksOf = (time: number): number => Math.ceil(time / STEPS);
/** Sections of a buffer begin where they can be bound. */
const aligned = (size: number): number => Math.ceil(size / 64) * 64;
const whole = (t: Tensor): Part => part(t, 0, t.size);

/** Blocks of channels in each group. */
const blocksOf = ({ channels, groups }: SelectiveScanSizes): number => Math.ceil(channels / groups / CHANNELS);

function unitsOf(sizes: SelectiveScanSizes, maxBinding: number): Unit[] {
  const { channels, groups, stateSize } = sizes;
  const [states, shared] = [(CHUNK / STEPS) * channels * (stateSize + 1), CHUNK * groups * stateSize];
  const perChunk = {
    "x": CHUNK * channels,
    // Ends, da and dd, sums of blocks, and copies of the inputs that all channels share.
    "the gradient's states": 2 * states + 2 * (blocksOf(sizes) + 1) * shared + channels * (stateSize + 1) + 8 * 64,
  };
  return cutScan(sizes, perChunk, maxBinding, (what, bytes) =>
    `webgpu: selectiveScan: ${what} of ${CHUNK} steps (${channels} channels, ${groups} groups, states of ${stateSize}) has ${bytes} ` +
    `bytes, and this device binds at most ${maxBinding} at once; make the channels or the state fewer`);
}

/** One unit of a scan: its parts of the tensors, and the numbers that all programs take. */
class Scan {
  readonly chunks: number;
  readonly params: Record<"time" | "chunks" | "channels" | "shares" | "blocks", number>;
  /** Groups of a program that has all chunks and channels. */
  readonly launched: number;
  readonly #sizes: SelectiveScanSizes;
  readonly #unit: Unit;

  constructor(sizes: SelectiveScanSizes, unit: Unit) {
    const { channels, groups } = sizes;
    this.#sizes = sizes;
    this.#unit = unit;
    this.chunks = chunksOf(unit.time);
    this.params = { time: unit.time, chunks: this.chunks, channels, shares: groups, blocks: blocksOf(sizes) };
    this.launched = unit.rows * this.chunks * groups * this.params.blocks;
  }

  /** Elements of a state of all channels. */
  get state(): number {
    return this.#sizes.channels * this.#sizes.stateSize;
  }
  /** Of the unit in b and c. */
  get shared(): number {
    return this.#unit.rows * this.#unit.time * this.#sizes.groups * this.#sizes.stateSize;
  }
  /** Chunks of all sequences. */
  get rows(): number {
    return this.#unit.rows * this.chunks;
  }
  #alongSteps(t: Tensor, width: number): Part {
    const { row, rows, step, time } = this.#unit;
    return part(t, (row * this.#sizes.time + step) * width, rows * time * width);
  }
  /** The unit's part of a tensor [B,T,D], [B,T,G,N], [B,D,N]. */
  scalars(t: Tensor): Part {
    return this.#alongSteps(t, this.#sizes.channels);
  }
  sharedOf(t: Tensor): Part {
    return this.#alongSteps(t, this.#sizes.groups * this.#sizes.stateSize);
  }
  states(t: Tensor): Part {
    return part(t, this.#unit.row * this.state, this.#unit.rows * this.state);
  }
  /** Of the starts [B,chunks,N,D] of the whole scan. */
  starts(t: Tensor): Part {
    return part(t, (this.#unit.row * chunksOf(this.#sizes.time) + this.#unit.step / STEPS) * this.state, this.rows * this.state);
  }
}

const windowOf = ({ tensor, start, length }: Part): Tensor => tensor.window([length], start);

export const selectiveScan = (gpu: Launcher): KernelsOf<typeof selectiveScanKernels> => {
  function pass(scan: Scan, N: number, backwards: boolean,
    buffers: { a: Part; spans: Part; slots: Part; incoming: Part | null; outgoing: Part | null }): void {
    const { chunks, channels } = scan.params;
    const count = (scan.rows / chunks) * scan.state;
    gpu.run(scanPass({ N, backwards, hasIncoming: buffers.incoming !== null, hasOutgoing: buffers.outgoing !== null }), buffers,
      { chunks, channels, count }, Math.ceil(count / 256));
  }

  function forward(args: Forward, unit: Unit, starts: Tensor | null): void {
    const { x, dt, a, b, c, d, y, final, stateSize: N } = args;
    const scan = new Scan(args, unit);
    const only = args.time <= STEPS;
    const given = unit.step > 0 ? final : args.state;
    const state = given && scan.states(given);
    using own = starts || only ? null : Tensor.empty(x.device, [scan.rows, scan.state]);
    const slots = starts ? scan.starts(starts) : own && whole(own);
    if (!only) {
      using spans = Tensor.empty(x.device, [scan.rows, args.channels]);
      gpu.run(scanEnds({ N, backwards: false }), { x: scan.scalars(x), dt: scan.scalars(dt), a, b: scan.sharedOf(b), slots: slots!, spans },
        scan.params, scan.launched);
      pass(scan, N, false, { a: whole(a), spans: whole(spans), slots: slots!, incoming: state, outgoing: null });
    }
    const from = scan.scalars(x);
    gpu.copy(x, from.start, y, from.start, from.length);
    gpu.run(scanOutputs({ N, only, hasSkip: d !== null, hasStart: !only || state !== null }),
      { dt: scan.scalars(dt), a, b: scan.sharedOf(b), c: scan.sharedOf(c), d, start: only ? state : slots, y: scan.scalars(y),
        out: scan.states(final) }, scan.params, scan.launched);
  }

  /** `dfinal`, `dstate`: of this unit, [B,D,N] with its rows only. Sums over steps go to `sums`: da [D,N], dd [D]. */
  function gradient(args: Gradient, unit: Unit, dfinal: Part | null, dstate: Part | null, sums: { da: Tensor; dd: Tensor | null }): void {
    const { x, dt, a, b, c, d, dy, dx, ddt, db, dc, channels, stateSize: N } = args;
    const scan = new Scan(args, unit);
    const only = args.time <= STEPS;
    const blocks = scan.params.blocks;
    const sizes = {
      a: scan.state, b: scan.shared, c: scan.shared, d: channels, ends: scan.rows * scan.state, da: scan.rows * scan.state,
      dd: scan.rows * channels, sums: blocks * 2 * scan.shared,
    };
    let size = 0;
    const at = Object.fromEntries(Object.entries(sizes).map(([name, length]) => {
      const start = size;
      size += aligned(length);
      return [name, start];
    })) as typeof sizes;
    using work = Tensor.empty(x.device, [size]);
    const copied = (name: keyof typeof sizes, from: Part) => gpu.copy(from.tensor, from.start, work, at[name], from.length);
    copied("a", whole(a));
    copied("b", scan.sharedOf(b));
    copied("c", scan.sharedOf(c));
    if (d) copied("d", whole(d));
    if (only && dfinal) copied("ends", dfinal);
    if (!only) {
      const slots = part(work, at.ends, sizes.ends);
      using spans = Tensor.empty(x.device, [scan.rows, channels]);
      gpu.run(scanEnds({ N, backwards: true }), { x: scan.scalars(dy), dt: scan.scalars(dt), a, b: scan.sharedOf(c), slots, spans },
        scan.params, scan.launched);
      pass(scan, N, true, { a: whole(a), spans: whole(spans), slots, incoming: dfinal, outgoing: dstate });
    }
    const starts = only ? args.state && scan.states(args.state) : scan.starts(args.saved.starts);
    gpu.run(scanGradient({ N, only, hasSkip: d !== null, hasStart: starts !== null, hasEnd: !only || dfinal !== null }),
      { x: scan.scalars(x), dt: scan.scalars(dt), dy: scan.scalars(dy), starts, work, dx: scan.scalars(dx), ddt: scan.scalars(ddt) },
      { ...scan.params, ...at, half: scan.shared }, scan.launched);
    if (only && dstate) gpu.copy(work, at.ends, dstate.tensor, dstate.start, dstate.length);
    const rows = (name: "da" | "dd" | "sums", count: number) => work.window([count, sizes[name] / count], at[name]);
    using das = rows("da", scan.rows);
    sumPartials(gpu, das, { first: sums.da, inner: channels });
    if (sums.dd) {
      using dds = rows("dd", scan.rows);
      sumPartials(gpu, dds, { first: sums.dd });
    }
    using shared = rows("sums", blocks);
    using ownDb = windowOf(scan.sharedOf(db));
    using ownDc = windowOf(scan.sharedOf(dc));
    sumPartials(gpu, shared, { first: ownDb, second: ownDc });
  }

  return {
    selectiveScan(args) {
      const { x: { device }, recording, batch, time, channels, stateSize } = args;
      const starts = recording && time > STEPS ? Tensor.empty(device, [batch, chunksOf(time), stateSize, channels]) : null;
      for (const unit of unitsOf(args, gpu.maxBinding)) forward(args, unit, starts);
      return starts ? { starts } : {};
    },
    selectiveScanGradient(args) {
      const { x: { device }, da, dd, dfinal, dstate, channels, stateSize } = args;
      const units = unitsOf(args, gpu.maxBinding).toReversed();
      // Between units of a row travels the gradient by the state.
      using carry = units.some(({ last }) => !last) ? Tensor.empty(device, [1, channels, stateSize]) : null;
      using das = units.length > 1 ? Tensor.empty(device, [units.length, channels * stateSize]) : null;
      using dds = dd && units.length > 1 ? Tensor.empty(device, [units.length, channels]) : null;
      units.forEach((unit, i) => {
        const of = (t: Tensor | null) => t && new Scan(args, unit).states(t);
        using ownDa = das ? das.window([channels * stateSize], i * channels * stateSize) : da.window([da.size]);
        using ownDd = dds ? dds.window([channels], i * channels) : dd && dd.window([dd.size]);
        gradient(args, unit, unit.last ? of(dfinal) : whole(carry!), unit.step === 0 ? of(dstate) : whole(carry!),
          { da: ownDa, dd: ownDd });
      });
      if (das) sumPartials(gpu, das, { first: da });
      if (dds) sumPartials(gpu, dds, { first: dd! });
    },
  };
};
