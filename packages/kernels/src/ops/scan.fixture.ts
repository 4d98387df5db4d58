/** What the tests of scans share: a sequence cut in pieces, and decays of every size. */
import { type HostTensor, host, type TestFunction, testRandom, uniforms } from "../testing";
import type { Tensor } from "../tensor";
import { concat, slice } from "./view";

/** A scan whose first inputs have time steps along axis 1, and which gives an output and the state that it left. */
export interface CutScan {
  readonly run: TestFunction;
  /** Which inputs have time steps. */
  readonly timed: readonly number[];
  /** Which input is the state. */
  readonly state: number;
}

/** The same in several calls, each starting from the state that the one before left. */
export function inPieces(lengths: readonly number[], { run, timed, state: place }: CutScan): TestFunction {
  return (...inputs) => {
    const given = [...inputs];
    let start = 0;
    const ys: Tensor[] = [];
    for (const length of lengths) {
      const end = start + length;
      const [y, state] = run(...given.map((t, i) => (timed.includes(i) ? slice(t, 1, start, end) : t))) as readonly [Tensor, Tensor];
      ys.push(y);
      given[place] = state;
      start = end;
    }
    return [concat(ys, 1), given[place]!];
  };
}

/** T in lengths of at most so many steps. */
export function lengthsOf(T: number, length: number): number[] {
  return Array.from({ length: Math.ceil(T / length) }, (_, i) => Math.min(length, T - i * length));
}

/** How the logarithms of decays are drawn: weak (long memory), none, strong (all is forgotten in a step), 1e-4 to 300, or bursts. */
export type Decay = "weak" | "none" | "strong" | "wide" | "bursts";

/** Logarithms of decays; a number stands for those of a trained model, from that number to 0. */
export function decays(seed: number, shape: number[], kind: Decay | number): HostTensor {
  if (typeof kind === "number") return uniforms(seed, shape, kind, 0);
  if (kind === "weak") return uniforms(seed, shape, -1e-3, 0);
  if (kind === "none") return uniforms(seed, shape, 0, 0);
  if (kind === "strong") return uniforms(seed, shape, -50, -49);
  const next = testRandom(seed);
  const wide = () => -(1e-4 * 3e6 ** next());
  const burst = () => (next() < 0.2 ? -50 : -0.01 * next());
  return host(Array.from({ length: shape.reduce((x, y) => x * y, 1) }, kind === "wide" ? wide : burst), shape);
}
