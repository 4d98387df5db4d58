/** The settings of tasks, for `eval --set` and `train --task-set`. */
import { type TaskName, type TaskOptions, TASKS } from "@lenggen/evals";
import type { Setting } from "@lenggen/interventions";
import { describeSettings, parseAssignments, type Table } from "./settings";

function whole(byDefault: number, meaning: string, least: number, most = Infinity): Setting<number> {
  return {
    default: byDefault,
    meaning,
    range: most === Infinity ? `a whole number of at least ${least}` : `a whole number from ${least} to ${most}`,
    accepts: (value) => Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most,
  };
}

const filler: Setting<string> = {
  default: "text",
  meaning: "What surrounds the keys: real text, or noise, random letters and spaces.",
  range: "text or noise",
  accepts: (value) => value === "text" || value === "noise",
};

/** Tasks with keys, which have names of so many letters unless told otherwise. */
const keys = (nameLength: number, least = 0) => ({
  keyLength: whole(3, "Letters of a key.", 1),
  nameLength: whole(nameLength, "Letters of the name that a key is asked for by.", least),
  nameLetters: whole(26, "How many different letters names are made of, drawn for each text; the fewer, the more alike.", 1, 26),
  filler,
});

const instructions: Setting<boolean> = { default: false, meaning: "Whether the prompt opens with its instructions.", range: "true or false", accepts: (value) => typeof value === "boolean" };

const SETTINGS: Readonly<Record<TaskName, Table>> = {
  passkey: { instructions },
  "passkey-text": { instructions },
  recall: keys(0),
  copying: {},
  "key-retrieval": keys(0),
  "two-hop": { ...keys(2, 1), keys: whole(2, "How many chains there are; one is asked for.", 1) },
  "many-key": { ...keys(2), keys: whole(4, "How many keys there are; one is asked for.", 1) },
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
