/**
 * "Unexplored states" (Buitrago Ruiz & Gu 2025) from beginning to end: a base model trained on short contexts, a control and four
 * interventions from it (study.ts); then recall, by models of its own (recall.ts).
 */
import type { UnexploredStatesReport } from "@lenggen/evals";
import { MODELS } from "../../families";
import type { ReproductionInput } from "../experiment";
import type { ReproductionSettings } from "./settings";
import { type OnPart, study, type StudyInput, trainOne } from "./study";

export interface UnexploredStatesInput extends ReproductionInput {
  readonly settings: ReproductionSettings;
}

/** Runs all stages and returns the report. Throws `E_INTERRUPTED` when the signal came; what is done stays on disk. */
export async function reproduceUnexploredStates(
  given: UnexploredStatesInput, onPart: OnPart = async () => {},
): Promise<UnexploredStatesReport> {
  const { settings, preset, seed, chosen } = given;
  const experiment = "unexplored-states";
  const input: StudyInput = {
    ...given, experiment,
    command: `lenggen reproduce ${experiment} ${chosen ? `--model ${chosen.name} ` : ""}--preset ${preset} --seed ${seed}`,
  };
  const model = MODELS.make(settings.model);
  return study(input, { model, train: (text) => trainOne(input, model, text, "base", settings.base) }, onPart);
}
