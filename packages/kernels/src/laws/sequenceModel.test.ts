/** Each law is broken once: the suite must say which, and where. */
import { describe, expect, it } from "vitest";
import type { ForwardResult, SequenceModel } from "../model";
import { add, mul, scale } from "../ops/elementwise";
import { linear } from "../ops/matmul";
import { decoder, matrix, normalInit, rmsNormBlock, shiftState, tokenShift, type Block, type StatePart } from "../nn";
import { detach } from "../tape";
import { dispose, keep, type Tensor } from "../tensor";
import { zeros } from "../ops/memory";
import { referenceDevice } from "../testing";
import { checkSequenceModel, type SequenceModelLaw } from "./sequenceModel";

type State = { readonly layers: readonly { readonly shift: Tensor }[] };

const WIDTH = 6;

/** A model with the smallest mixer that has a state. */
function model(): SequenceModel<State> {
  const parameters = { now: matrix("now", [WIDTH, WIDTH], normalInit(0.5)), before: matrix("before", [WIDTH, WIDTH], normalInit(0.5)) };
  const block: Block<typeof parameters, { shift: StatePart }> = {
    parameters,
    state: { shift: shiftState(WIDTH) },
    forward(p, u, state) {
      const { shifted, state: shift } = tokenShift(u, state?.shift);
      return { out: mul(linear(u, p.now), linear(shifted, p.before)), state: { shift } };
    },
  };
  const { parameters: _, ...parts } = decoder({
    embedding: matrix("embedding", [7, WIDTH], normalInit(1)), layers: [{ mixer: { norm: rmsNormBlock("norm", WIDTH, 1e-5), block } }],
    layerNames: "layers", norm: rmsNormBlock("last", WIDTH, 1e-5), head: null, vocabulary: 7, stateName: "layers",
  });
  return { family: "shifting", config: {}, ...parts };
}

const right = model();
/** The model with another pass. */
const passing = (change: (result: ForwardResult<State>, state: State | undefined, tokens: Tensor) =>
  ForwardResult<State>): SequenceModel<State> =>
  ({ ...right, forward: (parameters, tokens, state, options) => change(right.forward(parameters, tokens, state, options), state, tokens) });
const withState = ({ hidden }: ForwardResult<State>, shift: Tensor) => ({ hidden, state: { layers: [{ shift }] } });

let drawn = 0;
const kept: Tensor[] = [];
const BROKEN: [SequenceModelLaw, string, SequenceModel<State>, RegExp][] = [
  ["description", "a parameter of another shape", { ...right, parameterShapes: () => ({ ...right.parameterShapes(), last: [WIDTH, 1] }) },
    /leaf 5 is missing, and should be last$/],
  ["description", "a key that draws what it likes", { ...right, init: (key, ...rest) => right.init([key[0], drawn++], ...rest) },
    /one key draws one model: embedding\[0, 0\] is/],
  ["description", "a leaf that is not in the state", { ...right, stateLeaves: [{ path: "layers.0.conv", kind: "window", layer: 0 }] },
    /stateLeaves names layers\.0\.conv, and initialState has layers\.0\.shift/],
  ["description", "states without a batch", { ...right, initialState: (_, device, dtype) => right.initialState(1, device, dtype) },
    /layers\.0\.shift has shape \[1, 1, 6\]; its first axis is the batch of 2/],
  ["description", "a head of all rows", { ...right, vocabulary: 6 }, /head has shape \[7, 6\]; its rows are the 6 tokens/],
  ["chunks", "a state that is forgotten",
    passing((result, state) => (state ? withState(result, zeros(result.hidden.device, [2, 1, WIDTH], result.hidden.dtype)) : result)),
    /chunks of 1, 2, 3, 9, 1, 10 give the same: hidden\.1\[\d, 0, \d\] is/],
  ["chunks", "a state that is not the whole's",
    passing((result, state) => (state ? withState(result, add(result.state.layers[0]!.shift, scale(state.layers[0]!.shift, 1e-3)))
      : result)), /hidden|state/],
  ["gradients", "a state that no gradient goes through", passing((result) => withState(result, detach(result.state.layers[0]!.shift))),
    /chunks of 1, 2, 3, 9, 1, 10 give the same gradients/],
  ["gradients", "a part of the function without a gradient",
    passing((result, _, tokens) => (tokens ? { ...result, hidden: add(result.hidden, detach(scale(result.hidden, 0.1))) } : result)),
    /gradients are those of finite differences/],
  ["generation", "generation by another function", { ...right, advance: async (parameters, tokens, state) => {
    const { hidden, state: next } = right.forward(parameters, tokens, state);
    return { hidden: scale(hidden, -1), state: next };
  } }, /token 1 is \d with a logit of .*, and the largest, .*, is that of \d/],
  ["memory", "a tensor that is kept", passing((result) => {
    kept.push(keep(zeros(result.hidden.device, [5])));
    return result;
  }), /passes and gradients leave nothing behind: 140 bytes/],
];

describe("the laws of sequence models", () => {
  it("hold for a model that keeps them", async () => {
    await checkSequenceModel(right, { device: referenceDevice });
    await checkSequenceModel(right, { device: referenceDevice, dtype: "f64", cuts: [[5], [2, 3]], ends: [2] });
  });

  it.each(BROKEN)("of %s: names %s", async (law, _, broken, message) => {
    const setup = { device: referenceDevice, dtype: law === "gradients" ? "f64" : "f32", laws: [law] } as const;
    await expect(checkSequenceModel(broken, setup)).rejects.toThrow(
      expect.objectContaining({ code: "E_LAW", message: expect.stringMatching(message) as string }));
    dispose(kept.splice(0));
  });

  it("are not checked with cuts of nothing", async () => {
    await expect(checkSequenceModel(right, { device: referenceDevice, cuts: [[2, 0]] })).rejects.toMatchObject({ code: "E_ARGUMENT" });
  });
});
