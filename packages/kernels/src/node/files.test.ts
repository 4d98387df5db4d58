import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync, statSync } from "node:fs";
import type * as FileSystem from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { LenggenError } from "../errors";
import { encodeSafetensors, openSafetensors } from "../safetensors";
import { tensor } from "../tensor";
import { referenceDevice } from "../testing";
import { makeFolder, openFile, writeWhole } from "./index";

/** Which operation of the file system fails next, and how: a full disk can't be had otherwise. */
const failure = vi.hoisted(() => ({ operation: "none", code: "" }));

vi.mock("node:fs/promises", async (importActual) => {
  const actual = await importActual<typeof FileSystem>();
  const fail = () => Promise.reject(Object.assign(new Error(`${failure.code}: made by this test`), { code: failure.code }));
  return {
    ...actual,
    rename: (...args: Parameters<typeof actual.rename>) => (failure.operation === "rename" ? fail() : actual.rename(...args)),
    async open(...args: Parameters<typeof actual.open>) {
      if (failure.operation === "open") return fail();
      const handle = await actual.open(...args);
      if (failure.operation === "write") handle.write = fail;
      if (failure.operation === "sync") handle.sync = fail;
      return handle;
    },
  };
});

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lenggen-files-"));
});
afterEach(() => {
  failure.operation = "none";
  rmSync(folder, { recursive: true, force: true });
});

const bytes = (text: string) => new TextEncoder().encode(text);

function refused(code: string, path: string, message: RegExp) {
  return expect.objectContaining({ name: "LenggenError", code,
    message: expect.stringMatching(new RegExp(`^${path}: .*${message.source}`)) });
}

describe("openFile", () => {
  it("reads ranges", async () => {
    const path = join(folder, "data");
    writeFileSync(path, "0123456789");
    const source = await openFile(path);
    expect([source.size, source.name]).toEqual([10, path]);
    expect(new TextDecoder().decode(await source.read(3, 4))).toBe("3456");
    expect((await source.read(10, 0)).length).toBe(0);
    await expect(source.read(8, 3)).rejects.toEqual(refused("E_ARGUMENT", path, /beyond the end at 10/));
    truncateSync(path, 5);
    expect((await source.read(3, 4)).length).toBe(2);
    await source.close();
  });

  it("says what is wrong with a path", async () => {
    const missing = join(folder, "missing");
    await expect(openFile(missing)).rejects.toEqual(refused("E_MISSING", missing, /there is no such file or folder/));
    await expect(openFile(folder)).rejects.toEqual(refused("E_IO", folder, /not a regular file/));
    if (process.platform === "win32") return;
    const pipe = join(folder, "pipe"); // which nobody writes to: opening it would wait for ever
    execFileSync("sh", ["-c", 'exec mkfifo "$0"', pipe]);
    await expect(openFile(pipe)).rejects.toEqual(refused("E_IO", pipe, /not a regular file/));
  });
});

describe("writeWhole", () => {
  it("writes and replaces", async () => {
    const path = join(folder, "file");
    await writeWhole(path, [bytes("one, "), new Uint8Array(), bytes("two")]);
    expect(readFileSync(path, "utf8")).toBe("one, two");
    await writeWhole(path, [bytes("three")]);
    expect(readFileSync(path, "utf8")).toBe("three");
    expect(readdirSync(folder)).toEqual(["file"]);
  });

  it("leaves the old file and nothing else when the chunks fail", async () => {
    const path = join(folder, "file");
    await writeWhole(path, [bytes("old")]);
    const failing = (error: Error) => (async function* () {
      yield bytes("half of the ne");
      throw error;
    })();
    for (const error of [new LenggenError("E_NOT_FINITE", "stop"), new TypeError("bug")]) {
      await expect(writeWhole(path, failing(error))).rejects.toBe(error);
      expect(readFileSync(path, "utf8")).toBe("old");
      expect(readdirSync(folder)).toEqual(["file"]);
    }
  });

  it("names the path and the reason, and cleans up", async () => {
    const lost = join(folder, "none", "file");
    await expect(writeWhole(lost, [bytes("x")])).rejects.toEqual(refused("E_MISSING", lost,
      /can't be written: there is no such file or folder/));
    const taken = join(folder, "taken");
    mkdirSync(join(taken, "inside"), { recursive: true });
    await expect(writeWhole(taken, [bytes("x")])).rejects.toEqual(refused("E_IO", taken, /can't be written: /));
    const under = join(folder, "plain", "file");
    writeFileSync(join(folder, "plain"), "");
    await expect(writeWhole(under, [bytes("x")])).rejects.toEqual(refused("E_IO", under, /a part of the path is not a folder/));
    expect(readdirSync(folder).sort()).toEqual(["plain", "taken"]);
  });

  it.each([
    ["open", "EACCES", /permission is denied \(EACCES\)/],
    ["write", "ENOSPC", /the disk is full \(ENOSPC\)/],
    ["sync", "EIO", /EIO: made by this test/],
    ["rename", "EROFS", /the file system is read-only \(EROFS\)/],
  ] as const)("keeps the old file when %s fails with %s", async (operation, code, message) => {
    const path = join(folder, "file");
    await writeWhole(path, [bytes("old")]);
    failure.operation = operation;
    failure.code = code;
    await expect(writeWhole(path, [bytes("new")])).rejects.toEqual(refused("E_IO", path, message));
    failure.operation = "none";
    expect(readFileSync(path, "utf8")).toBe("old");
    expect(readdirSync(folder)).toEqual(["file"]);
  });
});

describe("safetensors in files", () => {
  it("survive the way through a file", async () => {
    const path = join(folder, "model.safetensors");
    using t = tensor(referenceDevice, [1, 2, 3, 4], [2, 2]);
    await writeWhole(path, encodeSafetensors({ w: t }));
    const source = await openFile(path);
    const opened = await openSafetensors(source);
    using loaded = await opened.load("w", referenceDevice);
    expect([...(await loaded.read())]).toEqual([1, 2, 3, 4]);
    await source.close();
    truncateSync(path, 30);
    const cut = await openFile(path);
    await expect(openSafetensors(cut)).rejects.toEqual(refused("E_FORMAT", path, /the file is cut short/));
    await cut.close();
  });
});

describe("makeFolder", () => {
  it("makes all that leads to it, and leaves what is there", async () => {
    const path = join(folder, "a", "b", "c");
    await makeFolder(path);
    writeFileSync(join(path, "file"), "kept");
    await makeFolder(path);
    expect(readFileSync(join(path, "file"), "utf8")).toBe("kept");
  });

  it("makes it when several want it at the same time", async () => {
    const paths = Array.from({ length: 40 }, (_, i) => join(folder, "many", "ways", "lead", "here", String(i % 4)));
    await Promise.all(paths.map((path) => makeFolder(path)));
    for (const path of paths) expect(statSync(path).isDirectory()).toBe(true);
  });

  it("says why it can't be made", async () => {
    const file = join(folder, "file");
    writeFileSync(file, "");
    await expect(makeFolder(file)).rejects.toEqual(refused("E_IO", file, /can't be made: there is a file of that name/));
    const below = join(file, "a", "b");
    await expect(makeFolder(below)).rejects.toEqual(refused("E_IO", below, /a part of the path is not a folder/));
    await expect(makeFolder("")).rejects.toMatchObject({ code: "E_IO", message: expect.stringMatching(/empty path/) as string });
  });

  it("ends where a folder takes no new ones", async ({ skip }) => {
    if (!existsSync("/proc/self")) {
      console.warn("the test of a folder that takes no new ones does not run: there is no /proc here");
      skip();
    }
    await expect(makeFolder("/proc/none/deep")).rejects.toMatchObject({ code: "E_IO",
      message: expect.stringMatching(/^\/proc\/none\/deep: can't be made/) as string });
  });
});
