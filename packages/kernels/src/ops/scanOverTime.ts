/**
 * A recurrence step by step: the plain form of what scans compute by chunks, for a recurrence that has no kernel yet. It is made of the ops
 * of its steps, so that every one is differentiable; time and, while a tape records, memory grow with the number of steps.
 */
import { check } from "../errors";
import { showShape } from "../shape";
import type { Tensor } from "../tensor";
import { concat, reshape, slice } from "./view";

/** What a step gives: the state behind it, and its output [B, ...]. */
export interface ScanStep<State> {
  readonly state: State;
  readonly output: Tensor;
}

/**
 * Runs `step` along the second axis of all inputs, each [B,T,...]: it sees the state before and every input's row [B,...] at its step.
 * Gives the outputs of all steps [B,T,...] and the last state. Throws `E_SHAPE` when inputs differ in B or T, or there is no step.
 */
export function scanOverTime<Inputs extends Readonly<Record<string, Tensor>>, State>(
  inputs: Inputs, initial: State, step: (state: State, rows: { readonly [N in keyof Inputs]: Tensor }) => ScanStep<State>,
): { outputs: Tensor; state: State } {
  const entries = Object.entries<Tensor>(inputs);
  const [batch, steps] = entries[0]?.[1].shape ?? [];
  check(batch !== undefined && steps !== undefined && steps >= 1, "E_SHAPE", () => "scanOverTime: needs inputs [B,T,...] with at least "
    + "one step");
  for (const [name, { shape }] of entries) {
    check(shape[0] === batch && shape[1] === steps, "E_SHAPE", () =>
      `scanOverTime: ${name} ${showShape(shape)} must begin with [${batch}, ${steps}], as ${entries[0]![0]} does`);
  }
  let state = initial;
  const rows: Tensor[] = [];
  for (let t = 0; t < steps; t++) {
    const at = Object.fromEntries(entries.map(([name, x]) => [name, reshape(slice(x, 1, t, t + 1), [batch, ...x.shape.slice(2)])]));
    const next = step(state, at as { [N in keyof Inputs]: Tensor });
    state = next.state;
    rows.push(reshape(next.output, [batch, 1, ...next.output.shape.slice(1)]));
  }
  return { outputs: concat(rows, 1), state };
}
