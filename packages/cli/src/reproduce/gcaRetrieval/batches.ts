/** Samples of several tasks as the training batches of a stage. */
import { batchOfSamples, taskBatches, TASKS } from "@lenggen/evals";
import { type BatchSource, check, foldIn, hostRandom, type JsonObject, type Key, type Tokens, type TokenSource } from "@lenggen/kernels";
import type { RetrievalTraining, TrainedTask, TrainingStage } from "./settings";

/**
 * Each batch has one task, drawn by the shares, and one length for all its rows, so that they share the end of their segments. Batches are
 * functions of the step. Throws `E_ARGUMENT` when the stage is too short for a task.
 */
export function stageBatches(
  stage: TrainingStage, { tasks, answerShare }: Pick<RetrievalTraining, "tasks" | "answerShare">, key: Key, text: Tokens | TokenSource,
): BatchSource {
  const mix = stage.tasks ?? tasks;
  check(mix.length > 0, "E_ARGUMENT", () => "training on tasks needs at least one task in each stage");
  const { batch, length } = stage;
  const sources = mix.map((task, t) => samples(stage, task, answerShare, foldIn(key, t), text));
  const shares = mix.reduce((sum, { share }) => sum + share, 0);
  return {
    order: "independent",
    batch,
    context: length,
    settings: { kind: "samples of tasks", ...(JSON.parse(JSON.stringify({ stage, mix, answerShare })) as JsonObject), text: text.length,
      key: [...key] },
    at(step) {
      let left = hostRandom(foldIn(foldIn(key, mix.length), step)).uniform() * shares;
      const t = Math.max(0, mix.findIndex(({ share }) => (left -= share) < 0));
      return { ...batchOfSamples(sources[t]!.batch(step), batch), context: length };
    },
  };
}

function samples({ length, batch, shortest }: TrainingStage, { task: name, ends = 1, questions, options = {} }: TrainedTask,
  answerShare: number, key: Key, text: Tokens | TokenSource) {
  const task = TASKS[name];
  const longest = length + 1;
  const prompt = task.promptLength(longest, options);
  const answer = longest - prompt;
  const least = Math.min(longest, Math.max(shortest ?? Math.ceil(length / 2), answer + task.shortest(options)));
  // Mean over the text's bytes and mean over the answer's, each with its share.
  const answerWeight = ((answerShare / (1 - answerShare)) * prompt) / (answer * (questions ?? 1));
  return taskBatches(task, { ...options, key, batch, length, shortest: least, text, answerWeight, sharedLength: true, ends, questions });
}
