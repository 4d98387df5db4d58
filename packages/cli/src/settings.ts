/** Command-line flags from tables of settings, so that help, checks and defaults come from one place. */
import { type Json, type JsonObject, nearest, type Setting, type SettingsTable } from "@lenggen/kernels";
import type { Command } from "commander";
import { UsageError } from "./usage";

/** A setting's name as the command line has it. */
export const kebab = (name: string): string => name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** Reads a value of the same kind as the setting's default. Throws when the setting does not accept it. */
function parseSetting(option: string, setting: Setting, text: string): Json {
  let value: Json = text;
  if (typeof setting.default === "number") value = text.trim() === "" ? Number.NaN : Number(text);
  if (typeof setting.default === "boolean") value = text === "true" ? true : text === "false" ? false : text;
  if (!setting.accepts(value)) throw new UsageError(`${option}: "${text}" must be ${setting.range}`);
  return value;
}

function about({ meaning, range }: Pick<Setting, "meaning" | "range">): string {
  return `${meaning} ${range.charAt(0).toUpperCase()}${range.slice(1)}.`;
}

/**
 * Adds one flag per setting, e.g. `--learning-rate <value>`. A setting in `unless` has no default, and says in these words what holds
 * unless it is given.
 */
export function addSettings(
  command: Command, settings: SettingsTable, unless: Readonly<Record<string, string>> = {},
): Command {
  for (const [name, setting] of Object.entries(settings)) {
    const flag = `--${kebab(name)}`;
    const open = unless[name];
    const help = open === undefined ? about(setting) : `${about(setting)} Unless given: ${open}`;
    const byDefault = open === undefined ? setting.default : undefined;
    command.option(`${flag} <value>`, help, (text: string) => parseSetting(flag, setting, text), byDefault);
  }
  return command;
}

/** The values of a table's settings among a command's options. */
export function pickSettings(settings: SettingsTable, options: Readonly<Record<string, unknown>>): JsonObject {
  return Object.fromEntries(Object.keys(settings).map((name) => [name, options[name] as Json]));
}

/** `name=value` for the settings of one method or task; kebab or camel case. `option` is the flag that they were given by. */
export function parseAssignments(
  what: string, settings: SettingsTable, assignments: readonly string[], option = "--set",
): JsonObject {
  return Object.fromEntries(assignments.map((assignment) => {
    const [given = "", ...rest] = assignment.split("=");
    const name = Object.keys(settings).find((candidate) => candidate === given || kebab(candidate) === given);
    const names = Object.keys(settings).map(kebab);
    if (name === undefined) {
      throw new UsageError(
        `${option} ${assignment}: ${what} has no setting "${given}"${nearest(given, names)}; `
        + (names.length > 0 ? `there are ${names.join(", ")}` : "it has none"), "E_UNKNOWN_NAME");
    }
    return [name, parseSetting(`${option} ${given}`, settings[name]!, rest.join("="))];
  }));
}

/** Collects the values of an option that can be repeated. */
export const repeated = (text: string, all: readonly string[] | undefined): string[] => [...(all ?? []), text];

/** Lines of help about settings that are given as `name=value`. */
export function describeSettings(settings: SettingsTable): string[] {
  return Object.entries(settings).map(([name, { meaning, range, default: byDefault }]) =>
    `    ${kebab(name)}=${JSON.stringify(byDefault).replaceAll('"', "")}  ${about({ meaning, range })}`);
}
