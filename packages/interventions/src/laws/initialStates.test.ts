/** All sources that there are keep the laws; each law is broken once, and named. */
import { open, tensor, zeros } from "@lenggen/kernels";
import { afterAll, describe, expect, it } from "vitest";
import { eachDevice } from "../../test/devices";
import { tinyModel } from "../../test/tinyModel";
import type { InitialStates } from "../initialStates";
import { createIntervention, INTERVENTIONS } from "../interventions";
import type { JsonRecord } from "../json";
import { mapState } from "../sources/reset";
import { checkInitialStates, INITIAL_STATES_LAWS, type InitialStatesLaw } from "./initialStates";

const model = tinyModel();
const NAMES = Object.keys(INTERVENTIONS);
const options = (name: string): JsonRecord => (name === "zero" ? {} : { resetProbability: 0.3 });

eachDevice("sources of initial states", (device) => {
  it.each(NAMES.flatMap((name) => INITIAL_STATES_LAWS.map((law) => [name, law] as const)))("%s keeps the law of %s", (name, law) =>
    checkInitialStates({ create: () => createIntervention(name, model, options(name)), model, device, laws: [law] }));
});

const device = await open("reference");
afterAll(() => device.close());

/** A source that carries states, with something wrong. */
const wrong = (change: (right: InitialStates) => Partial<InitialStates>) => (): InitialStates => {
  const right = createIntervention("tbtt", model, { resetProbability: 0 });
  return { ...right, ...change(right) };
};
let asked = 0;

const BROKEN: [InitialStatesLaw, string, () => InitialStates, RegExp][] = [
  ["shapes", "a state of other shapes", wrong(() => ({ next: ({ batch }) => ({ layers: [{ sum: zeros(device, [batch, 2, 2]) }] }) })),
    /^tbtt: a batch starts from a state of the model: layers\.0\.sum has shape \[3, 2, 2\], and should have \[3, 2, 3\]$/],
  ["keys", "a source that counts",
    wrong(() => ({ next: ({ batch }) => ({ sum: tensor(device, Array<number>(batch).fill(asked++), [batch]) }) })),
    /follows from what it saw and the key: step 0, micro-batch 0: sum\[0\] is/],
  ["fresh", "a past for those who have none", wrong(({ next }) => ({ next: (about) => next({ ...about, fresh: undefined }) })),
    /of sequence 0 holds .* and should hold 0$/],
  ["fresh", "zeros for all where one has no past", wrong(({ next }) => ({ next: (about) => {
    const state = next(about);
    return state && about.fresh ? mapState(state, (leaf) => zeros(leaf.device, leaf.shape, leaf.dtype)) : state;
  } })), /of sequence 1 holds 0 and should hold/],
  ["resume", "a checkpoint of nothing", wrong(() => ({ save: () => ({ tensors: {}, values: { slots: [] } }) })),
    /goes on with the same bits: step 0, micro-batch 0: one starts from zero, and the other from a state$/],
  ["memory", "a source that keeps its states", wrong(() => ({ dispose: () => {} })), /holds nothing: \d+ bytes are held/],
];

describe("the laws of initial states", () => {
  it.each(BROKEN)("of %s: names %s", async (law, _, create, message) => {
    const made: InitialStates[] = [];
    const remembered = () => {
      const right = create();
      made.push(right);
      return right;
    };
    await expect(checkInitialStates({ create: remembered, model, device, laws: [law] })).rejects.toThrow(
      expect.objectContaining({ code: "E_LAW", message: expect.stringMatching(message) as string }));
    for (const source of made) for (const t of Object.values(source.save().tensors)) t.dispose();
  });
});
