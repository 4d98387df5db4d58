/**
 * What the packages call a setting in JavaScript, in the words of the command line: `resetPer` is `--set reset-per` there. Errors about a
 * setting come from below, where nobody knows of options.
 */
import { TASKS } from "@lenggen/evals";
import { INTERVENTIONS, LOSSES, OPTIMIZERS } from "@lenggen/interventions";
import { kebab } from "./settings";

/** An option as commander has it. */
interface CommandOption {
  readonly long?: string | undefined;
  attributeName(): string;
}

const settingsOf = (table: Readonly<Record<string, { readonly options: object } | { readonly settings: object }>>): string[] =>
  Object.values(table).flatMap((entry) => Object.keys("options" in entry ? entry.options : entry.settings));

/**
 * A message with the names that a command with these options has for settings. Places such as `schedule.learningRate` are of files, and
 * stay.
 */
export function inOptions(message: string, options: readonly CommandOption[]): string {
  const names = new Map<string, string>();
  const has = (option: string): boolean => options.some(({ long }) => long === option);
  // `eval --set` is of tasks, `train --set` of methods.
  const tables = { "--set": has("--task-set") ? INTERVENTIONS : TASKS, "--task-set": TASKS, "--optimizer-set": OPTIMIZERS,
    "--loss-set": LOSSES };
  for (const [option, table] of Object.entries(tables)) {
    if (has(option)) for (const name of settingsOf(table)) names.set(name, `${option} ${kebab(name)}`);
  }
  for (const option of options) if (option.long !== undefined) names.set(option.attributeName(), option.long);
  // Names of one word are words of the language too.
  return message.replaceAll(/(?<![\w./\\-])[a-z]+[A-Z]\w*(?![\w(])/g, (name) => names.get(name) ?? name);
}
