/** Conversions of a trained model in a folder of their own, for a test file. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect } from "vitest";
import { type Finished, lenggen } from "./lenggen";
import { trainBase, type Workplace, workplace } from "./trained";

export interface Conversions {
  /** A path in the folder, which has a run in runs/base. */
  at(...names: string[]): string;
  /** Runs any command there. */
  run(...args: readonly string[]): Promise<Finished>;
  convert(...args: readonly string[]): Promise<Finished>;
  /** Runs a conversion that must fail, and checks that nothing is left of it. */
  fails(args: readonly string[], code: number, message: RegExp): Promise<void>;
}

/** Makes the folder before a file's tests, and removes it after them. */
export function conversions(): Conversions {
  let place: Workplace;
  beforeAll(async () => {
    place = await workplace();
    await trainBase(place);
  });
  afterAll(() => place.remove());
  const run = (...args: readonly string[]): Promise<Finished> => lenggen(args, { cwd: place.folder });
  const convert = (...args: readonly string[]): Promise<Finished> => run("convert", ...args);
  return {
    at: (...names) => join(place.folder, ...names), run, convert,
    async fails(args, code, message) {
      const before = await readdir(place.folder);
      const result = await convert(...args);
      expect([result.code, result.error]).toEqual([code, expect.stringMatching(message)]);
      expect(await readdir(place.folder)).toEqual(before);
    },
  };
}
