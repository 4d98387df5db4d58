/** Samples of several tasks as training batches whose sequences grow from stage to stage. */
import { taskBatches, TASKS } from "@lenggen/evals";
import type { BatchSource, JsonRecord } from "@lenggen/interventions";
import { check, foldIn, hostRandom, type Key } from "@lenggen/kernels";
import { asBatch } from "../../tasks";
import type { RetrievalTraining, TrainedTask, TrainingStage } from "./settings";

/**
 * Each batch has one task, drawn by the shares, and one length for all its rows, so that they share the end of their segments. Batches are
 * functions of the step. Throws `E_ARGUMENT` when a stage is too short for a task.
 */
export function stagedBatches({ stages, tasks, answerShare }: RetrievalTraining, key: Key, text: Uint8Array): BatchSource {
  check(stages.length > 0 && stages.every((stage) => (stage.tasks ?? tasks).length > 0), "E_ARGUMENT", () => "training on tasks needs at least one stage, and each stage a task");
  const sources = stages.map((stage, s) => (stage.tasks ?? tasks).map((task, t) => samples(stage, task, answerShare, foldIn(foldIn(key, s), t), text)));
  const starts = stages.map((_, s) => stages.slice(0, s).reduce((sum, { steps }) => sum + steps, 0));
  return {
    order: "independent",
    batch: stages.at(-1)!.batch,
    context: Math.max(...stages.map(({ length }) => length)),
    settings: { kind: "samples of tasks in stages", ...(JSON.parse(JSON.stringify({ stages, tasks, answerShare })) as JsonRecord), text: text.length, key: [...key] },
    at(step) {
      const s = starts.findLastIndex((start) => step >= start);
      const { length, batch, tasks: mix = tasks } = stages[s]!;
      let left = hostRandom(foldIn(foldIn(key, stages.length), step)).uniform() * mix.reduce((sum, { share }) => sum + share, 0);
      const t = Math.max(0, mix.findIndex(({ share }) => (left -= share) < 0));
      return { ...asBatch(sources[s]![t]!.batch(step), batch), context: length };
    },
  };
}

function samples({ length, batch, shortest, segment }: TrainingStage, { task: name, ends = 1, questions, options = {} }: TrainedTask, answerShare: number, key: Key, text: Uint8Array) {
  const task = TASKS[name];
  const longest = length + 1;
  const prompt = task.promptLength(longest, options);
  const answer = longest - prompt;
  const least = Math.min(longest, Math.max(shortest ?? Math.ceil(length / 2), answer + task.shortest(options)));
  // Mean over the text's bytes and mean over the answer's, each with its share.
  const answerWeight = ((answerShare / (1 - answerShare)) * prompt) / (answer * (questions ?? 1));
  return taskBatches(task, { ...options, key, batch, length, shortest: least, text, answerWeight, sharedLength: true, ends, segment, questions });
}
