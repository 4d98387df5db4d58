/** One phase of training, on any device and into any store: what the worker runs, and the test runs in Node. */
import { type LossByPosition, lossByPosition } from "@lenggen/evals";
import {
  adamWOptimizer, createIntervention, findIntervention, type InterventionName, type JsonRecord, type RunStore, textBatches, train,
  type TrainEvent, type TrainResult,
} from "@lenggen/interventions";
import type { Device, Parameters, SequenceModel } from "@lenggen/kernels";
import { FAMILIES } from "./families";
import { type Method, MODELS, phaseOptions, type Plan } from "./plan";
import { measuredLengths, type SplitText } from "./text";

/** Name of the measurement in metrics.jsonl. */
export const LOSS_BY_POSITION = "loss-by-position";

export interface Phase<Name extends InterventionName = Method> {
  readonly method: Name;
  /** Whether it starts from fresh weights. Later phases go on from those of the one before, gently. */
  readonly first: boolean;
  /** Checkpoint that it starts from, as the run records it. */
  readonly base?: string;
}

export interface PhaseInput {
  readonly device: Device;
  readonly plan: Plan;
  readonly phase: Phase<InterventionName>;
  readonly text: SplitText;
  /** Without one nothing is saved, and there is nothing to go on with. */
  readonly store?: RunStore;
  /** Configuration of the model; the plan's unless given. */
  readonly config?: unknown;
  /** Weights to start from; fresh ones unless given. */
  readonly parameters?: () => Promise<Parameters>;
  /** Steps between measurements of the loss by position; a tenth of the phase unless given. */
  readonly measureEvery?: number;
  /** How far they go, in bytes; 64 training lengths unless given. */
  readonly reach?: number;
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: TrainEvent) => void;
  /** How far a measurement of the loss by position has come, 0 ... 1. */
  readonly onMeasuring?: (share: number) => void;
}

/** Trains, or goes on with the run in the store. The parameters of the result are the caller's to dispose. */
export function trainPhase({ device, plan, phase, text, store, config, parameters, signal, onEvent, onMeasuring, reach,
  ...input }: PhaseInput): Promise<TrainResult> {
  const options = phaseOptions(plan, phase.method, phase.first);
  const { steps, batch, context, seed, schedule, optimizer, methodOptions } = options;
  const { measureEvery = options.measureEvery } = input;
  const model = FAMILIES.make(config ?? MODELS[plan.model].config, { unknownFields: "report" });
  return train({
    model, device, steps, seed, schedule, store, parameters, signal, onEvent,
    batches: textBatches(text.train, { order: findIntervention(phase.method).order, batch, context, seed }),
    optimizer: adamWOptimizer.create(model, optimizer),
    initialStates: createIntervention(phase.method, model, methodOptions),
    resume: true,
    checkpointEvery: measureEvery,
    keepCheckpoints: 1,
    settings: { text: text.trainName, ...(phase.base === undefined ? {} : { base: phase.base }) },
    about: { page: "train-in-a-tab" },
    evaluations: [{
      name: LOSS_BY_POSITION,
      every: measureEvery,
      run: (current, _step, stop) => measure(model, current, text, context, onMeasuring, stop, reach),
    }],
  });
}

/** Loss by position over the held-out text, as metrics.jsonl records it. */
export async function measure(
  model: SequenceModel, parameters: Parameters, text: SplitText, context: number, onMeasuring?: (share: number) => void,
  signal?: AbortSignal, reach?: number,
): Promise<JsonRecord> {
  const { lengths, sequences } = measuredLengths(text.heldOut, context, reach);
  onMeasuring?.(0);
  const result: LossByPosition = await lossByPosition(model, parameters, sequences, {
    trainLength: context, lengths, chunk: 1024, signal, onProgress: (done, total) => onMeasuring?.(done / total),
  });
  return result as unknown as JsonRecord;
}
