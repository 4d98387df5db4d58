/** One process at a time in a folder: refused, followed, never two. */
import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type FolderLock, lockFolder, type LockOptions } from "./lock";
import { type Owner, thisProcess } from "./owner";

let folder: string;
const locks: FolderLock[] = [];
beforeEach(async () => (folder = await mkdtemp(join(tmpdir(), "lenggen-lock-"))));
afterEach(async () => {
  for (const lock of locks.splice(0)) await lock.release();
  await rm(folder, { recursive: true, force: true });
});

async function take(options?: LockOptions): Promise<FolderLock> {
  const lock = await lockFolder(folder, options);
  locks.push(lock);
  return lock;
}

/** A lock that somebody else left there. */
async function leave(owner: Partial<Owner>, id = "left"): Promise<void> {
  const text = JSON.stringify({ id, ...(await thisProcess()), since: "2026-01-01T00:00:00.000Z", ...owner });
  await writeFile(join(folder, ".lock"), text.padEnd(1024));
}

const inUse = (by: string) => expect.objectContaining({ code: "E_LOCKED",
  message: expect.stringMatching(new RegExp(`in use: ${by} works there since 2026`)) as string });

/** A process that has ended, and its number. */
async function ended(): Promise<number> {
  const child = spawn(process.execPath, ["-e", ""]);
  await new Promise((resolve) => child.on("close", resolve));
  return child.pid!;
}

const elsewhere = { host: "elsewhere", boot: "another boot" };

describe("a folder's lock", () => {
  it("refuses a second one with the first one's process and host, until it is released", async () => {
    const first = await take();
    await expect(take()).rejects.toMatchObject({
      code: "E_LOCKED", message: expect.stringContaining(
        `${folder} is in use: process ${process.pid} on ${hostname()} works there since `) as string,
    });
    await first.check();
    await take({ name: ".lock-other" });
    await first.release();
    await take();
    expect((await readdir(folder)).toSorted()).toEqual([".lock", ".lock-other"]);
  });

  it("leaves nothing behind", async () => {
    await (await take()).release();
    expect(await readdir(folder)).toEqual([]);
  });

  it("of a process that has ended is taken at once, as is one of a process that had the number before", async () => {
    const { started } = await thisProcess();
    for (const owner of [{ process: await ended() }, { process: process.pid, started: `${started}0` }]) {
      await leave(owner);
      const from = performance.now();
      const lock = await take();
      expect(performance.now() - from).toBeLessThan(5_000); // no wait for beats, which takes two minutes
      expect(await readdir(folder)).toEqual([".lock"]);
      await lock.release();
    }
  });

  it("of a process that was killed and not yet asked after by its parent is taken too", async ({ skip }) => {
    if (process.platform !== "linux") {
      console.warn("the test of a process that is not asked after does not run: there is no /proc here");
      skip();
    }
    // A shell that has become a program which never asks when its child ends.
    const parent = spawn("sh", ["-c", "sleep 0.3 & echo $!; exec sleep 30"], { stdio: ["ignore", "pipe", "ignore"] });
    const child = await new Promise<number>((resolve) => parent.stdout.on("data", (text: Buffer) => resolve(Number(text.toString()))));
    while (!/\) Z /.test(await readFile(`/proc/${child}/stat`, "utf8"))) await new Promise((resolve) => setTimeout(resolve, 5));
    await leave({ process: child });
    await expect(take({ expiry: 60_000 })).resolves.toBeDefined();
    parent.kill("SIGKILL");
  });

  it("that is damaged, or of another machine, is taken when no beat comes for long enough, and says that it waits", async () => {
    const holders: string[] = [];
    const options = { expiry: 300, onWait: (holder: string) => holders.push(holder) };
    await leave(elsewhere);
    await (await take(options)).release();
    await writeFile(join(folder, ".lock"), "{");
    await (await take(options)).release();
    expect(holders).toEqual([`process ${process.pid} on elsewhere`, "a process that can't be told"]);
    expect(await readdir(folder)).toEqual([]);
  });

  it("of another machine is refused when a beat comes", async () => {
    await leave({ process: 7, ...elsewhere });
    const beats = setTimeout(() => void readFile(join(folder, ".lock"), "utf8")
      .then((text) => writeFile(join(folder, ".lock"), `${text}         1`)), 100);
    await expect(take({ expiry: 5_000 })).rejects.toEqual(inUse("process 7 on elsewhere"));
    clearTimeout(beats);
  });

  it("beats, so that other machines see it", async () => {
    await take({ beat: 10 });
    const path = join(folder, ".lock");
    const text = await readFile(path, "utf8");
    while ((await readFile(path, "utf8")) === text) await new Promise((resolve) => setTimeout(resolve, 10));
    expect((await readFile(path, "utf8")).slice(0, 1024)).toBe(text);
    expect(JSON.parse(text)).toMatchObject({ process: process.pid, host: hostname() });
  });

  it("can be waited for no longer", async () => {
    await leave(elsewhere);
    await expect(take({ signal: AbortSignal.timeout(50) })).rejects.toMatchObject({ code: "E_INTERRUPTED" });
  });

  it("that was taken over tells so, and harms the other one neither by its beats nor by its release", async () => {
    const lost = await take({ beat: 5 });
    await leave({ process: 7, ...elsewhere }, "other");
    await expect(lost.check()).rejects.toMatchObject({ code: "E_LOCKED",
      message: expect.stringContaining("process 7 on elsewhere has taken it over") as string });
    await new Promise((resolve) => setTimeout(resolve, 50));
    await lost.release();
    expect(JSON.parse(await readFile(join(folder, ".lock"), "utf8"))).toMatchObject({ id: "other" });
  });

  it.each(["free", "left by a process that has ended"])("is had by exactly one of many that come at once, when %s", async (state) => {
    for (let round = 0; round < 30; round++) {
      if (state !== "free") await leave({ started: "long ago" });
      const results = await Promise.allSettled(Array.from({ length: 12 }, () => lockFolder(folder)));
      const winners = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
      for (const result of results) if (result.status === "rejected") expect(result.reason).toMatchObject({ code: "E_LOCKED" });
      expect(winners).toHaveLength(1);
      await winners[0]!.check();
      await winners[0]!.release();
      expect(await readdir(folder)).toEqual([]);
    }
  });

  it("can't be made where there is no folder", async () => {
    await expect(lockFolder(join(folder, "absent"))).rejects.toMatchObject({ code: "E_MISSING",
      message: expect.stringContaining("can't be locked") as string });
  });
});
