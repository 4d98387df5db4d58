/**
 * Linear attention with a decay per channel, by chunks of 64 steps; the programs are in gatedLinearAttentionForward.ts and
 * gatedLinearAttentionGradient.ts. Dispatches, where all can be bound at once: a single step 1, forward 5, gradient 10, and one more with a
 * bonus.
 *
 * Saved for the gradient are the states at the start of each chunk, [B,chunks,H,K,V], whatever the size of chunk that was asked for.
 */
import type { gatedLinearAttentionKernels, GatedLinearAttentionSizes } from "../../ops/gatedLinearAttention";
import type { ArgumentsOf, KernelsOf } from "../../signature";
import { Tensor } from "../../tensor";
import { linearAdded, linearDecays, linearOutputs, linearPass, linearScores, linearStep } from "./gatedLinearAttentionForward";
import { linearBonus, linearKeys, linearScoreGradient, linearTimesState, linearWhole } from "./gatedLinearAttentionGradient";
import { type Launcher, type Part, part, rowParts } from "./launcher";
import { chunksOf, cutScan, SQUARE, type Unit } from "./scanUnits";
import { CHUNK } from "./ssdTile";

type Forward = ArgumentsOf<typeof gatedLinearAttentionKernels.gatedLinearAttention>;
type Gradient = ArgumentsOf<typeof gatedLinearAttentionKernels.gatedLinearAttentionGradient>;

const tiles = (size: number): number => Math.ceil(size / 64);

function unitsOf(sizes: GatedLinearAttentionSizes, maxBinding: number): Unit[] {
  const { heads, keySize, valueSize } = sizes;
  const perChunk = {
    "v": CHUNK * heads * valueSize,
    "the state": heads * keySize * valueSize,
    "the gradient of q and k": heads * (4 * CHUNK * keySize + 2 * SQUARE + 3 * keySize),
  };
  return cutScan(sizes, perChunk, maxBinding, (what, bytes) =>
    `webgpu: gatedLinearAttention: ${what} of ${CHUNK} steps (${heads} heads, keys of ${keySize}, values of ${valueSize}) has ${bytes} ` +
    `bytes, and this device binds at most ${maxBinding} at once; make the heads smaller`);
}

/** One unit of a call: its parts of the tensors, and the numbers that all programs take. */
class Scan {
  /** Chunks and heads. */
  readonly rows: number;
  /** Whether all rows of q and of v are whole quads. */
  readonly quads: boolean;
  readonly sizes: Record<"time" | "chunks" | "heads" | "keySize" | "valueSize", number>;
  readonly #all: GatedLinearAttentionSizes;
  readonly #unit: Unit;

  constructor(all: GatedLinearAttentionSizes, unit: Unit) {
    this.#all = all;
    this.#unit = unit;
    const { heads, keySize, valueSize } = all;
    this.rows = unit.rows * unit.chunks * heads;
    this.quads = keySize % 4 === 0 && valueSize % 4 === 0;
    this.sizes = { time: unit.time, chunks: unit.chunks, heads, keySize, valueSize };
  }

  /** Elements of a state of all heads. */
  get state(): number {
    return this.#all.heads * this.#all.keySize * this.#all.valueSize;
  }
  #alongSteps(t: Tensor, width: number): Part {
    const { row, rows, step, time } = this.#unit;
    return part(t, (row * this.#all.time + step) * width, rows * time * width);
  }
  /** The unit's part of a tensor [B,T,H,K], and of one [B,T,H,V]. */
  keys(t: Tensor): Part {
    return this.#alongSteps(t, this.#all.heads * this.#all.keySize);
  }
  values(t: Tensor): Part {
    return this.#alongSteps(t, this.#all.heads * this.#all.valueSize);
  }
  /** Of a state [B,H,K,V]. */
  states(t: Tensor): Part {
    return part(t, this.#unit.row * this.state, this.#unit.rows * this.state);
  }
  /** Of the starts [B,chunks,H,K,V] of the whole call. */
  starts(t: Tensor): Part {
    const all = chunksOf(this.#all.time);
    return part(t, (this.#unit.row * all + this.#unit.step / CHUNK) * this.state, this.#unit.rows * this.#unit.chunks * this.state);
  }
  /** Where the sections of work begin, in elements; `sizes` of a row of each. */
  sections<N extends string>(rowSizes: Readonly<Record<N, number>>): { readonly at: Readonly<Record<N, number>>; readonly size: number } {
    let size = 0;
    const at = Object.fromEntries(Object.entries<number>(rowSizes).map(([name, elements]) => {
      const start = size;
      size += Math.ceil((elements * this.rows) / 4) * 4;
      return [name, start];
    })) as Record<N, number>;
    return { at, size };
  }
}

const whole = (t: Tensor): Part => part(t, 0, t.size);

export const gatedLinearAttention = (gpu: Launcher): KernelsOf<typeof gatedLinearAttentionKernels> => {
  /** Queries, keys, scores and totals: see gatedLinearAttentionTile.ts. */
  function prepare(scan: Scan, { q, k, a, bonus, scale }: Forward | Gradient, work: Tensor,
    at: Record<"queries" | "keys" | "scores" | "total", number>): void {
    const { sizes, quads, rows } = scan;
    const inputs = { q: scan.keys(q), k: scan.keys(k), a: scan.keys(a), work };
    const { queries, keys, total, scores } = at;
    gpu.run(linearDecays(bonus !== null), inputs, { ...sizes, scale, queries, keys, total }, rows * tiles(sizes.keySize));
    gpu.run(linearScores({ quads, bonus: bonus !== null }), { ...inputs, bonus }, { ...sizes, scale, scores }, rows);
  }

  /** Fills `slots` with what each chunk adds, then walks over them. */
  function walk(scan: Scan, backwards: boolean, work: Tensor, numbers: { rows: number; total: number }, values: Part, slots: Part,
    incoming: Part | null, outgoing: Part | null): void {
    const { sizes, quads, rows } = scan;
    gpu.run(linearAdded(quads), { work, values, out: slots }, { ...sizes, rows: numbers.rows },
      rows * tiles(sizes.keySize) * tiles(sizes.valueSize));
    const count = (rows / sizes.chunks) * sizes.keySize * sizes.valueSize;
    gpu.run(linearPass({ backwards, incoming: incoming !== null, outgoing: outgoing !== null }), { work, incoming, slots, outgoing },
      { ...sizes, total: numbers.total, count }, Math.ceil(count / 256));
  }

  function step({ q, k, v, a, bonus, state, y, final, batch, heads, keySize, valueSize, scale }: Forward): void {
    for (const { start, count } of rowParts(batch, [heads * keySize * valueSize], gpu.maxBinding)) {
      const of = (t: Tensor, width: number) => part(t, start * heads * width, count * heads * width);
      gpu.run(
        linearStep({ state: state !== null, bonus: bonus !== null }),
        {
          q: of(q, keySize), k: of(k, keySize), v: of(v, valueSize), a: of(a, keySize), bonus,
          state: state && of(state, keySize * valueSize), y: of(y, valueSize), out: of(final, keySize * valueSize),
        },
        { time: 1, chunks: 1, heads, keySize, valueSize, scale }, count * heads * tiles(valueSize),
      );
    }
  }

  function forward(args: Forward, unit: Unit, starts: Tensor | null): void {
    const scan = new Scan(args, unit);
    const { sizes, quads, rows } = scan;
    const { keySize } = sizes;
    const { at, size } = scan.sections({ queries: CHUNK * keySize, keys: CHUNK * keySize, scores: SQUARE, total: keySize });
    using work = Tensor.empty(args.q.device, [size]);
    using own = starts ? null : Tensor.empty(args.q.device, [unit.rows * unit.chunks, scan.state]);
    const slots = starts ? scan.starts(starts) : whole(own!);
    const incoming = unit.step > 0 ? args.final : args.state;
    prepare(scan, args, work, at);
    const values = scan.values(args.v);
    // What comes in may be where the final state goes: each element is read before it is written, by the same invocation.
    using copy = incoming === args.final ? Tensor.empty(args.q.device, [unit.rows, scan.state]) : null;
    if (copy) gpu.copy(args.final, unit.row * scan.state, copy, 0, copy.size);
    walk(scan, false, work, { rows: at.keys, total: at.total }, values, slots, copy ? whole(copy) : incoming && scan.states(incoming),
      scan.states(args.final));
    gpu.run(linearOutputs({ quads, turned: false }), { work, slots, values, out: scan.values(args.y) },
      { ...sizes, rows: at.queries, scores: at.scores }, rows * tiles(sizes.valueSize));
  }

  /** `incoming`, `outgoing`: the gradients by the states behind and before this unit; `more`: dbonus has other units' parts already. */
  function gradient(args: Gradient, unit: Unit, incoming: Part | null, outgoing: Part | null, more: boolean): void {
    const scan = new Scan(args, unit);
    const { sizes, quads, rows } = scan;
    const { keySize, valueSize, heads } = sizes;
    const { q: { device }, bonus, scale, dbonus } = args;
    const stepRows = CHUNK * keySize;
    const { at, size } = scan.sections({
      queries: stepRows, keys: stepRows, through: stepRows, behind: stepRows, scores: SQUARE, dscores: SQUARE, total: keySize,
      whole: keySize, dbonus: keySize,
    });
    using work = Tensor.empty(device, [size]);
    using slots = Tensor.empty(device, [unit.rows * unit.chunks, scan.state]);
    const [starts, ends, v, dy] = [scan.starts(args.saved.starts), whole(slots), scan.values(args.v), scan.values(args.dy)];
    prepare(scan, args, work, at);
    walk(scan, true, work, { rows: at.queries, total: at.total }, dy, ends, incoming, outgoing);
    gpu.run(linearOutputs({ quads, turned: true }), { work, slots: ends, values: dy, out: scan.values(args.dv) },
      { ...sizes, rows: at.keys, scores: at.scores }, rows * tiles(valueSize));
    gpu.run(linearScoreGradient(quads), { dy, v, work }, { ...sizes, dscores: at.dscores }, rows);
    const keyTiles = rows * tiles(keySize);
    gpu.run(linearTimesState(quads), { slots: starts, values: dy, work }, { ...sizes, section: at.through }, keyTiles);
    gpu.run(linearTimesState(quads), { slots: ends, values: v, work }, { ...sizes, section: at.behind }, keyTiles);
    const channels = rows * Math.ceil(keySize / 16);
    gpu.run(linearWhole, { starts, ends, work }, { ...sizes, total: at.total, whole: at.whole }, channels);
    const { queries, dscores, through, behind, whole: wholes, dbonus: parts } = at;
    gpu.run(
      linearKeys(bonus !== null),
      { q: scan.keys(args.q), k: scan.keys(args.k), a: scan.keys(args.a), bonus, work, dq: scan.keys(args.dq), dk: scan.keys(args.dk),
        da: scan.keys(args.da) },
      { ...sizes, scale, queries, dscores, through, behind, whole: wholes, dbonus: parts }, channels,
    );
    if (dbonus) {
      gpu.run(linearBonus, { work, out: dbonus }, { heads, keySize, dbonus: parts, rows, more: Number(more) },
        Math.ceil((heads * keySize) / 64));
    }
  }

  return {
    gatedLinearAttention(args) {
      const { q: { device }, recording, batch, time, heads, keySize, valueSize } = args;
      const starts = recording ? Tensor.empty(device, [batch, chunksOf(time), heads, keySize, valueSize]) : null;
      if (time === 1 && !recording) step(args);
      else for (const unit of unitsOf(args, gpu.maxBinding)) forward(args, unit, starts);
      return starts ? { starts } : {};
    },
    gatedLinearAttentionGradient(args) {
      const { q: { device }, dfinal, dstate, heads, keySize, valueSize } = args;
      const units = unitsOf(args, gpu.maxBinding).toReversed();
      const cut = units.some(({ last }) => !last);
      // Between units of a row travels the gradient by the state, from one of two buffers into the other.
      using carry = cut ? Tensor.empty(device, [2, heads, keySize, valueSize]) : null;
      const half = (i: number) => part(carry!, (i % 2) * (carry!.size / 2), carry!.size / 2);
      units.forEach((unit, i) => {
        const of = (t: Tensor | null) => t && new Scan(args, unit).states(t);
        gradient(args, unit, unit.last ? of(dfinal) : half(i + 1), unit.step === 0 ? of(dstate) : half(i), i > 0);
      });
    },
  };
};
