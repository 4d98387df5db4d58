/**
 * Recall beyond the training length: small models of their own, trained on short texts with a planted key that is asked for at the
 * end (task `recall`), a control and interventions from them, each asked at lengths far beyond. Apart from the models that only
 * read text, since planted keys change what those learn.
 */
import { join } from "node:path";
import { batchOfSamples, type Method, METHODS, taskAccuracy, type TaskAccuracy, taskBatches, TASKS } from "@lenggen/evals";
import { type BatchSource, dispose, foldIn, key, type Parameters, type TokenSource } from "@lenggen/kernels";
import { MODELS } from "../../families";
import { loadCheckpoint } from "../../checkpoints";
import { Progress } from "../../progress";
import type { Text } from "@lenggen/data/node";
import { runTraining } from "../../training";
import type { ReproductionInput } from "../experiment";
import { initialStatesOf, type RecallTraining } from "./settings";

export interface RecallOutcome {
  readonly recall: readonly { readonly method: Method; readonly results: readonly TaskAccuracy[] }[];
  readonly tokens: number;
  readonly seconds: number;
}

/** TBTT is left out: it needs text that goes on from one sequence to the next, and these samples do not. */
const WITHOUT: ReadonlySet<Method> = new Set(["tbtt"]);

/**
 * Trains and measures all recall models but those that are left out. Each has a run directory `recall-<method>` below the reproduction's.
 * `onModel` receives what there is so far.
 */
export async function reproduceRecall(
  input: ReproductionInput, settings: RecallTraining, leftOut: readonly Method[], text: Text, heldOut: TokenSource,
  onModel: (soFar: RecallOutcome["recall"], later: readonly Method[]) => Promise<void>,
): Promise<RecallOutcome> {
  const { device, folder, seed, signal } = input;
  const model = MODELS.make(settings.model);
  const started = performance.now();
  const recall: { method: Method; results: TaskAccuracy[] }[] = [];
  let base = "";
  let tokens = 0;
  const methods = METHODS.filter((name) => !WITHOUT.has(name) && !leftOut.includes(name));
  for (const [i, method] of methods.entries()) {
    const { batch, steps, weightDecay, ...schedule } = method === "base" ? settings.base : settings.postTraining;
    const start = async (): Promise<Parameters> => (await loadCheckpoint(base, device)).parameters;
    const { checkpoint, parameters } = await runTraining(device, {
      label: `recall, ${method}`, model, text, method: initialStatesOf(method),
      methodOptions: settings.methods[method], batches: samples(settings.trainLength, batch, text.tokens, seed, method === "base" ? 5 : 6),
      batch, context: settings.trainLength, steps, seed, schedule, optimizer: { name: "adamw", options: { weightDecay } },
      folder: join(folder, `recall-${method}`), resume: true, again: "the same command", logEvery: 10, keepCheckpoints: 1,
      parameters: method === "base" ? undefined : start,
    }, signal);
    signal.throwIfAborted();
    if (method === "base") base = checkpoint;
    tokens += steps * batch * settings.trainLength;
    const bar = new Progress(`recall, ${method}: asked`, settings.samples * settings.lengths.reduce((sum, length) => sum + length, 0),
      { unit: "tokens" });
    try {
      recall.push({
        method,
        results: [await taskAccuracy(model, parameters, TASKS.recall, {
          key: foldIn(key(seed), 7), lengths: settings.lengths, samples: settings.samples, text: heldOut, signal,
          onProgress: (done) => bar.update(done),
        })],
      });
    } finally {
      bar.finish();
      dispose(parameters);
    }
    const later = methods.slice(i + 1);
    if (later.length > 0) await onModel([...recall], later);
  }
  return { recall, tokens, seconds: (performance.now() - started) / 1000 };
}

/** Samples as batches. The answer weighs as much as all the text before it together. */
function samples(trainLength: number, batch: number, text: TokenSource, seed: number, stream: number): BatchSource {
  const answerWeight = Math.floor(trainLength / 3);
  const source = taskBatches(TASKS.recall, { key: foldIn(key(seed), stream), batch, length: trainLength, text, answerWeight });
  return {
    order: "independent",
    batch,
    context: trainLength,
    settings: { kind: "recall samples", batch, context: trainLength, answerWeight, seed, stream },
    at: (step) => batchOfSamples(source.batch(step), batch),
  };
}
