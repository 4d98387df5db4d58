/**
 * What holds of a base model, wherever it comes from: it is measured far beyond its training length, trained on by a control and the
 * interventions, and each of those is measured as soon as it is trained. Each model has its own run directory below the study's, so that an
 * interrupted one goes on where it was.
 */
import { join } from "node:path";
import { bytesFiles, type TokenizerFiles, type TokenText } from "@lenggen/data/node";
import { type Method, METHOD_STYLES, METHODS, type ReportModel, type Settings, type UnexploredStatesReport } from "@lenggen/evals";
import { dispose, parameterCount, type Parameters, type SequenceModel, type TokenSource } from "@lenggen/kernels";
import { loadCheckpoint } from "../../checkpoints";
import { openText } from "../../texts";
import { bytesPerToken, inTokens, tokenizerRecord, tokenSizes, unitOf } from "../../tokens";
import { runTraining, type TrainingPlan } from "../../training";
import type { ReproductionInput } from "../experiment";
import { resumable, type Stage } from "../resumable";
import { evaluateModel, type EvaluationInput } from "./evaluate";
import { refusedBy, spreadAt } from "./methods";
import { reproduceRecall } from "./recall";
import { initialStatesOf, type StudySettings, type TrainingSettings, withNoise } from "./settings";

export interface StudyInput extends ReproductionInput {
  readonly settings: StudySettings;
  /** The name of the experiment, and the command that repeats it. */
  readonly experiment: string;
  readonly command: string;
  /** What makes tokens of the texts; bytes unless given. */
  readonly tokenizerFiles?: TokenizerFiles;
  /** Where the base comes from, if others trained it, and the hash of its weights. */
  readonly origin?: { readonly checkpoint: string; readonly weights: string };
}

/** A model with where it is and what it took. */
export interface Trained {
  readonly method: Method;
  readonly checkpoint: string;
  readonly steps: number;
  readonly tokens: number;
  readonly seconds: number;
  readonly settings: Settings;
  /** What the draws of those that are trained on from it depend on, see {@link TrainingPlan.base}. */
  readonly base?: TrainingPlan["base"];
}

/** Where a study begins. */
export interface StudyBase {
  readonly model: SequenceModel;
  /** The base model, on the training text. */
  train(text: TokenText): Promise<Trained>;
}

/** Called with what the report holds so far; `done` says what has just been added. */
export type OnPart = (report: UnexploredStatesReport, done: string) => Promise<void>;

/** Runs all stages and returns the report. Throws `E_INTERRUPTED` when the signal came; what is done stays on disk. */
export async function study(given: StudyInput, { model, train }: StudyBase, onPart: OnPart): Promise<UnexploredStatesReport> {
  let input = given; // until the base model is measured, which may decide the size of the noise
  let { settings } = given;
  const { compared = METHODS } = settings;
  const leftOut = refusedBy(model, settings.methods).filter(({ method }) => compared.includes(method));
  const methods = METHODS.filter((method) =>
    method === "base" || (compared.includes(method) && leftOut.every((refused) => refused.method !== method)));
  // The field is that of the texts which were named: the experiment's own have none.
  const read = async (source: string, named: string | undefined, least: number) => {
    const text = await openText(source, least, { field: named === undefined ? undefined : input.field, signal: input.signal });
    return inTokens(text, input.tokenizerFiles ?? bytesFiles, least, input);
  };
  const training = await read(settings.trainingText, input.text, settings.trainLength + 1);
  const heldOut = await read(settings.heldOutText, input.heldOut, Math.max(...settings.lengths) + 1);

  const models: ReportModel[] = [];
  const spent = { tokens: 0, seconds: 0 };
  const label = (method: Method): string => METHOD_STYLES[method].label;
  const reportOf = (more: Pick<UnexploredStatesReport, "models" | "recall" | "pending">): UnexploredStatesReport =>
    assembled(input, model, spent, heldOut, { leftOut, ...more });
  const recallPending = settings.recallTraining ? ["recall"] : [];

  let base: Trained | undefined;
  for (const [i, method] of methods.entries()) {
    const trained = base === undefined ? await train(training) : await trainFrom(input, model, training, base, method);
    base ??= trained;
    spent.tokens += trained.tokens;
    spent.seconds += trained.seconds;
    const later = [...methods.slice(i + 1).map(label), ...recallPending];
    const evaluation = await evaluated(input, trained, heldOut.tokens, async (losses) => {
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
    training, heldOut.tokens, (soFar, later) => onPart(
      reportOf({ models, recall: soFar, pending: later.map((method) => `recall of ${label(method)}`) }),
      `recall, ${label(soFar.at(-1)!.method)}: done`));
  spent.tokens += recall?.tokens ?? 0;
  spent.seconds += recall?.seconds ?? 0;
  return reportOf({ models, recall: recall?.recall });
}

function assembled(
  { experiment, command, preset, settings, seed, device, origin }: StudyInput, model: SequenceModel,
  { tokens, seconds }: { readonly tokens: number; readonly seconds: number }, heldOut: TokenText,
  { models, leftOut, recall, pending }: Pick<UnexploredStatesReport, "models" | "leftOut" | "recall" | "pending">,
): UnexploredStatesReport {
  return {
    experiment,
    preset,
    ...(settings.trial && { trial: settings.trial }),
    seed,
    model: { family: model.family, parameters: parameterCount(model) },
    ...(origin && { origin }),
    ...(leftOut?.length && { leftOut }),
    trainLength: settings.trainLength,
    ...(unitOf(heldOut) === "tokens" && { tokens: { tokenizer: heldOut.tokenizer.name, bytesPerToken: bytesPerToken(heldOut) } }),
    tokensTrained: tokens,
    seconds: Math.round(seconds * 10) / 10,
    models: [...models],
    recall,
    remembranceLength: settings.remembrance.length,
    sequences: settings.sequences,
    command,
    settings: { ...withoutOthers(settings), device: device.description, parameters: parameterCount(model) },
    ...(pending && { pending }),
  };
}

/** Settings of models that are not part of this report are not told. */
function withoutOthers(settings: StudySettings & { readonly others?: unknown }): Settings {
  const { others: _others, trial: _trial, ...told } = settings;
  return told as unknown as Settings;
}

/** The control or an intervention, from the base's last checkpoint. */
async function trainFrom(input: StudyInput, model: SequenceModel, text: TokenText, base: Trained, method: Method): Promise<Trained> {
  const start = async (): Promise<Parameters> => (await loadCheckpoint(base.checkpoint, input.device)).parameters;
  return trainOne(input, model, text, method, input.settings.postTraining, { parameters: start, base: base.base });
}

/** A model of a study, trained on its text; from fresh parameters unless it is told others. */
export async function trainOne(
  { settings, seed, folder, device, signal, tokenizerFiles: tokenizer }: StudyInput, model: SequenceModel, text: TokenText, method: Method,
  training: TrainingSettings, from: Pick<TrainingPlan, "parameters" | "base"> = {},
): Promise<Trained> {
  const { batch, microBatches = 1, steps, weightDecay, ...schedule } = training;
  const initial = initialStatesOf(method);
  const run = join(folder, method);
  const plan: TrainingPlan = {
    label: method, model, text, tokenizer, method: initial, methodOptions: settings.methods[method], joinDocuments: settings.joinDocuments,
    batch, microBatches, context: settings.trainLength, steps, seed, schedule, optimizer: { name: "adamw", options: { weightDecay } },
    folder: run, resume: true, again: "the same command", logEvery: 10, keepCheckpoints: 1, ...from,
  };
  const outcome = await runTraining(device, plan, signal);
  dispose(outcome.parameters);
  signal.throwIfAborted();
  return {
    method, checkpoint: outcome.checkpoint, steps, tokens: steps * batch * microBatches * settings.trainLength, seconds: outcome.seconds,
    settings: { initialStates: initial, ...(training as unknown as Settings), ...(settings.methods[method] as Settings | undefined) },
  };
}

/** The evaluation of one model; an interrupted study finds the finished ones on disk. */
function evaluated(
  { settings, seed, folder, device, signal, tokenizerFiles: tokenizer }: StudyInput, trained: Trained, heldOut: TokenSource,
  onLosses: EvaluationInput["onLosses"],
): Promise<Stage<ReportModel>> {
  const { method, checkpoint, steps, tokens, seconds } = trained;
  const record = tokenizer && tokenizerRecord(tokenizer);
  const decides = { shared: measuredAlike(settings), trained: trained.settings, seed, ...(record && { tokenizer: record }) };
  const tokenBytes = record && tokenSizes(tokenizer);
  return resumable(join(folder, `${method}-evaluation.json`), decides,
    async () => {
      const { model, parameters } = await loadCheckpoint(checkpoint, device);
      try {
        const measured = await evaluateModel({ method, model, parameters, heldOut, tokenBytes, settings, seed, signal, onLosses });
        return { ...measured, steps, tokensTrained: tokens, seconds, settings: trained.settings };
      } finally {
        dispose(parameters);
      }
    });
}

/** What decides the numbers: how a model was trained stands beside it, and how the others are decides nothing. */
function measuredAlike(settings: StudySettings & { readonly others?: unknown }): object {
  const { methods: _m, recallTraining: _r, others: _o, postTraining: _p, compared: _c, trial: _t, ...shared } = settings;
  return shared;
}
