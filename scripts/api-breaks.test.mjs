import { describe, expect, it } from "vitest";
import { breaksBetween } from "./api-breaks.mjs";
import { root } from "./pack.mjs";

const report = (code) => `## API Report\n\n\`\`\`ts\n\n${code}\n\n// (No @packageDocumentation comment for this package)\n\n\`\`\`\n`;
const breaks = (before, after) => breaksBetween(report(before), report(after), root);

const BASE = `
// @public
export interface Options<T> {
    // (undocumented)
    readonly rate: T;
    readonly name?: string;
}

// @public
export function fit<T>(x: number[], options?: Options<T>): Hidden;

// @public (undocumented)
interface Hidden {
    readonly loss: number;
}

// @public
export class Pool {
    constructor(size: number);
    take(n: number): Hidden;
}

// @public
export const limit: 64 | 128;

// @public
export type Kind = "a" | "b";
`;

describe("breaksBetween", () => {
  it("nothing breaks where nothing changed but comments, or something was added", () => {
    expect(breaks(BASE, BASE.replace("(undocumented)", "What it is"))).toEqual([]);
    expect(breaks(BASE, `${BASE}\n// @public\nexport function more(): void;\n`)).toEqual([]);
  });

  it("optional parameters and fields, and fields of results, break nothing", () => {
    expect(breaks(BASE, BASE.replace("options?: Options<T>)", "options?: Options<T>, times?: number)"))).toEqual([]);
    expect(breaks(BASE, BASE.replace("readonly name?: string;", "readonly name?: string;\n    readonly seed?: number;"))).toEqual([]);
    expect(breaks(BASE, BASE.replace("take(n: number)", "take(n: number | bigint, from?: string)"))).toEqual([]);
    expect(breaks(BASE, BASE.replace("64 | 128", "64"))).toEqual([]);
  });

  it("what is gone breaks, and so does what is exported no more", () => {
    expect(breaks(BASE, BASE.replace("export function fit", "export function fitted"))).toEqual(["fit is gone"]);
    expect(breaks(BASE, BASE.replace("export class Pool", "class Pool"))).toEqual(["Pool is gone"]);
  });

  it.each([
    ["a parameter that is needed", "x: number[],", "x: number[], y: number[],", "fit"],
    ["a parameter of another type", "x: number[]", "x: Float32Array", "fit"],
    ["a parameter that is gone", "x: number[], options?: Options<T>", "x: number[]", "fit"],
    ["a field that is needed", "readonly name?: string", "readonly name: string", "Options"],
    ["a field that is gone", "readonly name?: string;", "", "Options"],
    ["a result with less", "readonly loss: number", "readonly loss?: number", "Hidden"],
    ["a method that asks for more", "take(n: number)", "take(n: number, from: string)", "Pool"],
    ["a constructor that asks for more", "constructor(size: number)", "constructor(size: number, name: string)", "Pool"],
    ["a constant that may be more", "64 | 128", "64 | 128 | 256", "limit"],
    ["a choice that is gone", '"a" | "b"', '"a"', "Kind"],
    ["a choice that users may not know", '"a" | "b"', '"a" | "b" | "c"', "Kind"],
  ])("%s breaks", (_what, from, to, name) => {
    expect(BASE).toContain(from);
    const found = breaks(BASE, BASE.replace(from, to));
    expect(found.map((line) => line.split(" ")[0])).toEqual([name]);
  });
});
