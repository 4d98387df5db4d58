import { describe, expect, it } from "vitest";
import { differences } from "./json";

describe("differences", () => {
  it("finds none between equal values in another order", () => {
    expect(differences({ a: 1, b: { c: [1, 2], d: null } }, { b: { d: null, c: [1, 2] }, a: 1 })).toEqual([]);
  });

  it("names each path with both values", () => {
    expect(differences({ a: 1, b: { c: "x", gone: true } }, { a: 2, b: { c: "y" }, extra: [0] })).toEqual([
      "a: 1 there, 2 here", 'b.c: "x" there, "y" here', "b.gone: true there, nothing here", "extra: nothing there, [0] here",
    ]);
  });
});
