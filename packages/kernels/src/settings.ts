/**
 * Settings that describe themselves, of tasks, interventions, optimisers and losses alike: one table says each one's default, meaning and
 * range, so that checking, help texts and documentation can't drift apart.
 */
import { check } from "./errors";
import { nearest } from "./nearest";
import type { Json } from "./strictJson";

/** One option: default, meaning, and what it may be. */
export interface Setting<Value extends Json = Json> {
  readonly default: Value;
  /** One sentence for help texts. */
  readonly meaning: string;
  /** What is right, in words, e.g. `a number from 0 to 1`. */
  readonly range: string;
  accepts(value: unknown): boolean;
}

/** A table of settings, one for each option. */
export type Settings<Options> = { readonly [Name in keyof Options]: Setting<Options[Name] & Json> };

/** A table of settings whose names are not known at compile time. */
export type SettingsTable = Readonly<Record<string, Setting>>;

/** A finite number, within bounds. `meaning` is one sentence, as for all kinds of settings. */
export function numberSetting(byDefault: number, meaning: string,
  bounds: { above?: number; from?: number; to?: number } = {}): Setting<number> {
  const { above = -Infinity, from = -Infinity, to = Infinity } = bounds;
  const limits = [
    above > -Infinity ? `above ${above}` : "",
    from > -Infinity ? `from ${from}` : "",
    to < Infinity ? `to ${to}` : "",
  ].filter((limit) => limit !== "");
  return {
    default: byDefault,
    meaning,
    range: ["a number", ...limits].join(" "),
    accepts: (value) => typeof value === "number" && Number.isFinite(value) && value > above && value >= from && value <= to,
  };
}

/** A whole number from `from` to `to`. */
export function countSetting(byDefault: number, meaning: string, from = 0, to = Infinity): Setting<number> {
  return {
    default: byDefault,
    meaning,
    range: to === Infinity ? `a whole number of at least ${from}` : `a whole number from ${from} to ${to}`,
    accepts: (value) => Number.isSafeInteger(value) && (value as number) >= from && (value as number) <= to,
  };
}

/** True or false. */
export function flagSetting(byDefault: boolean, meaning: string): Setting<boolean> {
  return { default: byDefault, meaning, range: "true or false", accepts: (value) => typeof value === "boolean" };
}

/** One of some names. */
export function choiceSetting<const Names extends readonly string[]>(
  names: Names, byDefault: Names[number], meaning: string,
): Setting<Names[number]> {
  return {
    default: byDefault,
    meaning,
    range: `one of ${names.join(", ")}`,
    accepts: (value) => names.includes(value as string),
  };
}

/** Fills in defaults. Throws `E_CONFIG` naming a setting that is unknown (with the nearest name) or out of range. */
export function resolveSettings<Options extends object>(what: string, settings: Settings<Options>, given: Partial<Options> = {}): Options {
  const names = Object.keys(settings) as (keyof Options & string)[];
  for (const name of Object.keys(given)) {
    check(Object.hasOwn(settings, name), "E_CONFIG", () =>
      `${what}: unknown setting ${name}${nearest(name, names)}; ${names.length > 0 ? `there are ${names.join(", ")}` : "it has none"}`);
  }
  const entries = names.map((name) => {
    const value = given[name] === undefined ? settings[name].default : given[name];
    check(settings[name].accepts(value), "E_CONFIG", () =>
      `${what}: ${name} is ${typeof value === "number" ? value : (JSON.stringify(value) ?? String(value))}; `
      + `it must be ${settings[name].range}`);
    return [name, value];
  });
  return Object.fromEntries(entries) as Options;
}
