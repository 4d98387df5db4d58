import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readTar, writeTar } from "../src/shared/tar";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lenggen-tar-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const bytes = new Uint8Array(3000).map((_, i) => i * 7);
const FILES = [
  { path: "run/run.json", content: new Blob(["{}\n"]) },
  { path: "run/empty", content: new Blob([]) },
  { path: "run/block", content: new Blob([bytes.subarray(0, 512)]) },
  { path: "run/checkpoints/step-12/model.safetensors", content: new Blob([bytes]) },
];

describe("archives", () => {
  it("come back as they were", async () => {
    const back = await readTar(writeTar(FILES, new Date(0)), "it");
    expect(back.map(({ path }) => path)).toEqual(FILES.map(({ path }) => path));
    for (const [i, { content }] of back.entries()) expect(await content.bytes()).toEqual(await FILES[i]!.content.bytes());
  });

  it("are unpacked by the system's tar", async () => {
    writeFileSync(join(folder, "it.tar"), await writeTar(FILES, new Date()).bytes());
    execFileSync("tar", ["-xf", "it.tar"], { cwd: folder });
    expect(readdirSync(join(folder, "run")).toSorted()).toEqual(["block", "checkpoints", "empty", "run.json"]);
    expect(new Uint8Array(readFileSync(join(folder, FILES[3]!.path)))).toEqual(bytes);
  });

  it.each(["gnu", "pax", "ustar"])("packed by the system's tar as %s are read, long names too", async (format) => {
    const long = format === "ustar" ? join("a".repeat(80), "b".repeat(90)) : join("a".repeat(120), "b".repeat(120));
    mkdirSync(join(folder, "run", long, ".."), { recursive: true });
    writeFileSync(join(folder, "run", long), bytes);
    writeFileSync(join(folder, "run", "after"), "x");
    execFileSync("tar", [`--format=${format}`, "-cf", "it.tar", "run"], { cwd: folder });
    const back = await readTar(new Blob([readFileSync(join(folder, "it.tar"))]), "it.tar");
    expect(back.map(({ path }) => path).toSorted()).toEqual([join("run", long), "run/after"].toSorted());
    expect(await back.find(({ path }) => path.endsWith("b"))!.content.bytes()).toEqual(bytes);
  });

  it("that are none, or are damaged, are refused", async () => {
    const whole = writeTar(FILES, new Date(0));
    const refused = (archive: Blob, message: RegExp) =>
      expect(readTar(archive, "it.tar")).rejects.toMatchObject({ code: "E_FORMAT", message: expect.stringMatching(message) as string });
    await refused(new Blob(["Call me Ishmael. ".repeat(100)]), /it\.tar is not a tar archive, or it is damaged/);
    await refused(new Blob([]), /holds no file/);
    await refused(new Blob(["short"]), /holds no file/);
    await refused(whole.slice(0, 3000), /it\.tar is cut short/);
    const flipped = await whole.bytes();
    flipped[100]! ^= 1;
    await refused(new Blob([flipped]), /damaged/);
  });
});
