import { describe, expect, expectTypeOf, it } from "vitest";
import { expectError } from "../testing";
import {
  choiceField, type ConfigInput, type ConfigOutput, flagField, listField, nullableField, numberField, optionalField, pairField, readConfig,
  sectionField, wholeField,
} from "./config";

const FORM = {
  fields: {
    width: wholeField({ to: 64 }),
    kind: choiceField("a", "b"),
    eps: optionalField(numberField({ above: 0 }), 1e-5),
    tied: optionalField(flagField(), true),
    window: optionalField(nullableField(wholeField({ from: 2, to: 9 }), Infinity), Infinity),
    groups: optionalField(listField(wholeField({ to: 4 }), { to: 3 }), []),
    limit: optionalField(pairField(numberField({ from: 0 }), numberField({ from: 0, to: 8, infinite: true })), [0, 8]),
    part: optionalField(sectionField({ size: wholeField({ to: 8 }), depth: optionalField(wholeField({ to: 8 }), 2) }, ["note"]),
      { size: 1, depth: 2 }),
  },
  ignored: ["dtype"],
};
const LEAST = { width: 8, kind: "a" } as const;

describe("readConfig", () => {
  it("fills in what is left out, and takes what may stand there", () => {
    const least = { ...LEAST, eps: 1e-5, tied: true, window: Infinity, groups: [], limit: [0, 8], part: { size: 1, depth: 2 } };
    expect(readConfig(FORM, LEAST)).toEqual(least);
    expect(readConfig(FORM, { ...LEAST, eps: undefined, dtype: 3, window: null })).toEqual(least);
    expect(readConfig(FORM, { ...LEAST, kind: "b", eps: 1, tied: false, window: 4, groups: [1, 4], limit: [-0, 1],
      part: { size: 3, note: "" } }))
      .toEqual({ width: 8, kind: "b", eps: 1, tied: false, window: 4, groups: [1, 4], limit: [0, 1], part: { size: 3, depth: 2 } });
    expectTypeOf<ConfigOutput<typeof FORM.fields>["limit"]>().toEqualTypeOf<readonly [number, number]>();
    expectTypeOf<{ width: number; kind: "a" }>().toExtend<ConfigInput<typeof FORM.fields>>();
    // @ts-expect-error -- width has no default
    expectTypeOf<{ kind: "a" }>().toExtend<ConfigInput<typeof FORM.fields>>();
  });

  it.each([
    [null, /^config: expected an object, got null$/],
    [[], /got a list of 0$/],
    [3, /got 3$/],
    [{ kind: "a" }, /^config: width is missing; expected a whole number from 1 to 64$/],
    [{ ...LEAST, width: 65 }, /^config: width: expected a whole number from 1 to 64, got 65$/],
    [{ ...LEAST, width: "8" }, /width: expected a whole number from 1 to 64, got "8"$/],
    [{ ...LEAST, kind: "c" }, /kind: expected "a" or "b", got "c"$/],
    [{ ...LEAST, eps: 0 }, /eps: expected a finite number above 0, got 0$/],
    [{ ...LEAST, eps: { __float__: "NaN" } }, /eps: expected a finite number above 0, got NaN$/],
    [{ ...LEAST, tied: 1 }, /tied: expected true or false, got 1$/],
    [{ ...LEAST, window: 1 }, /window: expected a whole number from 2 to 9, or null, got 1$/],
    [{ ...LEAST, groups: [1, 2, 3, 4] }, /groups: expected a list of 0 to 3, each a whole number from 1 to 4, got a list of 4$/],
    [{ ...LEAST, groups: [1, 5] }, /groups\.1: expected a whole number from 1 to 4, got 5$/],
    [{ ...LEAST, limit: [0] }, /limit: expected a list of two, got a list of 1$/],
    [{ ...LEAST, limit: [0, Infinity] }, /limit\.1: expected a number of at least 0 up to 8, got Infinity$/],
    [{ ...LEAST, part: { depth: 2 } }, /part\.size is missing/],
    [{ ...LEAST, part: null }, /part: expected an object, got null$/],
    [{ widht: 8, kind: "a" }, /^config: there is no field widht \(did you mean "width"\?\); correct or remove it$/],
    [{ ...LEAST, part: { size: 1, siez: 2, dept: 3 } },
      /^config: there are no fields part\.siez, part\.dept \(did you mean "depth"\?\); correct or remove them$/],
    [JSON.parse('{"width": 8, "kind": "a", "__proto__": 1, "a\\nb": 2}'), /no fields __proto__, "a\\nb"/],
  ])("refuses %j", (json, message) => expectError(() => readConfig(FORM, json), "E_CONFIG", message));

  it("reports what it does not know where it is told to, and reads on", () => {
    const reports: string[] = [];
    const options = { unknownFields: "report", warn: (message: string) => reports.push(message) } as const;
    expect(readConfig(FORM, { ...LEAST, tide: false, part: { size: 1, more: 1 } }, options))
      .toEqual(readConfig(FORM, { ...LEAST, part: { size: 1 } }));
    expect(reports).toEqual(['config: ignored what lenggen does not know: tide (did you mean "tied"?), part.more']);
    expectError(() => readConfig(FORM, { kind: "a", widht: 3 }, options), "E_CONFIG", /width is missing/);
    expect(reports).toHaveLength(1);
  });
});
