/**
 * The trainer, one for pre- and post-training. What tells runs apart is where parameters, batches and initial
 * states come from, what is minimised, and how the gradients are made an update.
 *
 * The device's queue runs ahead: while step n computes, step n + 1 is queued, and only then is the loss of step n
 * read. A loss that is not finite is therefore noticed one step late, but always before anything is saved:
 * evaluations and checkpoints first wait for all losses and look at all numbers that they would write.
 *
 * Resume is exact because a step depends on nothing but the checkpoint and its own number: batches and noise are
 * functions of keys and the step, and the optimiser and the source of initial states are saved along with the parameters. All of
 * that is the same on every device, so that a run may go on on any; only the rounding of a step differs from one to another.
 */
import {
  type BatchSource, check, checkRoom, countSetting, type Device, dispose, keep, LenggenError, parameterCount, type Parameters,
  resolveSettings, scope, type SequenceModel, type Tree, yieldToEventLoop,
} from "@lenggen/kernels";
import { loadCheckpoint, nonFiniteNumbers, saveCheckpoint, type Snapshot } from "./checkpoint";
import { checkFinite, located, type Whereabouts } from "./failures";
import type { InitialStates } from "./initialStates";
import type { JsonRecord } from "./json";
import type { Loss } from "./loss";
import { crossEntropyLoss } from "./losses/crossEntropy";
import { Meter, type Skipped, type SkippedEvent, type StepEvent } from "./meter";
import type { Optimizer } from "./optimizer";
import { adamWOptimizer } from "./optimizers/adamW";
import { METRICS_FILE, openRun } from "./run";
import { DEFAULT_LOSS, DEFAULT_OPTIMIZER } from "./resume";
import type { RunStore } from "./runStore";
import { checkWarmup, learningRateAt, recordedSchedule, scheduleLength, type ScheduleOptions, scheduleSettings } from "./schedule";
import { type StepContext, trainStep } from "./step";
import { runKey } from "./textBatches";
import { resolveCounts, type TrainCounts } from "./trainSettings";

/** Something measured during training. It must leave the parameters as they are. */
export interface Evaluation {
  readonly name: string;
  /** Runs after every so many steps, and after the last. */
  readonly every: number;
  /** May stop with `E_INTERRUPTED` once the signal is aborted. */
  run(parameters: Parameters, step: number, signal: AbortSignal | undefined): Promise<JsonRecord>;
}

/** What {@link train} tells while it runs. `waiting`: until it is clear whether a process on another machine still has the store. */
export type TrainEvent =
  | StepEvent
  | SkippedEvent
  | { readonly kind: "waiting"; readonly step: 0; readonly holder: string }
  | { readonly kind: "resumed"; readonly step: number; readonly steps: number }
  | { readonly kind: "evaluation"; readonly step: number; readonly name: string; readonly results: JsonRecord }
  | { readonly kind: "checkpoint"; readonly step: number; readonly path: string };

/** Options of {@link train}. */
export interface TrainOptions<State extends Tree> extends Partial<TrainCounts> {
  readonly model: SequenceModel<State>;
  readonly device: Device;
  /** Sequences and their order, which must be that of the source of initial states. */
  readonly batches: BatchSource;
  /** The trainer takes it over and disposes it in the end. */
  readonly initialStates: InitialStates;
  /**
   * Updates in all, those before an interruption included. A run may go on for more than it began with where the rates of the steps done
   * are the same: with a constant schedule, or a length of the schedule (`scheduleSteps`) that was given at its start.
   */
  readonly steps: number;
  /** Seed of fresh parameters and of initial states; batches have a key of their own. */
  readonly seed: number;
  /**
   * Where a new run starts; fresh parameters of the model unless given. Called only when a run begins, never when
   * one is resumed. The trainer takes the tensors over and updates them in place.
   */
  readonly parameters?: () => Promise<Parameters>;
  /** Its learning rate is the one that suits the optimiser unless given. */
  readonly schedule?: Partial<ScheduleOptions>;
  /** What is minimised; cross-entropy of the next token unless given. */
  readonly loss?: Loss;
  /** AdamW with its defaults unless given. The trainer takes it over and disposes it in the end. */
  readonly optimizer?: Optimizer;
  /** Where checkpoints and metrics go; without one nothing is saved. */
  readonly store?: RunStore;
  /**
   * Goes on with the run in the store, if there is one: to the same bits on a device like that which it was begun on, within
   * rounding on any other. Otherwise a store that holds a run is refused.
   */
  readonly resume?: boolean;
  /** Further settings of the caller that decide the result, e.g. the checkpoint that post-training starts from. */
  readonly settings?: JsonRecord;
  /** What else run.json records, e.g. versions; not compared when a run is resumed. */
  readonly about?: JsonRecord;
  /** Files that belong to the model, such as its tokenizer, by their names: they lie in each checkpoint too. */
  readonly files?: Readonly<Record<string, Uint8Array>>;
  readonly evaluations?: readonly Evaluation[];
  readonly onEvent?: (event: TrainEvent) => void;
  /** Stops after the step in progress, saves, and returns. */
  readonly signal?: AbortSignal;
}

/** How a run ended. */
export interface TrainResult {
  readonly status: "done" | "interrupted";
  /** Steps done, those before an interruption included. */
  readonly step: number;
  /** The caller's, to dispose. */
  readonly parameters: Parameters;
}

/**
 * Trains, or goes on with a run that was interrupted.
 *
 * Throws `E_CONFIG` and `E_ARGUMENT` for wrong settings, `E_LOCKED` while another process trains into the store, `E_EXISTS`, `E_CONFIG`,
 * `E_FORMAT` and `E_WEIGHTS` for a store that holds something else (see {@link openRun}), `E_MEMORY` at once for a model that can't be
 * trained in the device's memory, `E_NOT_FINITE` naming the step and the last good checkpoint, and `E_IO` when writing fails. When the
 * device fails (`E_DEVICE_LOST`, `E_MEMORY`, `E_SHADER`, `E_DEVICE`), the error says what was being done and names the last good
 * checkpoint, from which the run can be resumed on another device. The last good checkpoint is never touched.
 */
export async function train<State extends Tree>(options: TrainOptions<State>): Promise<TrainResult> {
  const { model, initialStates, store, signal, onEvent } = options;
  const { loss = crossEntropyLoss.create(model), optimizer = adamWOptimizer.create(model) } = options;
  const at: Whereabouts = { doing: "preparing the run", saved: undefined };
  let run: Run<State> | undefined;
  let unlock: (() => Promise<void>) | undefined;
  try {
    unlock = await store?.lock?.({ signal, onWait: (holder) => onEvent?.({ kind: "waiting", step: 0, holder }) });
    run = await start({ ...options, loss, optimizer }, at);
    return await loop(run, options);
  } catch (error) {
    if (run !== undefined) dispose(run.context.parameters);
    throw located(error, at, run !== undefined, store);
  } finally {
    await run?.meter.close();
    optimizer.dispose();
    initialStates.dispose();
    await unlock?.();
  }
}

interface Run<State extends Tree> {
  readonly at: Whereabouts;
  readonly context: StepContext<State>;
  readonly counts: TrainCounts;
  readonly schedule: ScheduleOptions;
  readonly meter: Meter;
  /** Steps done. */
  step: number;
}

/** Options with what holds unless given. */
type FullOptions<State extends Tree> = TrainOptions<State> & { readonly loss: Loss; readonly optimizer: Optimizer };

async function start<State extends Tree>(options: FullOptions<State>, at: Whereabouts): Promise<Run<State>> {
  const { model, device, batches, initialStates, loss, optimizer, steps, seed, store, resume = false } = options;
  const counts = resolveCounts(options);
  const learningRate = options.schedule?.learningRate ?? optimizer.learningRate;
  const asked = { ...options.schedule, ...(learningRate !== undefined && { learningRate }) };
  const schedule = resolveSettings("schedule", scheduleSettings, asked);
  resolveSettings("training", { steps: countSetting(1, "", 1) }, { steps });
  for (const { name, every } of options.evaluations ?? []) {
    resolveSettings(`evaluation ${name}`, { every: countSetting(1, "", 1) }, { every });
  }
  check(batches.order === initialStates.order, "E_CONFIG", () =>
    `${initialStates.name} needs ${initialStates.order} sequences, but the batches are ${batches.order}`);

  checkTrainingRoom(options);
  const settings: JsonRecord = {
    model: { family: model.family, ...(model.config as JsonRecord) },
    seed,
    steps,
    microBatches: counts.microBatches,
    schedule: recordedSchedule(schedule),
    ...recordedChoices(loss, optimizer),
    data: batches.settings,
    initialStates: { name: initialStates.name, ...initialStates.settings },
    ...options.settings,
  };
  // Only of new runs: those of earlier versions may have a warm-up that does not end, and go on as they began.
  const onNew = (): void => checkWarmup(schedule, steps);
  if (store === undefined) onNew();
  const about = { device: device.description, ...options.about };
  const opened = await (store && openRun(store, { settings, about }, { resume, onNew }));
  const { last } = opened ?? {};
  if (store && last !== undefined) await prune(store, counts); // a killed process may not have come to it
  at.saved = last;
  at.doing = last === undefined ? "making the parameters" : `loading the checkpoint of step ${last}`;
  const { parameters, tokens, seconds, skipped } = last === undefined
    ? await freshParts(options)
    : await restoredParts(options, last);
  const meter = new Meter({
    device, steps, tokens, seconds, skipped, logEvery: counts.logEvery,
  });
  const run: Run<State> = {
    context: {
      model, parameters, batches, initialStates, loss, optimizer, microBatches: counts.microBatches,
      skipsNotFinite: counts.skipNotFinite > 0, key: runKey(seed, "initialStates"),
    },
    at, counts, meter, step: last ?? 0,
    schedule: { ...schedule, scheduleSteps: 0, ...(opened?.settings["schedule"] as Partial<ScheduleOptions> | undefined) },
  };
  if (last !== undefined) options.onEvent?.({ kind: "resumed", step: last, steps });
  return run;
}

/** Refuses what can't be trained here before a file or a tensor is made of it. Parameters that the caller gives may lie there already. */
function checkTrainingRoom<State extends Tree>({ model, device, optimizer, parameters }: FullOptions<State>): void {
  const count = parameterCount(model);
  const { remembers = 0 } = optimizer;
  checkRoom(device, 4 * count * ((parameters ? 0 : 1) + 1 + remembers), `the model's ${count.toLocaleString("en")} parameters, their `
    + `gradients and what ${optimizer.name} remembers of them`);
}

/** As `run.json` has them: what holds unless given goes without its name, as in the runs of versions that knew nothing else. */
function recordedChoices(loss: Loss, optimizer: Optimizer): JsonRecord {
  return {
    optimizer: { ...(optimizer.name !== DEFAULT_OPTIMIZER && { name: optimizer.name }), ...optimizer.settings },
    ...(loss.name !== DEFAULT_LOSS && { loss: { name: loss.name, ...loss.settings } }),
  };
}

interface Parts {
  readonly parameters: Parameters;
  readonly tokens: number;
  readonly seconds: number;
  readonly skipped?: Skipped;
}

async function freshParts<State extends Tree>({ model, device, seed, optimizer, parameters: given }: FullOptions<State>): Promise<Parts> {
  const parameters = keep(await (given?.() ?? scope(() => model.init(runKey(seed, "parameters"), device))));
  try {
    optimizer.init(parameters);
    return { parameters, tokens: 0, seconds: 0 };
  } catch (error) {
    dispose(parameters);
    throw error;
  }
}

async function restoredParts<State extends Tree>(options: FullOptions<State>, step: number): Promise<Parts> {
  const { parameters, progress } = await loadCheckpoint(options.store!, step, options);
  return { parameters, tokens: progress.tokens, seconds: progress.seconds, skipped: progress.skipped };
}

async function loop<State extends Tree>(run: Run<State>, options: TrainOptions<State>): Promise<TrainResult> {
  const { steps, signal, store, evaluations = [] } = options;
  const { at, context, counts, meter } = run;
  if (at.saved === undefined) await save(run, options); // so that there is always a last good checkpoint
  while (run.step < steps && !signal?.aborted) {
    at.doing = `training step ${run.step + 1}`;
    const learningRate = learningRateAt(run.step + 1, scheduleLength(run.schedule, steps), run.schedule);
    meter.queued(run.step + 1, learningRate, trainStep(context, run.step, learningRate));
    run.step++;
    await settle(run, options, 1);
    const ends = (every: number) => run.step % every === 0 || run.step === steps;
    for (const evaluation of evaluations) if (ends(evaluation.every)) await evaluate(run, options, evaluation);
    if (store && ends(counts.checkpointEvery)) await save(run, options);
    await yieldToEventLoop();
  }
  await settle(run, options, 0);
  if (at.saved !== run.step) await save(run, options);
  return { status: run.step < steps ? "interrupted" : "done", step: run.step, parameters: context.parameters };
}

/** Reads losses until at most `ahead` steps are still unread, and reports them. */
async function settle<State extends Tree>(run: Run<State>, { store, onEvent }: TrainOptions<State>, ahead: number): Promise<void> {
  const tell = async (event: StepEvent | SkippedEvent): Promise<void> => {
    const { kind: _, ...line } = event;
    await store?.append(METRICS_FILE, `${JSON.stringify(line)}\n`);
    onEvent?.(event);
  };
  while (run.meter.unread > ahead) {
    run.at.doing = `training step ${run.step + 1 - run.meter.unread}`;
    const { step, bad, event } = await run.meter.read();
    if (bad !== undefined) await tell(skippedStep(run, step, bad, store));
    if (event !== undefined) await tell(event);
  }
}

/** The event of a step that was skipped. Throws `E_NOT_FINITE` where it was one too many in a row. */
function skippedStep<State extends Tree>(
  { meter, counts, at }: Run<State>, step: number, why: string, store: RunStore | undefined,
): SkippedEvent {
  const { total: skipped, inARow } = meter.skipped;
  const most = counts.skipNotFinite;
  checkFinite(inARow <= most, `${why} at step ${step}${most > 0 ? `, after ${most} in a row that were skipped` : ""}`, at, store);
  return { kind: "skipped", step, why, skipped, inARow };
}

async function evaluate<State extends Tree>(run: Run<State>, options: TrainOptions<State>, evaluation: Evaluation): Promise<void> {
  await settle(run, options, 0);
  const resume = run.meter.pause();
  run.at.doing = `evaluation ${evaluation.name} after step ${run.step}`;
  try {
    const results = await evaluation.run(run.context.parameters, run.step, options.signal);
    await options.store?.append(METRICS_FILE, `${JSON.stringify({ step: run.step, evaluation: evaluation.name, results })}\n`);
    options.onEvent?.({ kind: "evaluation", step: run.step, name: evaluation.name, results });
  } catch (error) {
    // An evaluation that was interrupted has no results; training itself goes on to its orderly end.
    if (!(error instanceof LenggenError && error.code === "E_INTERRUPTED" && options.signal?.aborted)) throw error;
  }
  resume();
}

async function save<State extends Tree>(run: Run<State>, options: TrainOptions<State>): Promise<void> {
  const { store, onEvent } = options;
  await settle(run, options, 0);
  if (store === undefined) return;
  const resume = run.meter.pause();
  run.at.doing = `saving the checkpoint of step ${run.step}`;
  const { model, parameters, optimizer, initialStates } = run.context;
  const { device } = options;
  const { tokens, seconds, skipped } = run.meter;
  const progress = { step: run.step, tokens, seconds, ...(skipped.total > 0 && { skipped }), device: device.description };
  const snapshot: Snapshot = { model, parameters, optimizer, initialStates, progress, files: options.files };
  const bad = await nonFiniteNumbers(snapshot);
  checkFinite(bad === 0, `${bad} parameters, moments or states are not finite after step ${run.step}`, run.at, store);
  await saveCheckpoint(store, snapshot);
  run.at.saved = run.step;
  await prune(store, run.counts);
  onEvent?.({ kind: "checkpoint", step: run.step, path: store.checkpointPath(run.step) });
  resume();
}

/** Deletes all checkpoints but the newest. */
async function prune(store: RunStore, { keepCheckpoints }: TrainCounts): Promise<void> {
  for (const old of (await store.checkpoints()).slice(0, -keepCheckpoints)) await store.removeCheckpoint(old);
}
