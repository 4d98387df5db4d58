import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { wholeOf } from "@lenggen/kernels";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readText, type Text } from "./text";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lenggen-text-"));
  await mkdir(join(folder, "books", "deep"), { recursive: true });
  await mkdir(join(folder, "nothing"));
  await writeFile(join(folder, "books", "b.md"), "second");
  await writeFile(join(folder, "books", "a.txt"), "first ");
  await writeFile(join(folder, "books", "deep", "c.txt"), " third");
  await writeFile(join(folder, "books", "picture.png"), "not text");
  await writeFile(join(folder, "empty.txt"), "");
});
afterAll(() => rm(folder, { recursive: true }));

const written = ({ tokens }: Text): string => new TextDecoder().decode(Uint8Array.from(wholeOf(tokens)));

describe("texts", () => {
  it("reads a folder's text files in the order of their names", async () => {
    const text = await readText(join(folder, "books"));
    expect([...text.documents].map(({ name }) => name)).toEqual(["a.txt", "b.md", "deep/c.txt"]);
    expect(written(text)).toBe("first second third");
  });

  it("follows links to files, in no circle, and passes over what is hidden", async () => {
    const linked = join(folder, "linked");
    await mkdir(join(linked, ".git"), { recursive: true });
    await symlink(join(folder, "books", "a.txt"), join(linked, "link.txt"));
    await symlink(linked, join(linked, "again"));
    await symlink(linked, join(linked, "again.txt"));
    for (const name of ["._link.txt", ".notes.md", ".git/description.txt"]) await writeFile(join(linked, name), "not meant");
    const text = await readText(linked);
    expect(written(text)).toBe("first ");
    await symlink(join(folder, "gone"), join(linked, "lost.txt"));
    await expect(readText(linked)).rejects.toThrow(/lost\.txt/);
  });

  it("reads a file byte by byte", async () => {
    await writeFile(join(folder, "odd.bin"), Uint8Array.of(0, 255, 10));
    expect([...wholeOf((await readText(join(folder, "odd.bin"))).tokens)]).toEqual([0, 255, 10]);
  });

  it("finds the built-in corpora of the repository", async () => {
    const speeches = await readText("sotu");
    expect(speeches.documents).toHaveLength(233);
    expect(speeches.tokens.length).toBeGreaterThan(10e6);
    const book = written(await readText("moby-dick"));
    expect(book).toContain("Call me Ishmael.");
  });

  it.each([
    ["empty.txt", "E_TEXT", /is empty/],
    ["nothing", "E_TEXT", /holds no file of a text; texts are \.txt, \.md, \.jsonl/],
    ["absent.txt", "E_MISSING", /no such file or folder, nor a built-in corpus/],
  ])("refuses %s", async (name, code, message) => {
    await expect(readText(join(folder, name))).rejects.toMatchObject({ code, message: expect.stringMatching(message) as string });
  });

  it("suggests a corpus for a name that is nearly one", async () => {
    await expect(readText("moby-dik")).rejects.toThrow('did you mean "moby-dick"?');
  });

  it("refuses a text shorter than what is needed", async () => {
    await expect(readText(join(folder, "books"), 1000)).rejects.toThrow("has 18 bytes; this needs at least 1000");
  });
});
