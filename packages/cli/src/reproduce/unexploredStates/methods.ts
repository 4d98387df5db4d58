/** Which models the experiment is about, and which of its methods a model refuses. */
import { type Method, METHODS, type ReportModel } from "@lenggen/evals";
import { createIntervention } from "@lenggen/interventions";
import { check, LenggenError, type SequenceModel } from "@lenggen/kernels";
import { initialStatesOf, type StudySettings } from "./settings";

const BYTES = 256;

/** Throws `E_ARGUMENT` for a model without the states that a study is about, which was given by an option. */
export function checkRecurrent({ family, stateLeaves }: SequenceModel, option: string): void {
  check(stateLeaves.some(({ kind }) => kind === "recurrent"), "E_ARGUMENT", () =>
    `${option}: a model of family ${family} has no recurrent state, which the experiment is about`);
}

/** Throws `E_ARGUMENT` for a model that the experiment can't train: its texts are bytes. */
export function accepts(model: SequenceModel): void {
  checkRecurrent(model, "--model");
  check(model.vocabulary === BYTES, "E_ARGUMENT", () =>
    `--model: a vocabulary of ${model.vocabulary}; the texts are read as bytes, so that it must have ${BYTES}`);
}

/** The methods that the model's family refuses, with its reasons: noise for a state that has no noise. */
export function refusedBy(
  model: SequenceModel, options: StudySettings["methods"] = {},
): { readonly method: Method; readonly why: string }[] {
  return METHODS.flatMap((method) => {
    const name = initialStatesOf(method);
    try {
      createIntervention(name, model, options[method]).dispose();
      return [];
    } catch (error) {
      if (!(error instanceof LenggenError) || error.code !== "E_CONFIG") throw error;
      // The method stands beside the reason, and what to do instead is not up to the reader.
      return [{ method, why: error.message.replace(`${name}: `, "").replace(/; [^;]*$/, "") }];
    }
  });
}

/** The spread of a model's own states after a training sequence, to two digits. */
export function spreadAt({ statePooledStd = [] }: ReportModel, trainLength: number): number {
  const { std } = statePooledStd.findLast(({ position }) => position <= trainLength)!;
  return Number(std.toPrecision(2));
}
