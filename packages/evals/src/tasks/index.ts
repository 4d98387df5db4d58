/** The table of tasks. A new task is one new file and one line here. */
import { entryNamed } from "@lenggen/kernels";
import { copying } from "./copying";
import { keyRetrieval, manyKey, recall, twoHop } from "./keys";
import { passkey, passkeyText } from "./passkey";
import type { Task } from "./task";

/** Every task by name. A new one is a file beside this and a line here. */
export const TASKS = {
  passkey, "passkey-text": passkeyText, recall, copying, "key-retrieval": keyRetrieval, "two-hop": twoHop, "many-key": manyKey,
} as const satisfies Record<string, Task>;

/** A name in {@link TASKS}. */
export type TaskName = keyof typeof TASKS;

/** Looks a task up; throws `E_UNKNOWN_NAME` with the nearest name. */
export function taskNamed(name: string): Task {
  return entryNamed<Task>("task", TASKS, name);
}

export { taskBatches, type TaskBatch, type TaskBatchOptions } from "./batches";
export type { Expected, Haystack, Sample, Score, StreamedSample, StreamingTask, Task, TaskOptions } from "./task";
export { plantKeys, type Planted, type PlantOptions } from "./plant";
export { batchOfSamples, type TaskTraining, withTask } from "./training";
