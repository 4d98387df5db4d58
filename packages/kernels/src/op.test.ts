import { describe, expect, it } from "vitest";
import { LenggenError } from "./errors";
import {
  argmax, assignSlice, broadcastTo, concat, crossEntropy, embedding, extended, firstRows, gather, groupNorm, lerp, linear, linearSplit,
  matmul, mean, reshape, rmsNorm, scope, slice, sum, type Tensor, transpose, turn, where, zeros,
} from "./index";
import { OP_CASES } from "./laws/opCases";
import { expectError, referenceDevice } from "./testing";

/** Inputs of the cases that may be null, by their places. */
const OPTIONAL: Readonly<Record<string, readonly number[]>> = {
  "cumulativeSum of angles": [1], "addRmsNorm": [1], "lerp, shares by row": [5], "layerNorm": [2], "causalConv": [2, 3],
  "selectiveScan": [5, 6], "ssd": [5, 6], "deltaRule": [6], "gatedDeltaRule": [5], "gatedLinearAttention": [4, 5], "turn": [1],
  "turn, halves": [1],
};

describe("an op", () => {
  it.each(Object.keys(OP_CASES))("says which tensor it needs where null or nothing is given: %s", (name) => {
    const { inputs, run } = OP_CASES[name]!;
    const refusals = (nothing: unknown) => inputs.flatMap((_, at) => scope(() => {
      const given = inputs.map(({ shape, ...drawn }, i) =>
        (i === at ? nothing as Tensor : zeros(referenceDevice, shape, "low" in drawn ? "f32" : "i32")));
      try {
        run(...given);
        return [];
      } catch (error) {
        expect(error).toBeInstanceOf(LenggenError);
        expect((error as LenggenError).code).toBe("E_ARGUMENT");
        expect((error as Error).message).toMatch(new RegExp(`^\\w+: \\w+ is .*\\b${String(nothing)}\\b.*, where a tensor must be; `));
        return [at];
      }
    }));
    const optional = OPTIONAL[name] ?? [];
    expect(refusals(null)).toEqual(inputs.flatMap((_, at) => (optional.includes(at) ? [] : [at])));
    refusals(undefined);
  });

  it("that is called with too few arguments says so too", () => {
    const x = zeros(referenceDevice, [2, 3]);
    const refused = (op: unknown, given: unknown[], message: RegExp) =>
      expectError(() => (op as (...given: unknown[]) => unknown)(...given), "E_ARGUMENT", message);
    refused(lerp, [x, x], /^lerp: shares is undefined, where a tensor must be/);
    refused(lerp, [x, x, [x, undefined]], /^lerp: shares is a list with undefined in it, where a tensor must be/);
    refused(lerp, [x, x, 3], /^lerp: shares is 3/);
    refused(turn, [x], /^turn: x is undefined/);
    refused(matmul, [x], /^matmul: b is undefined/);
    refused(linear, [x], /^linear: weight is undefined/);
    refused(linearSplit, [x, null, [1]], /^linear: weight is null/);
    refused(where, [x], /^where: \w+ is undefined/);
    refused(embedding, [x], /^embedding: tokens is undefined/);
    refused(rmsNorm, [x], /^rmsNorm: weight is undefined/);
    refused(groupNorm, [x, 3], /^groupNorm: weight is undefined/);
    refused(crossEntropy, [x, x], /^crossEntropy: targets is undefined/);
    refused(gather, [x], /^gather: indices is undefined/);
    refused(assignSlice, [x], /^assignSlice: x is undefined/);
    refused(concat, [], /^concat: list is undefined/);
    for (const [name, op] of Object.entries({ sum, mean, argmax, gather, reshape, firstRows, slice, extended, transpose, broadcastTo })) {
      refused(op, [], new RegExp(`^${name}: x is undefined`));
    }
    x.dispose();
  });
});
