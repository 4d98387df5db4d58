/**
 * "Unexplored states" (Buitrago Ruiz & Gu 2025) from beginning to end: a base model trained on short contexts, a control and four
 * interventions from it, each evaluated far beyond the training length as soon as it is trained; then recall, by models of its own
 * (recall.ts). Each model has its own run directory below the reproduction's, so that an interrupted reproduction goes on where it was.
 */
import { join } from "node:path";
import { type Method, METHOD_STYLES, METHODS, type ReportModel, type Settings, type UnexploredStatesReport } from "@lenggen/evals";
import { dispose, parameterCount, type Parameters, type SequenceModel, type TokenSource } from "@lenggen/kernels";
import { MODELS } from "../../families";
import { loadCheckpoint } from "../../checkpoints";
import { readText, type Text } from "@lenggen/data/node";
import { runTraining, type TrainingPlan } from "../../training";
import type { ReproductionInput } from "../experiment";
import { resumable, type Stage } from "../resumable";
import { evaluateModel, type EvaluationInput } from "./evaluate";
import { refusedBy, spreadAt } from "./methods";
import { reproduceRecall } from "./recall";
import { initialStatesOf, type ReproductionSettings, type TrainingSettings, withNoise } from "./settings";

export interface UnexploredStatesInput extends ReproductionInput {
  readonly settings: ReproductionSettings;
}

interface Trained {
  readonly method: Method;
  readonly checkpoint: string;
  readonly steps: number;
  readonly tokens: number;
  readonly seconds: number;
  readonly settings: Settings;
}

/** Called with what the report holds so far; `done` says what has just been added. */
export type OnPart = (report: UnexploredStatesReport, done: string) => Promise<void>;

/** Runs all stages and returns the report. Throws `E_INTERRUPTED` when the signal came; what is done stays on disk. */
export async function reproduceUnexploredStates(
  given: UnexploredStatesInput, onPart: OnPart = async () => {},
): Promise<UnexploredStatesReport> {
  let input = given; // until the base model is measured, which may decide the size of the noise
  let { settings } = given;
  const model = MODELS.make(settings.model);
  const leftOut = refusedBy(model, settings.methods);
  const methods = METHODS.filter((method) => leftOut.every((refused) => refused.method !== method));
  const training = await readText(settings.trainingText, settings.trainLength + 1);
  const { tokens: heldOut } = await readText(settings.heldOutText, Math.max(...settings.lengths) + 1);

  const models: ReportModel[] = [];
  const spent = { tokens: 0, seconds: 0 };
  const label = (method: Method): string => METHOD_STYLES[method].label;
  const reportOf = (more: Pick<UnexploredStatesReport, "models" | "recall" | "pending">): UnexploredStatesReport =>
    assembled(input, model, spent, { leftOut, ...more });
  const recallPending = settings.recallTraining ? ["recall"] : [];

  let base: Trained | undefined;
  for (const [i, method] of methods.entries()) {
    const trained = base === undefined ? await trainOne(input, model, training, method, settings.base)
      : await trainFrom(input, model, training, base, method);
    base ??= trained;
    spent.tokens += trained.tokens;
    spent.seconds += trained.seconds;
    const later = [...methods.slice(i + 1).map(label), ...recallPending];
    const evaluation = await evaluated(input, trained, heldOut, async (losses) => {
      if (i > 0) return; // of the first model alone: a reader has nothing yet
      const partly: ReportModel = { method, effectiveRemembrance: [], stateStd: [], ...losses };
      await onPart(reportOf({ models: [partly], pending: [`other measures of ${label(method)}`, ...later] }),
        `${label(method)}: the loss by position is measured`);
    });
    spent.seconds += evaluation.seconds;
    models.push(evaluation.result);
    if (method === "base") {
      settings = withNoise(settings, spreadAt(evaluation.result, settings.trainLength));
      input = { ...given, settings };
    }
    if (evaluation.fresh && later.length > 0) await onPart(reportOf({ models, pending: later }), `${label(method)}: done`);
  }
  const recall = settings.recallTraining && await reproduceRecall(input, settings.recallTraining, leftOut.map(({ method }) => method),
    training, heldOut, (soFar, later) => onPart(
      reportOf({ models, recall: soFar, pending: later.map((method) => `recall of ${label(method)}`) }),
      `recall, ${label(soFar.at(-1)!.method)}: done`));
  spent.tokens += recall?.tokens ?? 0;
  spent.seconds += recall?.seconds ?? 0;
  return reportOf({ models, recall: recall?.recall });
}

function assembled(
  { preset, settings, seed, device, chosen }: UnexploredStatesInput, model: SequenceModel,
  { tokens, seconds }: { readonly tokens: number; readonly seconds: number },
  { models, leftOut, recall, pending }: Pick<UnexploredStatesReport, "models" | "leftOut" | "recall" | "pending">,
): UnexploredStatesReport {
  const { others: _others, ...told } = settings;
  return {
    experiment: "unexplored-states",
    preset,
    seed,
    model: { family: model.family, parameters: parameterCount(model) },
    ...(leftOut?.length && { leftOut }),
    trainLength: settings.trainLength,
    tokensTrained: tokens,
    seconds: Math.round(seconds * 10) / 10,
    models: [...models],
    recall,
    remembranceLength: settings.remembrance.length,
    sequences: settings.sequences,
    command: `lenggen reproduce unexplored-states ${chosen ? `--model ${chosen.name} ` : ""}--preset ${preset} --seed ${seed}`,
    settings: { ...(told as unknown as Settings), device: device.description, parameters: parameterCount(model) },
    ...(pending && { pending }),
  };
}

/** The control or an intervention, from the base's last checkpoint. */
async function trainFrom(input: UnexploredStatesInput, model: SequenceModel, text: Text, base: Trained, method: Method): Promise<Trained> {
  const start = async (): Promise<Parameters> => (await loadCheckpoint(base.checkpoint, input.device)).parameters;
  return trainOne(input, model, text, method, input.settings.postTraining, start);
}

async function trainOne(
  { settings, seed, folder, device, signal }: UnexploredStatesInput, model: SequenceModel, text: Text, method: Method,
  training: TrainingSettings, parameters?: () => Promise<Parameters>,
): Promise<Trained> {
  const { batch, steps, weightDecay, ...schedule } = training;
  const initial = initialStatesOf(method);
  const run = join(folder, method);
  const plan: TrainingPlan = {
    label: method, model: model, text, method: initial, methodOptions: settings.methods[method], joinDocuments: settings.joinDocuments,
    batch, context: settings.trainLength, steps, seed, schedule, optimizer: { name: "adamw", options: { weightDecay } },
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

/** The evaluation of one model; an interrupted reproduction finds the finished ones on disk. */
function evaluated(
  { settings, seed, folder, device, signal }: UnexploredStatesInput, trained: Trained, heldOut: TokenSource,
  onLosses: EvaluationInput["onLosses"],
): Promise<Stage<ReportModel>> {
  const { method, checkpoint, steps, tokens, seconds } = trained;
  // What decides the numbers: how this model was trained and what is measured, but not how the others are trained.
  const { methods: _methods, recallTraining: _recall, others: _others, postTraining: _postTraining, ...shared } = settings;
  return resumable(join(folder, `${method}-evaluation.json`), { shared, trained: trained.settings, seed }, async () => {
    const { model, parameters } = await loadCheckpoint(checkpoint, device);
    try {
      const measured = await evaluateModel({ method, model: model, parameters, heldOut, settings, seed, signal, onLosses });
      return { ...measured, steps, tokensTrained: tokens, seconds, settings: trained.settings };
    } finally {
      dispose(parameters);
    }
  });
}
