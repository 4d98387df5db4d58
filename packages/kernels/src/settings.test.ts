import { describe, expect, it } from "vitest";
import { choiceSetting, countSetting, flagSetting, numberSetting, resolveSettings } from "./settings";

const settings = {
  rate: numberSetting(0.5, "A share.", { from: 0, to: 1 }),
  std: numberSetting(1, "A width.", { above: 0 }),
  steps: countSetting(3, "A count.", 1),
  carry: flagSetting(true, "A flag."),
  kind: choiceSetting(["a", "b"], "a", "A choice."),
};

const refused = (given: object) => () => resolveSettings("thing", settings, given as Record<string, never>);

describe("resolveSettings", () => {
  it("fills in defaults and keeps what is given", () => {
    const given = { rate: 0, carry: false, kind: undefined };
    expect(resolveSettings("thing", settings, given)).toEqual({ rate: 0, std: 1, steps: 3, carry: false, kind: "a" });
  });

  it("names an unknown setting and the nearest one", () => {
    expect(refused({ rat: 1 })).toThrow(/thing: unknown setting rat \(did you mean "rate"\?\)/);
    expect(refused({ toString: 1 })).toThrow(/unknown setting toString/);
  });

  it.each([
    [{ rate: 1.5 }, "rate is 1.5; it must be a number from 0 to 1"],
    [{ rate: Number.NaN }, "rate is NaN; it must be a number from 0 to 1"],
    [{ rate: "0.5" }, "rate is \"0.5\""],
    [{ std: 0 }, "std is 0; it must be a number above 0"],
    [{ steps: 0 }, "steps is 0; it must be a whole number of at least 1"],
    [{ steps: 2.5 }, "steps is 2.5"],
    [{ carry: 1 }, "carry is 1; it must be true or false"],
    [{ kind: "c" }, "kind is \"c\"; it must be one of a, b"],
  ])("refuses %j", (given, message) => {
    expect(refused(given)).toThrow(expect.objectContaining({ code: "E_CONFIG", message: expect.stringContaining(message) }));
  });
});
