import { closeSync, ftruncateSync, mkdtempSync, openSync, renameSync, rmSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { cutTokens, joinTokens } from "../tokens";
import { type FileTokens, fileTokens } from "./index";

let folder: string;
let files: FileTokens;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lenggen-tokens-"));
  files = fileTokens();
});
afterEach(() => {
  files.close();
  rmSync(folder, { recursive: true, force: true });
});

describe("a file as tokens", () => {
  it("is read by range, at any place, also past 2 and 4 GiB", async ({ skip }) => {
    const size = 4.5 * 2 ** 30;
    const path = join(folder, "sparse.txt");
    const handle = openSync(path, "w");
    try {
      ftruncateSync(handle, size); // takes no room on disks that know holes
      for (const at of [0, 2 ** 31 - 2, 2 ** 32 - 2, size - 4]) writeSync(handle, new TextEncoder().encode("mark"), 0, 4, at);
    } catch (error) {
      console.warn(`the test of large files does not run: none can be made here (${(error as Error).message})`);
      skip();
    } finally {
      closeSync(handle);
    }
    const text = await files.open(path);
    expect(text.length).toBe(size);
    const mark = [...new TextEncoder().encode("mark")];
    for (const at of [0, 2 ** 31 - 2, 2 ** 32 - 2, size - 4]) expect([...cutTokens(text, at, at + 4)]).toEqual(mark);
    expect([...cutTokens(joinTokens([[7], text, [8]]), size - 3, size + 2)]).toEqual([...mark, 8]);
    expect(cutTokens(text, 2 ** 31 - 2, 2 ** 31 + 2 ** 22).indexOf(0)).toBe(4); // more than is read at a time
  });

  it("holds few files open, and stays readable when it is closed or moved meanwhile", async () => {
    const texts = await Promise.all(Array.from({ length: 300 }, (_, i) => {
      const path = join(folder, `${i}.txt`);
      writeFileSync(path, `number ${i}`);
      return files.open(path);
    }));
    const all = joinTokens(texts);
    for (const once of [1, 2]) {
      expect(new TextDecoder().decode(Uint8Array.from(cutTokens(all, 0, all.length)))).toMatch(/^number 0number 1.*number 299$/);
      if (once === 1) files.close();
    }
    renameSync(join(folder, "299.txt"), join(folder, "moved.txt"));
    expect(String.fromCharCode(...cutTokens(texts[299]!, 7, 10))).toBe("299");
  });

  it("says what is wrong", async () => {
    const path = join(folder, "short.txt");
    await expect(files.open(path)).rejects.toMatchObject({ code: "E_MISSING", message: expect.stringContaining(path) as string });
    await expect(files.open(folder)).rejects.toMatchObject({ code: "E_IO",
      message: expect.stringContaining("not a regular file") as string });
    writeFileSync(path, "0123456789");
    const text = await files.open(path);
    truncateSync(path, 5);
    expect(() => cutTokens(text, 3, 7)).toThrowError(
      expect.objectContaining({ code: "E_IO", message: `${path}: has become shorter since it was opened: there is nothing at byte 5` }));
    files.close();
    rmSync(path);
    expect(() => cutTokens(text, 0, 1)).toThrowError(expect.objectContaining({ code: "E_MISSING" }));
  });
});
