/**
 * "Grouped Cross Attention" (Hu et al. 2025) from beginning to end: models that retrieve, and baselines from the same parts, trained on
 * short texts with keys in them; all asked for keys in texts far longer; then one long stream, its chunks on disk. Each model has its
 * run directory below the reproduction's and each answer sheet its file, so that an interrupted reproduction goes on where it was.
 */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { type GcaRetrievalReport, METHOD_STYLES, type RetrievalModel, type Settings } from "@lenggen/evals";
import type { JsonRecord } from "@lenggen/interventions";
import { check, dispose, disposeExcept, foldIn, key, parameterCount, type Parameters } from "@lenggen/kernels";
import { hasChunks } from "../../chunks";
import { loadCheckpoint } from "../../checkpoints";
import { packageFolder } from "../../package";
import type { Text } from "@lenggen/data/node";
import { openText } from "../../texts";
import { runTraining } from "../../training";
import type { ReproductionInput } from "../experiment";
import { resumable, type Stage } from "../resumable";
import { stageBatches } from "./batches";
import { modelOf } from "./memory";
import { askAll, type Examined } from "./questions";
import { readOnly, type TextLosses, textLosses } from "./reading";
import { type GcaRetrievalSettings, type RetrievalTraining, type RetrieverSettings, trainingOf, trainLengthOf } from "./settings";
import { trainingSpeed } from "./speed";
import { readStream, type Streamed } from "./streaming";

export interface GcaRetrievalInput extends ReproductionInput {
  readonly settings: GcaRetrievalSettings;
}

/** Streams of random keys: one for training, one for questions. */
const [SAMPLES, ASKED] = [9, 10];

/** Called after each model but the last with what the report holds so far; `done` says what has just been added. */
export type OnModel = (report: GcaRetrievalReport, done: string) => Promise<void>;

/** Runs all stages and returns the report. Throws `E_INTERRUPTED` when the signal came; what is done stays on disk. */
export async function reproduceGcaRetrieval(input: GcaRetrievalInput, onModel: OnModel = async () => {}): Promise<GcaRetrievalReport> {
  const { settings, seed, only } = input;
  const text = await openText(settings.trainingText, trainLengthOf(settings) + 1, input);
  const { tokens: heldOut } = await openText(settings.heldOutText, Math.max(1, ...(settings.loss?.lengths ?? [])) + 1, input);
  const chunk = Math.max(1, ...settings.models.map((retriever) => modelOf(retriever)).filter(hasChunks)
    .map((model) => model.settings.chunk));

  const models: RetrievalModel[] = [];
  let streamed: Stage<Streamed> | undefined;
  let seconds = 0;
  const chosen = settings.models.filter(({ method }) => only?.includes(method) ?? true);
  for (const [i, retriever] of chosen.entries()) {
    const trained = await prepare(input, retriever, text);
    const parameters = (await loadCheckpoint(trained.checkpoint, input.device)).parameters;
    let fresh = false;
    const examined: Examined = {
      method: retriever.method, model: modelOf(retriever), parameters, trained: { ...trained.settings, seed },
      chunk, heldOut, settings, key: foldIn(key(seed), ASKED), folder: input.folder, signal: input.signal,
    };
    try {
      // The stream first: what other measures leave in the device's pool would hide how little memory it takes.
      const stream = settings.streaming?.method === retriever.method ? await streamOnce(input, examined) : undefined;
      streamed ??= stream;
      const stages = await examine(input, examined, text);
      models.push({
        method: retriever.method, parameters: parameterCount(examined.model),
        retrieval: [...stages.asked.result, ...(stream?.result.cells ?? [])],
        steps: trained.steps, tokensTrained: trained.tokens, seconds: trained.seconds, ...stages.loss?.result,
        reading: stages.reading?.result, trainingSpeed: stages.speed?.result, settings: trained.settings,
      });
      seconds += [trained, stages.asked, stages.loss, stages.reading, stages.speed, stream]
        .reduce((sum, stage) => sum + (stage?.seconds ?? 0), 0);
      fresh = [stages.asked, stages.loss, stages.reading, stages.speed, stream].some((stage) => stage?.fresh);
    } finally {
      dispose(parameters);
    }
    const later = chosen.slice(i + 1).map(({ method }) => METHOD_STYLES[method].label);
    if (fresh && later.length > 0) {
      await onModel(assembled(input, { models, streamed, seconds, chunk, pending: later }),
        `${METHOD_STYLES[retriever.method].label}: done`);
    }
  }
  return assembled(input, { models, streamed, seconds, chunk });
}

interface Parts {
  readonly models: readonly RetrievalModel[];
  readonly streamed: Stage<Streamed> | undefined;
  readonly seconds: number;
  readonly chunk: number;
  readonly pending?: readonly string[];
}

function assembled({ preset, settings, seed, device }: GcaRetrievalInput,
  { models, streamed, seconds, chunk, pending }: Parts): GcaRetrievalReport {
  const { models: _models, training: _training, ...measured } = settings;
  return {
    experiment: "gca-retrieval",
    preset,
    seed,
    trainLength: trainLengthOf(settings),
    seconds: Math.round(seconds * 10) / 10,
    models: [...models],
    streaming: streamed?.result.points ?? [],
    stream: streamed && { method: settings.streaming!.method, tier: streamed.result.tier, seconds: streamed.result.seconds },
    tokensTrained: models.reduce((sum, { tokensTrained = 0 }) => sum + tokensTrained, 0),
    chunk,
    sequences: settings.loss?.sequences,
    readingSequences: settings.reading?.sequences,
    command: `lenggen reproduce gca-retrieval --preset ${preset} --seed ${seed}`,
    device: device.description,
    settings: measured as unknown as Settings,
    ...(pending && { pending }),
  };
}

interface Trained {
  readonly checkpoint: string;
  readonly steps: number;
  readonly tokens: number;
  readonly seconds: number;
  readonly settings: Settings;
}

/** The trained model: from the committed checkpoint where this seed has one, else trained here. */
async function prepare(input: GcaRetrievalInput, retriever: RetrieverSettings, text: Text): Promise<Trained> {
  const { settings, seed, fromScratch, note, device } = input;
  const { method, checkpoints } = retriever;
  const training = trainingOf(settings, retriever);
  const steps = training.stages.reduce((sum, stage) => sum + stage.steps, 0);
  const checkpoint = fromScratch ? undefined : committedCheckpoint(retriever, seed);
  if (checkpoint === undefined) {
    if (checkpoints) note(`${method}: training from scratch, about ${checkpoints.fromScratch} on two cores`);
    return trainOne(input, retriever, text, steps);
  }
  note(`${method}: from the committed checkpoint; --from-scratch trains it anew, about ${checkpoints!.fromScratch} on two cores`);
  const { model, parameters } = await loadCheckpoint(checkpoint, device);
  dispose(parameters);
  check(JSON.stringify(model.config) === JSON.stringify(modelOf(retriever).config), "E_CONFIG", () =>
    `checkpoint ${checkpoint} is of another model than the settings of ${method}; --from-scratch trains one that fits`);
  return { checkpoint, steps, tokens: 0, seconds: 0, settings: { ...settingsOf(retriever, training), trainedBefore: true } };
}

function committedCheckpoint({ method, checkpoints }: RetrieverSettings, seed: number): string | undefined {
  const folder = checkpoints && resolve(packageFolder, checkpoints.folder, `seed-${seed}`, method);
  return folder !== undefined && existsSync(folder) ? folder : undefined;
}

/** Stage after stage, each a run of its own in the model's folder. */
async function trainOne({ settings, seed, folder, device, signal }: GcaRetrievalInput, retriever: RetrieverSettings, text: Text,
  steps: number): Promise<Trained> {
  const { method } = retriever;
  const training = trainingOf(settings, retriever);
  const { stages, learningRate, warmup, weightDecay } = training;
  check(stages.length > 0, "E_ARGUMENT", () => `the training of ${method} needs at least one stage`);
  check(stages.at(-1)!.model === undefined, "E_ARGUMENT", () =>
    `the training of ${method} must end with the model as it is, so its last stage can't have a "model"`);
  const done = { tokens: 0, seconds: 0, checkpoint: "" };
  let parameters: Parameters | undefined;
  try {
    for (const [s, stage] of stages.entries()) {
      const from = parameters;
      const batches = stageBatches(stage, training, foldIn(foldIn(key(seed), SAMPLES), s), text.tokens);
      const outcome = await runTraining(device, {
        label: `${method}, stage ${s + 1} of ${stages.length}`, model: modelOf(retriever, stage), text, batches, method: "zero",
        batch: stage.batch, context: stage.length,
        steps: stage.steps, seed, alike: false, schedule: { learningRate: stage.learningRate ?? learningRate,
          schedule: stage.schedule ?? "constant", warmup }, optimizer: { name: "adamw", options: { weightDecay } },
        ...(from && { parameters: () => Promise.resolve(from) }), settings: { before: stages.slice(0, s) as unknown as JsonRecord[] },
        folder: join(folder, method, `stage-${s + 1}`), resume: true, again: "the same command", logEvery: 10, keepCheckpoints: 1,
      }, signal);
      disposeExcept(parameters, outcome.parameters); // a stage that was finished before has loaded its own
      ({ parameters } = outcome);
      signal.throwIfAborted();
      done.tokens += outcome.tokens;
      done.seconds += outcome.seconds;
      done.checkpoint = outcome.checkpoint;
    }
  } finally {
    dispose(parameters);
  }
  return { ...done, steps, settings: settingsOf(retriever, training) };
}

function settingsOf({ model }: RetrieverSettings, training: RetrievalTraining): Settings {
  return { model, training: training as unknown as Settings };
}

interface Examination {
  readonly asked: Stage<RetrievalModel["retrieval"]>;
  readonly loss?: Stage<TextLosses>;
  readonly reading?: Stage<NonNullable<RetrievalModel["reading"]>>;
  readonly speed?: Stage<RetrievalModel["trainingSpeed"]>;
}

async function examine({ settings, seed, device, folder, signal }: GcaRetrievalInput, examined: Examined,
  text: Text): Promise<Examination> {
  const { method, model, parameters, trained, heldOut } = examined;
  const { loss, reading, speed, pass } = settings;
  const read = [settings.heldOutText, heldOut.length];
  const asked = await askAll(examined);
  return {
    asked,
    loss: loss && await resumable(join(folder, `${method}-loss.json`), { trained, loss, pass, text: read },
      () => textLosses(examined, parameters, loss)),
    reading: reading && await resumable(join(folder, `${method}-reading.json`), {
      model: model.config as JsonRecord, seed, reading, pass, text: read, warmup: settings.training.warmup,
      weightDecay: settings.training.weightDecay, device: device.description,
    }, () => readOnly(examined, reading, { device, seed, text })),
    speed: speed && await resumable(join(folder, `${method}-speed.json`),
      { model: model.config as JsonRecord, speed, device: device.description }, () =>
      trainingSpeed(model, device, speed, text.tokens, signal)),
  };
}

function streamOnce({ settings, device, folder }: GcaRetrievalInput, examined: Examined): Promise<Stage<Streamed>> {
  const streaming = settings.streaming!;
  const decides = { trained: examined.trained, streaming, pass: settings.pass, device: device.description,
    text: [settings.heldOutText, examined.heldOut.length] };
  return resumable(join(folder, `${streaming.method}-stream.json`), decides, () => readStream(examined, streaming, device));
}
