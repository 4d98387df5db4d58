/** The settings of tasks, for `eval --set` and `train --task-set`. */
import { type TaskName, type TaskOptions, TASKS } from "@lenggen/evals";
import type { SettingsTable } from "@lenggen/kernels";
import { describeSettings, parseAssignments } from "./settings";

/** `name=value` for settings of a task, as the task takes them; `option` is the flag that they were given by. */
export function taskOptions(what: string, settings: SettingsTable, assignments: readonly string[], option: string): TaskOptions {
  return parseAssignments(what, settings, assignments, option);
}

/** Lines of help: tasks that have the same settings together. */
export function describeTaskSettings(): string[] {
  const groups = new Map<string, string[]>();
  for (const name of Object.keys(TASKS) as TaskName[]) {
    const lines = describeSettings(TASKS[name].settings).join("\n");
    if (lines !== "") groups.set(lines, [...(groups.get(lines) ?? []), name]);
  }
  return [...groups].flatMap(([lines, names]) => [`  ${names.join(", ")}:`, lines]);
}
