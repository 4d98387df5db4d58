/**
 * Both delta rules; the programs are in deltaShaders.ts. Dispatches, where all can be bound at once: forward 1, gradient 2 and for the
 * gated rule 2 more, and copies that bring together what is read together.
 *
 * Saved for the gradient are the states at every 64th step, [B,chunks,H,K,V], whatever the size of chunk that was asked for, and u or e.
 */
import type { deltaRuleKernels } from "../../ops/deltaRule";
import type { gatedDeltaRuleKernels } from "../../ops/gatedDeltaRule";
import type { ArgumentsOf, KernelsOf } from "../../signature";
import { Tensor } from "../../tensor";
import { COLUMNS, deltaBackwards, deltaColumns, deltaGates, deltaKeys, deltaRows, LANES, ROWS, TOGETHER } from "./deltaShaders";
import { type Launcher, type Part, part } from "./launcher";
import { chunksOf, cutScan, type Unit } from "./scanUnits";
import { CHUNK } from "./ssdTile";

type Delta = ArgumentsOf<typeof deltaRuleKernels.deltaRule>;
type DeltaGradient = ArgumentsOf<typeof deltaRuleKernels.deltaRuleGradient>;
type Gated = ArgumentsOf<typeof gatedDeltaRuleKernels.gatedDeltaRule>;
type GatedGradient = ArgumentsOf<typeof gatedDeltaRuleKernels.gatedDeltaRuleGradient>;

/** What both rules have in common: the rule without gates has a key head for each head. */
interface Rule {
  readonly name: string;
  readonly gated: boolean;
  readonly batch: number;
  readonly time: number;
  readonly keyHeads: number;
  readonly heads: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly scale: number;
  /** What is read by key head [B,T,H,K], and by head [B,T,HV]. */
  readonly keys: readonly Tensor[];
  readonly gates: readonly Tensor[];
}

const ofDelta = ({ q, k, a, remove, write, batch, time, heads, keySize, valueSize, scale }: Delta | DeltaGradient): Rule =>
  ({ name: "deltaRule", gated: false, batch, time, keyHeads: heads, heads, keySize, valueSize, scale, keys: [q, k, a, remove, write],
    gates: [] });

const ofGated = ({ q, k, a, beta, batch, time, keyHeads, heads, keySize, valueSize, scale }: Gated | GatedGradient): Rule =>
  ({ name: "gatedDeltaRule", gated: true, batch, time, keyHeads, heads, keySize, valueSize, scale, keys: [q, k], gates: [a, beta] });

function unitsOf(rule: Rule, maxBinding: number): Unit[] {
  const { name, heads, keyHeads, keySize, valueSize } = rule;
  const perChunk = {
    "q, k and what goes with them": CHUNK * Math.max(rule.keys.length * keyHeads, rule.gated ? 3 * heads : 0) * keySize,
    "v and what goes with it": 4 * CHUNK * heads * valueSize,
    "the state": Math.max(1, Math.ceil(TOGETHER / chunksOf(rule.time))) * heads * keySize * valueSize,
  };
  return cutScan(rule, perChunk, maxBinding, (what, bytes) =>
    `webgpu: ${name}: ${what} of ${CHUNK} steps (${heads} heads, keys of ${keySize}, values of ${valueSize}) has ${bytes} bytes, and ` +
    `this device binds at most ${maxBinding} at once; make the heads smaller`);
}

/** One unit of a call: its parts of the tensors, and the numbers that all programs take. */
class Scan {
  readonly params;
  /** Sequences and heads. */
  readonly rows: number;
  readonly #rule: Rule;
  readonly #unit: Unit;

  constructor(rule: Rule, unit: Unit) {
    this.#rule = rule;
    this.#unit = unit;
    const { heads, keyHeads, keySize, valueSize, scale } = rule;
    this.rows = unit.rows * heads;
    this.params = { time: unit.time, heads, keyHeads, keySize, valueSize, scale };
  }

  /** Steps of all sequences. */
  get steps(): number {
    return this.#unit.rows * this.#unit.time;
  }
  /** Elements of a state of all heads. */
  get state(): number {
    return this.#rule.heads * this.#rule.keySize * this.#rule.valueSize;
  }
  /** Elements of the states of all sequences. */
  get states(): number {
    return this.#unit.rows * this.state;
  }
  /** The unit's part of a tensor [B,T,...] with `width` elements a step. */
  alongTime(t: Tensor, width: number): Part {
    const { row, step } = this.#unit;
    return part(t, (row * this.#rule.time + step) * width, this.steps * width);
  }
  values(t: Tensor): Part {
    return this.alongTime(t, this.#rule.heads * this.#rule.valueSize);
  }
  /** Of a state [B,H,K,V]. */
  statesOf(t: Tensor): Part {
    return part(t, this.#unit.row * this.state, this.states);
  }
  /** Of the starts [B,chunks,H,K,V] of the whole call. */
  starts(t: Tensor): Part {
    const { row, rows, step, chunks } = this.#unit;
    return part(t, (row * chunksOf(this.#rule.time) + step / CHUNK) * this.state, rows * chunks * this.state);
  }
}

const whole = (t: Tensor): Part => part(t, 0, t.size);

/** The rules' kernels. */
export const deltaRule = (gpu: Launcher): KernelsOf<typeof deltaRuleKernels & typeof gatedDeltaRuleKernels> => {
  /** The unit's parts of tensors with `width` elements a step, one behind the other; `more` places are left behind them. */
  function joined(scan: Scan, tensors: readonly Tensor[], width: number, more = 0): Tensor {
    const size = scan.steps * width;
    const all = Tensor.empty(tensors[0]!.device, [tensors.length + more, size])
    tensors.forEach((t, i) => gpu.copy(t, scan.alongTime(t, width).start, all, i * size, size));
    return all;
  }

  const keysOf = (scan: Scan, rule: Rule) => joined(scan, rule.keys, rule.keyHeads * rule.keySize);
  const gatesOf = (scan: Scan, rule: Rule) => (rule.gated ? joined(scan, rule.gates, rule.heads) : null);

  function forward(rule: Rule, { v, state, y, final, recording }: Delta | Gated): { starts: Tensor; read: Tensor } | null {
    const { gated, batch, time, heads, keySize, valueSize } = rule;
    const kept = recording
      ? { starts: Tensor.empty(v.device, [batch, chunksOf(time), heads, keySize, valueSize]), read: Tensor.empty(v.device, v.shape) }
      : null;
    if (state) gpu.copy(state, 0, final, 0, state.size);
    for (const unit of unitsOf(rule, gpu.maxBinding)) {
      const scan = new Scan(rule, unit);
      using keys = keysOf(scan, rule);
      using gates = gatesOf(scan, rule);
      gpu.run(
        deltaColumns({ gated, each: Math.ceil(keySize / LANES), keep: recording }),
        {
          keys: whole(keys), gates: gates && whole(gates), v: scan.values(v), states: scan.statesOf(final), y: scan.values(y),
          starts: kept && scan.starts(kept.starts), known_values: kept && scan.values(kept.read),
        },
        { ...scan.params, hasState: Number(state !== null || unit.step > 0) }, scan.rows * Math.ceil(valueSize / COLUMNS),
      );
    }
    return kept;
  }

  /** Gradients by v and the state; `finish` gets the parts of those of keys and gates, and e and its gradient. */
  function gradient(rule: Rule, args: DeltaGradient | GatedGradient, kept: { starts: Tensor; read: Tensor },
    finish: (scan: Scan, parts: Tensor, values: Tensor) => void): void {
    const { v, dy, dv, dfinal, dstate } = args;
    const { gated, heads, keySize, valueSize } = rule;
    const units = unitsOf(rule, gpu.maxBinding).toReversed();
    // The gradient by the state travels through the units in two copies, as two programs walk it.
    let travelling: readonly Tensor[] = [];
    for (const unit of units) {
      const scan = new Scan(rule, unit);
      if (unit.last) {
        travelling.forEach((t) => t.dispose());
        travelling = [0, 1].map(() => Tensor.empty(v.device, [scan.states]));
        if (dfinal) for (const t of travelling) gpu.copy(dfinal, scan.statesOf(dfinal).start, t, 0, t.size);
      }
      const [states, ofRows] = travelling as [Tensor, Tensor];
      using keys = keysOf(scan, rule);
      using gates = gatesOf(scan, rule);
      using values = joined(scan, gated ? [dy, kept.read] : [dy, v, kept.read], heads * valueSize, 1);
      const piece = [16, 8].find((length) => 4 * length * scan.states <= gpu.maxBinding) ?? TOGETHER;
      using history = Tensor.empty(v.device, [piece, scan.states]);
      using parts = Tensor.empty(v.device, [gated ? 3 : 5, scan.steps, heads, keySize]);
      const hasState = Number(dfinal !== null || !unit.last);
      gpu.run(
        deltaBackwards({ gated, each: Math.ceil(keySize / LANES) }),
        { keys: whole(keys), gates: gates && whole(gates), values: whole(values), states: whole(states), dv: scan.values(dv) },
        { ...scan.params, hasState }, scan.rows * Math.ceil(valueSize / COLUMNS),
      );
      gpu.run(
        deltaRows({ gated, each: Math.ceil(valueSize / LANES) }),
        {
          keys: whole(keys), gates: gates && whole(gates), values: whole(values), starts: scan.starts(kept.starts), states: whole(ofRows),
          history: whole(history), parts: whole(parts),
        },
        { ...scan.params, hasState, rows: scan.rows, piece }, scan.rows * Math.ceil(keySize / ROWS),
      );
      finish(scan, parts, values);
      if (unit.step === 0 && dstate) gpu.copy(states, 0, dstate, scan.statesOf(dstate).start, states.size);
    }
    travelling.forEach((t) => t.dispose());
  }

  return {
    deltaRule(args) {
      const kept = forward(ofDelta(args), args);
      return kept ? { starts: kept.starts, removed: kept.read } : {};
    },
    deltaRuleGradient(args) {
      const { saved, dq, dk, da, dremove, dwrite, heads, keySize } = args;
      gradient(ofDelta(args), args, { starts: saved.starts, read: saved.removed }, (scan, parts) => {
        const size = parts.size / 5;
        [dq, dk, da, dremove, dwrite].forEach((t, i) => gpu.copy(parts, i * size, t, scan.alongTime(t, heads * keySize).start, size));
      });
    },
    gatedDeltaRule(args) {
      const kept = forward(ofGated(args), args);
      return kept ? { starts: kept.starts, errors: kept.read } : {};
    },
    gatedDeltaRuleGradient(args) {
      const { saved, dq, dk, da, dbeta, keyHeads, heads, keySize, valueSize } = args;
      gradient(ofGated(args), args, { starts: saved.starts, read: saved.errors }, (scan, parts, values) => {
        const [width, count, ofGates] = [keyHeads * keySize, scan.steps * keyHeads * keySize, scan.steps * heads];
        gpu.run(deltaKeys, { parts: whole(parts), dq: scan.alongTime(dq, width), dk: scan.alongTime(dk, width) },
          { keyHeads, heads, keySize, count }, Math.ceil(count / 64));
        gpu.run(
          deltaGates,
          { parts: whole(parts), values: whole(values), da: scan.alongTime(da, heads), dbeta: scan.alongTime(dbeta, heads) },
          { keySize, valueSize, count: ofGates }, Math.ceil(ofGates / 64),
        );
      });
    },
  };
};
