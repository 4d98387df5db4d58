/** What a benchmark of a single op is made of: its inputs, drawn from a seed, and a function of them. */
import { type Device, dispose, foldIn, key, type Tensor, uniform, vjp } from "@lenggen/kernels";
import type { BenchCase, BenchRun, Pass } from "./case";

/** Bytes of a number. */
export const FLOAT = 4;
/** Half the width of a uniform distribution whose standard deviation is 1. */
const SPREAD = Math.sqrt(3);

/** A case from inputs and a function of them; `both` runs the gradient of all inputs too. */
export function opCase<I extends Record<string, Tensor>>(
  about: Omit<BenchCase, "prepare">,
  inputs: (random: (shape: number[], std?: number) => Tensor, device: Device,
    seed: number) => { tracked: I; fixed?: Record<string, Tensor> },
  run: (tracked: I, fixed: Record<string, Tensor>) => Tensor | readonly Tensor[],
): BenchCase {
  return {
    ...about,
    prepare(device, seed): BenchRun {
      let drawn = 0;
      // Uniform, since normal numbers cost much more and no kernel is the faster for them.
      const random = (shape: number[], std = 1): Tensor => uniform(foldIn(key(seed), drawn++), device, shape,
        { low: -SPREAD * std, high: SPREAD * std });
      const { tracked, fixed = {} } = inputs(random, device, seed);
      const forward = (x = tracked): readonly Tensor[] => [run(x, fixed)].flat();
      const cotangents = about.pass === "both" ? likeOutputs(forward(), random) : undefined;
      return {
        body: cotangents
          ? () => {
              const { outputs, pullback } = vjp(forward, tracked);
              return [outputs, pullback(cotangents)];
            }
          : () => forward(),
        dispose: () => dispose([tracked, fixed, cotangents]),
      };
    },
  };
}

function likeOutputs(outputs: readonly Tensor[], random: (shape: number[]) => Tensor): Tensor[] {
  dispose(outputs);
  return outputs.map(({ shape }) => random([...shape]));
}

/** The same forward, and forward with its gradient. */
export const bothPasses = (make: (pass: Pass) => BenchCase): BenchCase[] => (["forward", "both"] as const).map(make);
