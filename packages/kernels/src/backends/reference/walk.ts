import type { Layout } from "../../ops/layout";

/**
 * Runs a loop nest in row-major order: `body` gets the number of the step and where operands 0 and 1 are, in
 * elements from their start.
 */
export function walk({ sizes, strides }: Layout, body: (step: number, first: number, second: number) => void): void {
  const [s0, s1] = strides as readonly [readonly number[], readonly number[]];
  const index = sizes.map(() => 0);
  const steps = sizes.reduce((product, size) => product * size, 1);
  let [first, second] = [0, 0];
  for (let step = 0; step < steps; step++) {
    body(step, first, second);
    for (let axis = sizes.length - 1; axis >= 0; axis--) {
      first += s0[axis]!;
      second += s1[axis]!;
      if (++index[axis]! < sizes[axis]!) break;
      index[axis] = 0;
      first -= s0[axis]! * sizes[axis]!;
      second -= s1[axis]! * sizes[axis]!;
    }
  }
}
