/** The settings of tasks, for `eval --set` and `train --task-set`. */
import { type TaskName, type TaskOptions, TASKS } from "@lenggen/evals";
import { choiceSetting, countSetting, flagSetting } from "@lenggen/interventions";
import { describeSettings, parseAssignments, type Table } from "./settings";

/** Tasks with keys, which have names of so many letters unless told otherwise. */
const keys = (nameLength: number, least = 0) => ({
  keyLength: countSetting(3, "Letters of a key.", 1),
  nameLength: countSetting(nameLength, "Letters of the name that a key is asked for by.", least),
  nameLetters: countSetting(26, "How many different letters names are made of, drawn for each text; the fewer, the more alike.", 1, 26),
  filler: choiceSetting(["text", "noise"], "text", "What surrounds the keys: real text, or noise, random letters and spaces."),
});

const instructions = flagSetting(false, "Whether the prompt opens with its instructions.");

const SETTINGS: Readonly<Record<TaskName, Table>> = {
  passkey: { instructions },
  "passkey-text": { instructions },
  recall: keys(0),
  copying: {},
  "key-retrieval": keys(0),
  "two-hop": { ...keys(2, 1), keys: countSetting(2, "How many chains there are; one is asked for.", 1) },
  "many-key": { ...keys(2), keys: countSetting(4, "How many keys there are; one is asked for.", 1) },
};

/** Named keys of which all are asked for, one after the other. */
export const STREAM_SETTINGS: Table = keys(2);

/** What a task may be told. */
export function settingsOfTask(name: TaskName): Table {
  return SETTINGS[name];
}

/** `name=value` for settings of a task, as the task takes them; `option` is the flag that they were given by. */
export function taskOptions(what: string, settings: Table, assignments: readonly string[], option: string): TaskOptions {
  return parseAssignments(what, settings, assignments, option);
}

/** Lines of help: tasks that have the same settings together. */
export function describeTaskSettings(): string[] {
  const groups = new Map<string, string[]>();
  for (const name of Object.keys(TASKS) as TaskName[]) {
    const lines = describeSettings(SETTINGS[name]).join("\n");
    if (lines !== "") groups.set(lines, [...(groups.get(lines) ?? []), name]);
  }
  return [...groups].flatMap(([lines, names]) => [`  ${names.join(", ")}:`, lines]);
}
