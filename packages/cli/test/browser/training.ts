/** Training of a small Mamba-2 on WebGPU, the same in a page and in a worker. */
import { createIntervention, independentWindows, train } from "@lenggen/interventions";
import { type Device, dispose, key, leaves } from "@lenggen/kernels";
import { mamba2 } from "@lenggen/recurrent";

const MODEL = { d_model: 32, n_layer: 2, vocab_size: 64, ssm_cfg: { layer: "Mamba2", d_state: 16, headdim: 16, chunk_size: 32 } };

export interface Training {
  readonly losses: readonly number[];
  /** The parameters' bits. */
  readonly parameters: Readonly<Record<string, Int32Array>>;
}

/** Trains so many steps with states passed on; `onStep` is called after each with its number. */
export async function trainSmall(device: Device, steps: number, onStep?: (step: number) => void): Promise<Training> {
  const model = mamba2(MODEL);
  const text = Uint8Array.from({ length: 4000 }, (_, i) => (i * i + (i >> 3)) % 64);
  const losses: number[] = [];
  const { parameters } = await train({
    model, device, steps, seed: 1,
    batches: independentWindows(text, { batch: 4, context: 64, key: key(1) }),
    initialStates: createIntervention("state-passing", model),
    onEvent: (event) => {
      if (event.kind !== "step") return;
      losses.push(event.loss);
      onStep?.(event.step);
    },
  });
  const read = await Promise.all(leaves(parameters).map(async ({ path, tensor }) =>
    [path, new Int32Array((await tensor.read()).slice().buffer)] as const));
  dispose(parameters);
  return { losses, parameters: Object.fromEntries(read) };
}
