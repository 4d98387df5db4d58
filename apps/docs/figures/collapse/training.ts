/** Trains the model of the figure, and trains it on: in the page's worker, and where its numbers are recorded. */
import type { LossByPosition } from "@lenggen/evals";
import type { TrainEvent } from "@lenggen/interventions";
import { type Device, dispose, type Parameters, tensor, type TypedArray } from "@lenggen/kernels";
import { type Plan, SLOW_PLAN } from "train-in-a-tab/plan";
import { splitText } from "train-in-a-tab/text";
import { trainPhase } from "train-in-a-tab/training";
import { endsOf, type Snapshot, snapshotOf } from "./curves";
import { REACH, type Way } from "./plan";

export type Told =
  | { readonly kind: "step"; readonly part: Part; readonly step: number; readonly steps: number; readonly loss: number }
  | { readonly kind: "measuring"; readonly part: Part }
  | { readonly kind: "curve"; readonly part: Part; readonly ends: readonly number[]; readonly snapshot: Snapshot };

/** Bytes of a step, in as many sequences as there are of a training length. */
const STEP_BYTES = 256;

/** 400 steps from fresh weights and 100 more in another way: a few seconds on a GPU, a minute in plain JavaScript. */
function planFor(length: number): Plan {
  return { ...SLOW_PLAN, context: length, batch: STEP_BYTES / length, seed: 1 };
}

/** The training from fresh weights, and that from the trained ones. */
export type Part = "base" | Way;

/** Weights on the host: names, shapes and numbers. */
export type HeldWeights = Readonly<Record<string, { readonly shape: readonly number[]; readonly values: TypedArray }>>;

export interface TrainingInput {
  readonly device: Device;
  readonly text: Uint8Array;
  readonly length: number;
  /** Measurements on the way, the last one included. */
  readonly measurements: number;
  readonly tell: (told: Told) => void;
}

/** Fresh weights, trained from zero states. */
export async function trainBase(input: TrainingInput): Promise<HeldWeights> {
  return held(await runPart(input, "base"));
}

/** The base, trained on in another way. */
export async function trainOn(input: TrainingInput, way: Way, base: HeldWeights): Promise<HeldWeights> {
  return held(await runPart(input, way, base));
}

async function runPart({ device, text, length, measurements, tell }: TrainingInput, part: Part, base?: HeldWeights): Promise<Parameters> {
  const plan = planFor(length);
  const steps = part === "base" ? plan.steps : plan.laterSteps;
  const { parameters } = await trainPhase({
    device, plan: { ...plan, seed: plan.seed + (part === "base" ? 0 : 1) },
    phase: { method: part === "base" ? "zero" : part, first: part === "base" },
    text: splitText("moby-dick.txt", text, length),
    parameters: base && (async () => onDevice(device, base)),
    measureEvery: Math.ceil(steps / measurements), reach: REACH,
    onEvent: (event) => told(event, part, tell),
    onMeasuring: (share) => share === 0 && tell({ kind: "measuring", part }),
  });
  return parameters;
}

function told(event: TrainEvent, part: Part, tell: TrainingInput["tell"]): void {
  if (event.kind === "step") tell({ kind: "step", part, step: event.step, steps: event.steps, loss: event.loss / Math.LN2 });
  if (event.kind !== "evaluation") return;
  const result = event.results as unknown as LossByPosition;
  tell({ kind: "curve", part, ends: endsOf(result), snapshot: snapshotOf(result, event.step) });
}

async function held(parameters: Parameters): Promise<HeldWeights> {
  const kept: Record<string, HeldWeights[string]> = {};
  for (const [name, parameter] of Object.entries(parameters)) {
    kept[name] = { shape: [...parameter.shape], values: await parameter.read() };
  }
  dispose(parameters);
  return kept;
}

/** Weights on a device; the caller's to dispose. */
export function onDevice(device: Device, weights: HeldWeights): Parameters {
  return Object.fromEntries(Object.entries(weights).map(([name, { shape, values }]) => [name, tensor(device, values, [...shape])]));
}
