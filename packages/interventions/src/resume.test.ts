import { LenggenError } from "@lenggen/kernels";
import { describe, expect, it } from "vitest";
import type { JsonRecord } from "./json";
import { settingsToGoOn } from "./resume";

const RUN: JsonRecord = {
  model: { family: "mamba2", layers: 4, width: 128, chunk: 64 }, seed: 0, steps: 9, schedule: { schedule: "constant" },
};

function refusal(here: JsonRecord, there = RUN): string {
  try {
    settingsToGoOn(there, { ...RUN, ...here }, 0, "runs/a");
  } catch (error) {
    expect(error).toBeInstanceOf(LenggenError);
    expect((error as LenggenError).code).toBe("E_CONFIG");
    return (error as Error).message;
  }
  return expect.fail("was not refused");
}

describe("a run that is to go on with another model", () => {
  it("of another family is refused by its family alone", () => {
    expect(refusal({ model: { family: "gla", hidden: 3, layers: 2 }, seed: 5 })).toMatch(
      /^the run in runs\/a trains another model, and can't be resumed with this one: its family is "mamba2", not "gla"\. Another/);
  });

  it("of the same family is refused with what differs, what both have first", () => {
    expect(refusal({ model: { gate: 1, family: "mamba2", layers: 4, width: 256 }, seed: 5 })).toContain(
      "with this one: width: 128 there, 256 here; chunk: 64 there, nothing here; gate: nothing there, 1 here. Another");
  });

  it("is refused with five differences at most", () => {
    const fields = (add: number): JsonRecord => Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`size${i}`, i + add]));
    expect(refusal({ model: fields(1) }, { ...RUN, model: fields(0) })).toContain("size4: 4 there, 5 here; and 4 more. Another");
    expect(refusal(fields(1), { ...RUN, ...fields(0) })).toContain(
      "has other settings, so it can't be resumed with these: size0: 0 there, 1 here; size1: 1 there, 2 here; size2: 2 there, 3 here; "
        + "size3: 3 there, 4 here; size4: 4 there, 5 here; and 4 more. They made");
  });
});
