/** What of a run may change when it goes on: its number of steps, where the steps done would have been the same. */
import { check, isJsonObject, LenggenError } from "@lenggen/kernels";
import { differences, type Json, type JsonRecord } from "./json";

/** What a run has that names none, as {@link settingsToGoOn} knows it. */
export const [DEFAULT_LOSS, DEFAULT_OPTIMIZER] = ["cross-entropy", "adamw"] as const;

/** What older runs recorded of places: texts and bases may be moved, since what they hold decides. */
const PLACES = ["text", "base"] as const;

/**
 * The settings with which a run that began with `there` goes on when `here` is asked for: its own, with the new number of steps. Throws
 * `E_CONFIG` with another model, or the first other differences, and why it can't be; `done`: steps of its last checkpoint, `where`: its
 * place.
 */
export function settingsToGoOn(there: JsonRecord, here: JsonRecord, done: number, where: string): JsonRecord {
  const { schedule: begun = {}, steps: were, ...others } = there;
  const { schedule: asked = {}, steps: count, ...wanted } = here;
  const steps = count as number;
  check(steps >= done, "E_CONFIG", () => `the run in ${where} has done ${done} steps already, more than the ${steps} asked for`);
  const { scheduleSteps: lengthThere, ...rates } = begun as Schedule;
  const { scheduleSteps: lengthHere, ...ratesWanted } = asked as Schedule;
  const [settingsThere, settingsHere] = comparable({ ...others, schedule: rates }, { ...wanted, schedule: ratesWanted });
  checkModel(settingsThere["model"], settingsHere["model"], where);
  const differing = differences(settingsThere, settingsHere);
  check(differing.length === 0, "E_CONFIG", () =>
    `the run in ${where} has other settings, so it can't be resumed with these: ${firstOf(differing)}. `
    + "They made the steps that are done, which would have been others; a new run may start from its checkpoint with settings of its own");

  const length = lengthThere ?? (were as number);
  const next = lengthHere ?? lengthThere ?? steps;
  // A constant rate is the same at any length.
  check(rates["schedule"] === "constant" || next === length, "E_CONFIG", () =>
    `the learning rate of the run in ${where} falls over ${length} steps, those done by that measure; over ${next} they would have had `
    + `other rates. Give ${length} as the schedule's length (scheduleSteps) for ${steps} steps of the run, `
    + "the final rate "
    + "behind its end; a run that is to grow names that length at its start, or has a constant schedule");
  const kept = next === steps && lengthThere === undefined ? rates : { ...rates, scheduleSteps: next };
  return { ...there, steps, schedule: kept };
}

/** Refuses another model in so many words: its fields, listed one by one, would hide that. */
function checkModel(there: Json | undefined, here: Json | undefined, where: string): void {
  const [own, wanted] = [there, here].map((model) => (isJsonObject(model) ? model : {})) as [JsonRecord, JsonRecord];
  const refuse = (what: string): never => {
    throw new LenggenError("E_CONFIG", `the run in ${where} trains another model, and can't be resumed with this one: ${what}. `
      + "Another model is a new run, in a folder of its own");
  };
  if (own["family"] !== wanted["family"]) refuse(`its family is ${JSON.stringify(own["family"])}, not ${JSON.stringify(wanted["family"])}`);
  const isInBoth = (field: string): boolean => Object.hasOwn(own, field) && Object.hasOwn(wanted, field);
  const fields = Object.keys({ ...own, ...wanted });
  const differing = [...fields.filter(isInBoth), ...fields.filter((field) => !isInBoth(field))]
    .flatMap((field) => differences(own[field], wanted[field], field));
  if (differing.length > 0) refuse(firstOf(differing));
}

/** As many differences as a person reads. */
const MOST = 5;

function firstOf(differing: readonly string[]): string {
  const more = differing.length - MOST;
  return `${differing.slice(0, MOST).join("; ")}${more > 0 ? `; and ${more} more` : ""}`;
}

/** A schedule as `run.json` has it. */
type Schedule = JsonRecord & { readonly scheduleSteps?: number };

/** The settings of a run and of who wants to go on with it, without what tells nothing of the result. */
function comparable(there: JsonRecord, here: JsonRecord): [JsonRecord, JsonRecord] {
  const moved = PLACES.filter((name) => typeof there[name] === "string" && typeof here[name] !== "string");
  const left = new Set<string>(["device", ...moved]); // older runs name their device, which may change: see trainer.ts
  const without = (settings: JsonRecord) => Object.fromEntries(Object.entries(settings).filter(([name]) => !left.has(name)));
  return [withNames(without(there)), withNames(without(here))];
}

/** With the names of what holds unless given, so that a difference can be told by them. */
function withNames({ loss, optimizer, ...settings }: JsonRecord): JsonRecord {
  const named = (name: string, own: unknown) => ({ name, ...(own as JsonRecord | undefined) });
  return { ...settings, loss: named(DEFAULT_LOSS, loss), optimizer: named(DEFAULT_OPTIMIZER, optimizer) };
}
