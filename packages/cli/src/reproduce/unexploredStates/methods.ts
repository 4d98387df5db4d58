/** Which models the experiment is about, and which of its methods a model refuses. */
import { type Method, METHODS, type ReportModel } from "@lenggen/evals";
import { createIntervention } from "@lenggen/interventions";
import { check, type Device, dispose, leaves, LenggenError, type SequenceModel } from "@lenggen/kernels";
import { initialStatesOf } from "./settings";

const BYTES = 256;

/** Throws `E_ARGUMENT` for a model that the experiment can't be done with. */
export function accepts({ family, stateLeaves, vocabulary }: SequenceModel): void {
  check(stateLeaves.some(({ kind }) => kind === "recurrent"), "E_ARGUMENT", () =>
    `--model: a model of family ${family} has no recurrent state, and unexplored-states is about these`);
  check(vocabulary === BYTES, "E_ARGUMENT", () =>
    `--model: a vocabulary of ${vocabulary}; the texts are read as bytes, so that it must have ${BYTES}`);
}

/** The methods that the model's family refuses, with its reasons: noise for a state that has no noise. */
export function refusedBy(model: SequenceModel): { readonly method: Method; readonly why: string }[] {
  return METHODS.flatMap((method) => {
    try {
      createIntervention(initialStatesOf(method), model).dispose();
      return [];
    } catch (error) {
      if (!(error instanceof LenggenError) || error.code !== "E_CONFIG") throw error;
      return [{ method, why: error.message }];
    }
  });
}

/** Whether the sequences of a batch have to start anew together: windows that fill up are shorter then than those that are carried. */
export function startsTogether(model: SequenceModel, device: Device): boolean {
  const zero = model.initialState(1, device);
  const empty = leaves(zero).some(({ tensor }) => tensor.shape.includes(0));
  dispose(zero);
  return empty;
}

/** The spread of a model's own states after a training sequence, to two digits. */
export function spreadAt({ statePooledStd = [] }: ReportModel, trainLength: number): number {
  const { std } = statePooledStd.findLast(({ position }) => position <= trainLength)!;
  return Number(std.toPrecision(2));
}
