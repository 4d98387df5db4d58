/** Training runs of the tiny model that differ in what a test is about and in nothing else. */
import { type Device, dispose, key, leaves } from "@lenggen/kernels";
import { contiguousStreams, independentWindows } from "../src/data";
import { createIntervention, INTERVENTIONS, type InterventionName } from "../src/interventions";
import { train, type TrainOptions, type TrainResult } from "../src/trainer";
import { tinyModel, type TinyState, tinyText } from "./tinyModel";

export interface TinyRun extends Partial<TrainOptions<TinyState>> {
  readonly device: Device;
  readonly method?: InterventionName;
  readonly context?: number;
  readonly batch?: number;
}

export function tinyOptions({ method = "zero", context = 6, batch = 3, microBatches = 1, steps = 12,
  ...more }: TinyRun): TrainOptions<TinyState> {
  const model = tinyModel();
  const text = tinyText(2000);
  const batches = INTERVENTIONS[method].order === "contiguous"
    ? contiguousStreams(text, { batch, context, microBatches, key: key(8), documents: [0, 700] })
    : independentWindows(text, { batch, context, key: key(8) });
  return {
    model, batches, microBatches, initialStates: createIntervention(method, model), steps, seed: 4,
    schedule: { learningRate: 0.03, warmup: Math.min(2, steps) }, ...more,
  };
}

/** Trains and gives the parameters as numbers. */
export async function tinyTrain(run: TinyRun): Promise<Omit<TrainResult, "parameters"> & { parameters: Record<string, number[]> }> {
  const { parameters, ...result } = await train(tinyOptions(run));
  const read = await Promise.all(leaves(parameters).map(async ({ path, tensor }): Promise<[string, number[]]> =>
    [path, [...await tensor.read()]]));
  dispose(parameters);
  return { ...result, parameters: Object.fromEntries(read) };
}
