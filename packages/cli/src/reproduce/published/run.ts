/**
 * A checkpoint that others trained, from beginning to end (Buitrago Ruiz & Gu 2025, section on published models): it is measured far beyond
 * its training length, trained on for a few hundred steps with other initial states, and measured again.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { hubReferenceOf } from "@lenggen/data/node";
import type { UnexploredStatesReport } from "@lenggen/evals";
import { check, dispose, type Parameters, type SequenceModel } from "@lenggen/kernels";
import { makeFolder, writeWhole } from "@lenggen/kernels/node";
import { weightsHash } from "../../begun";
import { loadCheckpoint } from "../../checkpoints";
import { bytes, count, counted, duration } from "../../format";
import type { ReproductionInput } from "../experiment";
import { tokenizerFor } from "../../tokens";
import { checkRecurrent } from "../unexploredStates/methods";
import type { StudySettings } from "../unexploredStates/settings";
import { type OnPart, study, type StudyInput, type Trained } from "../unexploredStates/study";
import { estimate } from "./estimate";
import { publishedSettings, PUBLISHED_PRESETS } from "./settings";

const EXPERIMENT = "published";

export type PublishedInput = ReproductionInput & Required<Pick<ReproductionInput, "checkpoint">>;

/** Runs all stages and returns the report. Throws `E_INTERRUPTED` when the signal came; what is done stays on disk. */
export async function reproducePublished(given: PublishedInput, onPart: OnPart): Promise<UnexploredStatesReport> {
  const { device, signal, checkpoint: { name, place }, folder } = given;
  const settings = publishedSettings(PUBLISHED_PRESETS[given.preset]!, given);
  const loaded = await loadCheckpoint(place, device);
  const { model } = loaded;
  try {
    checkRecurrent(model, "--checkpoint");
    given.note(`${name}: ${loaded.about}`);
    const tokenizerFiles = await tokenizerFor(model, given.tokenizer, place, given);
    const weights = await weightsHash(place, signal);
    await checkFolder(folder, { weights, tokenizer: tokenizerFiles.tokenizer.hash, settings, seed: given.seed });
    const input: StudyInput = {
      ...given, tokenizerFiles, settings, experiment: EXPERIMENT,
      command: commandOf(given), origin: { checkpoint: hubReferenceOf(place) ?? name, weights },
    };
    const base: Trained = {
      method: "base", checkpoint: place, steps: 0, tokens: 0, seconds: 0, settings: { weights }, base: { weights, place },
    };
    // Called when the texts are there, so that nobody waits for an estimate of what can't be done.
    const train = async (): Promise<Trained> => {
      await sayEstimate(given, settings, model, loaded.parameters);
      dispose(loaded.parameters);
      return base;
    };
    return await study(input, { model, train }, onPart);
  } finally {
    dispose(loaded.parameters);
  }
}

/**
 * Makes sure that what an earlier command left in the folder is of the same reproduction, and records which one it is. Throws `E_CONFIG`
 * where it is of another: nothing of that is written over.
 */
async function checkFolder(folder: string, decides: object): Promise<void> {
  const file = join(folder, "published.json");
  const wanted = JSON.stringify(decides);
  const found = await readFile(file, "utf8").catch(() => undefined);
  check(found === undefined || found === wanted, "E_CONFIG", () =>
    `${folder} holds the beginning of a reproduction of another checkpoint, or with another tokenizer, seed, text or setting; choose `
      + "another --out");
  await makeFolder(folder);
  await writeWhole(file, [new TextEncoder().encode(wanted)]);
}

/** Tells what is to be done, and what it will take. */
async function sayEstimate(
  { device, note, checkpoint, signal }: PublishedInput, settings: StudySettings, model: SequenceModel, parameters: Parameters,
): Promise<void> {
  const { compared = [], postTraining: { steps, batch, microBatches = 1 }, trainLength, lengths } = settings;
  const { training, measuring, bytes: most } = await estimate(device, model, parameters, settings);
  signal.throwIfAborted();
  const trained = compared.filter((method) => method !== "base").length;
  note(`${checkpoint.name}: ${model.family}; measured to ${count(Math.max(...lengths))} tokens, ${counted(trained, "model")} trained on `
    + `from it (${count(steps)} steps of ${counted(batch * microBatches, "sequence")} of ${count(trainLength)} tokens), and measured`);
  note(`about ${duration(trained * training + (trained + 1) * measuring)} on this machine: ${duration(measuring)} to measure a model, `
    + `${duration(training)} to train one; ${bytes(most)} of memory for tensors. Ctrl-C stops, and the same command goes on`);
}

function commandOf({ checkpoint, preset, seed, text, heldOut, field, tokenizer, trainLength, methods }: PublishedInput): string {
  return ["lenggen reproduce", EXPERIMENT, "--checkpoint", checkpoint.name,
    ...(text === undefined ? [] : ["--text", text]), ...(heldOut === undefined ? [] : ["--held-out", heldOut]),
    ...(field === undefined ? [] : ["--field", field]),
    ...(tokenizer === undefined ? [] : ["--tokenizer", tokenizer]),
    ...(trainLength === undefined ? [] : ["--train-length", trainLength]),
    ...(methods === undefined ? [] : ["--methods", methods.join(",")]),
    "--preset", preset, "--seed", seed].join(" ");
}
