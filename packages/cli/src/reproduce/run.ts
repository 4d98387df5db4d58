/**
 * "Unexplored states" (Buitrago Ruiz & Gu 2025) from beginning to end: a base model trained on short contexts, a control and four
 * interventions from it, all six evaluated far beyond the training length; then recall, by models of its own (recall.ts). Each model has its own run directory below the
 * reproduction's, so that an interrupted reproduction goes on where it was.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Method, METHODS, type ReportModel, type Settings, type UnexploredStatesReport } from "@lenggen/evals";
import { type Device, dispose, type Parameters } from "@lenggen/kernels";
import { writeWhole } from "@lenggen/kernels/node";
import { type Mamba2, mamba2 } from "@lenggen/recurrent";
import { loadCheckpoint } from "../models";
import { packageFolder } from "../package";
import { joined, readText, type Text } from "../text";
import { runTraining, type TrainingPlan } from "../training";
import { evaluateModel } from "./evaluate";
import { reproduceRecall } from "./recall";
import { initialStatesOf, type ReproductionSettings, type TrainingSettings } from "./settings";

export interface ReproductionInput {
  readonly preset: string;
  readonly settings: ReproductionSettings;
  readonly seed: number;
  readonly folder: string;
  /** Train the base even where a checkpoint of it is committed. */
  readonly fromScratch: boolean;
  readonly device: Device;
  readonly signal: AbortSignal;
  readonly note: (line: string) => void;
}

interface Trained {
  readonly method: Method;
  readonly checkpoint: string;
  readonly steps: number;
  readonly tokens: number;
  readonly seconds: number;
  readonly settings: Settings;
}

const BASE_NAME = "base";

/** Runs all stages and returns the report. Throws `E_INTERRUPTED` when the signal came; what is done stays on disk. */
export async function reproduceUnexploredStates(input: ReproductionInput): Promise<UnexploredStatesReport> {
  const { preset, settings, seed } = input;
  const model = mamba2(settings.model);
  const training = await readText(settings.trainingText, settings.trainLength + 1);
  const heldOut = joined(await readText(settings.heldOutText, Math.max(...settings.lengths) + 1));

  const base = await prepareBase(input, model, training);
  const all = [base];
  for (const method of METHODS.filter((name) => name !== BASE_NAME)) all.push(await trainFrom(input, model, training, base, method));

  const evaluations: Evaluation[] = [];
  for (const trained of all) evaluations.push(await evaluated(input, trained, heldOut));
  const recalled = settings.recallTraining && (await reproduceRecall(input, settings.recallTraining, training, heldOut));
  const spent = [...all, ...evaluations, ...(recalled ? [recalled] : [])].reduce((sum, { seconds }) => sum + seconds, 0);
  return {
    experiment: "unexplored-states",
    preset,
    seed,
    trainLength: settings.trainLength,
    tokensTrained: all.reduce((sum, { tokens }) => sum + tokens, recalled?.tokens ?? 0),
    seconds: Math.round(spent * 10) / 10,
    models: evaluations.map(({ model: measured }) => measured),
    recall: recalled?.recall,
    remembranceLength: settings.remembrance.length,
    sequences: settings.sequences,
    command: `lenggen reproduce unexplored-states --preset ${preset} --seed ${seed}`,
    settings: { ...(settings as unknown as Settings), device: input.device.description, parameters: countOf(model) },
  };
}

function countOf(model: Mamba2): number {
  return Object.values(model.parameterShapes()).reduce((sum, shape) => sum + shape.reduce((product, axis) => product * axis, 1), 0);
}

/** The base model: from the committed checkpoint where there is one for this seed, else trained here. */
async function prepareBase(input: ReproductionInput, model: Mamba2, text: Text): Promise<Trained> {
  const { settings, seed, fromScratch, note } = input;
  const committed = settings.baseCheckpoint;
  const plan = settings.base;
  if (committed === undefined || fromScratch || committed.seed !== seed) {
    if (committed !== undefined) note(`base: training from scratch, about ${committed.fromScratch} on two cores`);
    return trainOne(input, model, text, BASE_NAME, plan);
  }
  note(`base: from the committed checkpoint; --from-scratch trains it anew, about ${committed.fromScratch} on two cores`);
  return {
    method: BASE_NAME, checkpoint: join(packageFolder, committed.folder), steps: plan.steps,
    tokens: 0, seconds: 0, settings: { ...plan, trainedBefore: true },
  };
}

/** The control or an intervention, from the base's last checkpoint. */
async function trainFrom(input: ReproductionInput, model: Mamba2, text: Text, base: Trained, method: Method): Promise<Trained> {
  const start = async (): Promise<Parameters> => (await loadCheckpoint(base.checkpoint, input.device)).parameters;
  return trainOne(input, model, text, method, input.settings.postTraining, start);
}

async function trainOne(
  { settings, seed, folder, device, signal }: ReproductionInput, model: Mamba2, text: Text, method: Method, training: TrainingSettings,
  parameters?: () => Promise<Parameters>,
): Promise<Trained> {
  const { batch, steps, weightDecay, ...schedule } = training;
  const initial = initialStatesOf(method);
  const run = join(folder, method);
  const plan: TrainingPlan = {
    label: method, model: model, text, method: initial, methodOptions: settings.methods[method], joinDocuments: settings.joinDocuments,
    batch, context: settings.trainLength, steps, seed, schedule, optimizer: { weightDecay },
    folder: run, resume: true, again: "the same command", logEvery: 10, keepCheckpoints: 1, parameters,
  };
  const outcome = await runTraining(device, plan, signal);
  dispose(outcome.parameters);
  signal.throwIfAborted();
  return {
    method, checkpoint: outcome.checkpoint, steps, tokens: steps * batch * settings.trainLength, seconds: outcome.seconds,
    settings: { initialStates: initial, ...training, ...(settings.methods[method] as Settings | undefined) },
  };
}

interface Evaluation {
  readonly model: ReportModel;
  readonly seconds: number;
}

/** The evaluation of one model; an interrupted reproduction finds the finished ones on disk. */
async function evaluated({ settings, seed, folder, device, signal }: ReproductionInput, trained: Trained, heldOut: Uint8Array): Promise<Evaluation> {
  const { method, checkpoint, steps, tokens, seconds } = trained;
  const file = join(folder, `${method}-evaluation.json`);
  // What decides the numbers: how this model was trained and what is measured, but not how the others are trained.
  const { methods: _methods, recallTraining: _recallTraining, postTraining: _postTraining, baseCheckpoint: _baseCheckpoint, ...shared } = settings;
  const wanted = JSON.stringify({ shared, trained: trained.settings, seed });
  const found = await readFile(file, "utf8").then((text) => JSON.parse(text) as Evaluation & { wanted: string }, () => undefined);
  if (found?.wanted === wanted) return found;
  const started = performance.now();
  const { model, parameters } = await loadCheckpoint(checkpoint, device);
  try {
    const measured = await evaluateModel({ method, model: model, parameters, heldOut, settings, seed, signal });
    const evaluation: Evaluation = {
      model: { ...measured, steps, tokensTrained: tokens, seconds, settings: trained.settings },
      seconds: (performance.now() - started) / 1000,
    };
    await writeWhole(file, [new TextEncoder().encode(JSON.stringify({ wanted, ...evaluation }))]);
    return evaluation;
  } finally {
    dispose(parameters);
  }
}
