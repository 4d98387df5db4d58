/** How well models read: loss on held-out text, also of models that were trained on nothing else, each for as long as the others. */
import { join } from "node:path";
import { lossByPosition, type RetrievalModel } from "@lenggen/evals";
import { type Device, dispose, type Parameters, type SequenceModel } from "@lenggen/kernels";
import { cutSequences } from "../../measures";
import type { Text } from "@lenggen/data/node";
import { runTraining } from "../../training";
import { underBar } from "../bar";
import type { Examined } from "./questions";
import { type GcaRetrievalSettings, type TextLoss, trainLengthOf } from "./settings";

export type TextLosses = Pick<RetrievalModel, "lossByLength" | "lossByPosition">;

/** By length and by position. `trainLength`: of the sequences that the parameters were trained on, the settings' longest unless given. */
export async function textLosses(
  { method, model: either, heldOut, settings, signal }: Examined, parameters: Parameters, { lengths, sequences }: TextLoss,
  trainLength = trainLengthOf(settings),
): Promise<TextLosses> {
  const model: SequenceModel = either;
  const found = await underBar(`${method}: loss`, (onProgress) =>
    lossByPosition(model, parameters, cutSequences(heldOut, Math.max(...lengths) + 1, sequences), {
    trainLength, lengths, chunk: settings.pass, signal, onProgress,
  }));
  return { lossByLength: found.lengths, lossByPosition: found.bins };
}

/** The same model from fresh parameters, trained on text alone; its run directory stands beside its stages. */
export async function readOnly(
  examined: Examined, reading: NonNullable<GcaRetrievalSettings["reading"]>,
  { device, seed, text }: { device: Device; seed: number; text: Text },
): Promise<NonNullable<RetrievalModel["reading"]>> {
  const { method, model, settings, folder, signal } = examined;
  const { length, batch, learningRate } = reading;
  const { warmup, weightDecay } = settings.training;
  const steps = reading.steps[method];
  const { parameters, tokens, seconds } = await runTraining(device, {
    label: `${method}, on text alone`, model, text, method: "zero", batch, context: length, steps, seed,
    schedule: { learningRate, schedule: "cosine", warmup }, optimizer: { name: "adamw", options: { weightDecay } },
    folder: join(folder, method, "reading"), resume: true, again: "the same command", logEvery: 10, keepCheckpoints: 1,
  }, signal);
  try {
    signal.throwIfAborted();
    return { steps, tokensTrained: tokens, seconds, ...await textLosses(examined, parameters, reading, length) };
  } finally {
    dispose(parameters);
  }
}
