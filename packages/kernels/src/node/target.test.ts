/** What is written beside its place: by one process at a time, and swept when that was killed. */
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { besideName, checkWritable } from "./files";
import { thisProcess } from "./owner";
import { lockTarget, sweepTargets } from "./target";

let folder: string;
const at = (name: string): string => join(folder, name);
beforeEach(async () => (folder = await mkdtemp(join(tmpdir(), "lenggen-target-"))));
afterEach(() => rm(folder, { recursive: true, force: true }));

/** What a process leaves that was killed while it wrote there: its lock, and what it had written. */
async function leave(name: string, owner: object): Promise<void> {
  const about = { id: randomUUID(), ...(await thisProcess()), since: "2026-01-01T00:00:00.000Z", ...owner };
  await writeFile(at(`.${name}.lock`), JSON.stringify(about).padEnd(1024));
  await writeFile(at(`.${name}.lock.${randomUUID()}.partial`), "half a lock");
  const beside = besideName(at(name));
  if (name.endsWith(".folder")) await mkdir(beside).then(() => writeFile(join(beside, "a"), "half"));
  else await writeFile(beside, "half");
}

async function ended(): Promise<number> {
  const child = spawn(process.execPath, ["-e", ""]);
  await new Promise((resolve) => child.on("close", resolve));
  return child.pid!;
}

it("is refused to a second one by the target's name, and given to it after the first", async () => {
  const first = await lockTarget(at("a"));
  await expect(lockTarget(at("a"))).rejects.toMatchObject(
    { code: "E_LOCKED", message: expect.stringContaining(`${at("a")} is in use: process ${process.pid} on `) as string });
  await (await lockTarget(at("b"))).release();
  let waits = 0;
  const second = lockTarget(at("a"), { wait: true, onWait: () => waits++ });
  await new Promise((resolve) => setTimeout(resolve, 600));
  await first.release();
  await (await second).release();
  expect(waits).toBe(1);
  expect(await readdir(folder)).toEqual([]);
});

it("is swept by who writes there next, and others' work is left alone", async () => {
  await leave("a", { process: await ended() });
  await writeFile(besideName(at("b")), "of another target");
  await writeFile(at(".notes.partial"), "somebody's own");
  await (await lockTarget(at("a"))).release();
  const left = await readdir(folder);
  expect(left.filter((name) => name.startsWith(".a."))).toEqual([]);
  expect(left).toHaveLength(2);
});

it("is swept in a whole folder, but not what a process writes that lives, or of which nobody can tell", async () => {
  await leave("dead", { process: await ended() });
  await leave("dead.folder", { process: await ended() });
  await leave("here", {});
  await leave("elsewhere", { host: "elsewhere", boot: "another boot" });
  await writeFile(at("whole.tokens"), "kept");
  await sweepTargets(folder);
  const names = (await readdir(folder)).map((name) => name.replace(/[0-9a-f]{8}-.*\.partial$/, "#")).sort();
  expect(names).toEqual([".elsewhere.#", ".elsewhere.lock", ".elsewhere.lock.#", ".here.#", ".here.lock", ".here.lock.#", "whole.tokens"]);
});

it("is known to be possible before there is anything to write", async () => {
  await checkWritable(at("a"));
  expect(await readdir(folder)).toEqual([]);
  await expect(checkWritable(join(folder, "absent", "a"))).rejects.toMatchObject({ code: "E_MISSING" });
  await expect(checkWritable(at("n".repeat(250)))).rejects.toMatchObject(
    { code: "E_IO", message: expect.stringMatching(/n: can't be written: the name is too long/) as string });
});
