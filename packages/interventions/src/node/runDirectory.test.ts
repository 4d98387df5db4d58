/** A run survives what can happen to its process and disk: real processes, killed at real moments. */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { open } from "@lenggen/kernels";
import { build } from "tsup";
import { beforeAll, describe, expect, it } from "vitest";
import type { Accident } from "../../test/crashChild";
import { temporaryFolder } from "../../test/temporaryFolder";
import { tinyTrain } from "../../test/tinyRun";
import { runDirectory } from "./runDirectory";

const source = (path: string) => fileURLToPath(new URL(`../../../${path}`, import.meta.url));
const bundle = await mkdtemp(join(tmpdir(), "lenggen-crash-"));
const device = await open("reference");

// The child runs as plain JavaScript, made from the sources under test.
beforeAll(async () => {
  await build({
    entry: { child: source("interventions/test/crashChild.ts") },
    outDir: bundle, format: ["esm"], target: "es2022", platform: "node", config: false, silent: true, noExternal: [/.*/],
    esbuildOptions(options) {
      options.alias = {
        "@lenggen/kernels/node": source("kernels/src/node/index.ts"),
        "@lenggen/kernels": source("kernels/src/index.ts"),
      };
    },
  });
  return () => rm(bundle, { recursive: true });
});

function start(accident: Partial<Accident> & { folder: string }): ChildProcess {
  const whole: Accident = { method: "state-passing", kind: "none", at: 0, steps: 5, checkpointEvery: 2, ...accident };
  return spawn(process.execPath, [join(bundle, "child.js"), JSON.stringify(whole)], { stdio: ["ignore", "pipe", "inherit"] });
}

/** Waits for the end. `output` is undefined for a process that was killed. */
async function end(child: ChildProcess): Promise<{ signal: string | null;
  output?: { operations?: number; code?: string; message?: string } }> {
  let text = "";
  child.stdout!.on("data", (chunk: Buffer) => (text += chunk.toString()));
  const signal = await new Promise<string | null>((resolve) => child.on("close", (_, why) => resolve(why)));
  return { signal, ...(text === "" ? {} : { output: JSON.parse(text) as object }) };
}

async function finalBits(folder: string, step: number): Promise<string> {
  const hash = createHash("sha256");
  for (const file of ["model.safetensors", "optimizer.safetensors"])
    hash.update(await readFile(join(folder, "checkpoints", `step-${step}`, file)));
  return hash.digest("hex");
}

/** Every checkpoint that shows has all its files, and files that show are whole. */
async function expectWhole(folder: string): Promise<void> {
  const checkpoints = join(folder, "checkpoints");
  for (const name of await readdir(checkpoints).catch(() => [])) {
    if (name.startsWith(".")) continue;
    expect((await readdir(join(checkpoints, name))).toSorted())
      .toEqual(["config.json", "model.safetensors", "optimizer.safetensors", "trainer.json"]);
  }
  const run = await readFile(join(folder, "run.json"), "utf8").catch(() => "{}");
  expect(() => JSON.parse(run) as unknown).not.toThrow();
}

describe("a run directory", () => {
  it("survives a kill in the middle of every eleventh file operation, and resumes to the same bits", async () => {
    const straight = await temporaryFolder();
    const { output } = await end(start({ folder: straight }));
    const operations = output!.operations!;
    expect(operations).toBeGreaterThan(60);
    const expected = await finalBits(straight, 5);
    for (let at = 1; at <= operations; at += 11) {
      const folder = await temporaryFolder();
      const { signal } = await end(start({ folder, kind: "kill", at }));
      expect(signal).toBe("SIGKILL");
      await expectWhole(folder);
      // What is resumed here may be killed again on its way: at another place each time.
      await end(start({ folder, kind: "kill", at: 10 + (at % 17) }));
      await expectWhole(folder);
      await tinyTrain({ device, method: "state-passing", steps: 5, checkpointEvery: 2, keepCheckpoints: 1, store: runDirectory(folder),
        resume: true });
      expect(await finalBits(folder, 5)).toBe(expected);
      expect((await readdir(folder)).toSorted()).toEqual(["checkpoints", "metrics.jsonl", "run.json"]);
      expect(await readdir(join(folder, "checkpoints"))).toEqual(["step-5"]);
      const steps = (await readFile(join(folder, "metrics.jsonl"), "utf8")).trimEnd().split("\n")
        .map((line) => (JSON.parse(line) as { step: number }).step);
      expect(steps).toEqual([1, 2, 3, 4, 5]);
    }
  }, 300_000);

  it.each(["fitted-noise", "tbtt"] as const)("survives kills at random moments with %s", async (method) => {
    const run = { method, steps: 40, checkpointEvery: 3 } as const;
    const [straight, folder] = [await temporaryFolder(), await temporaryFolder()];
    await end(start({ folder: straight, ...run }));
    let kills = 0;
    for (let killed = true; killed; ) {
      const child = start({ folder, ...run });
      // The first early, so that there is one; then later and later, so that it ends on a slow machine too.
      const timer = setTimeout(() => child.kill("SIGKILL"), 60 + 100 * kills * (0.5 + Math.random()));
      killed = (await end(child)).signal === "SIGKILL";
      clearTimeout(timer);
      if (killed) kills++;
      await expectWhole(folder);
    }
    expect(kills).toBeGreaterThan(0);
    expect(await finalBits(folder, 40)).toBe(await finalBits(straight, 40));
  }, 300_000);

  it("keeps its last good checkpoint when the disk is full, and goes on when there is room again", async () => {
    const straight = await temporaryFolder();
    const { output } = await end(start({ folder: straight }));
    for (const share of [0.35, 0.5, 0.75, 0.9]) {
      const folder = await temporaryFolder();
      const { output: failure } = await end(start({ folder, kind: "full", at: Math.floor(output!.operations! * share) }));
      expect(failure).toMatchObject({ code: "E_IO", message: expect.stringMatching(/disk is full \(ENOSPC\)/) as string });
      await expectWhole(folder);
      expect((await readdir(join(folder, "checkpoints"))).filter((name) => name.startsWith("step-"))).toHaveLength(1);
      expect((await readdir(join(folder, "checkpoints"))).filter((name) => name.startsWith("."))).toEqual([]);
      expect((await end(start({ folder }))).output?.operations).toBeGreaterThan(0);
      expect(await finalBits(folder, 5)).toBe(await finalBits(straight, 5));
    }
  }, 120_000);

  it("takes one process at a time: the second is told which is the first, and follows at once when that is killed", async () => {
    const folder = await temporaryFolder();
    const run = { steps: 100_000, checkpointEvery: 50 } as const;
    const child = start({ folder, ...run });
    const metrics = () => readFile(join(folder, "metrics.jsonl"), "utf8").catch(() => "");
    while ((await metrics()).split("\n").length < 60) await new Promise((resolve) => setTimeout(resolve, 20));
    for (const resume of [true, false]) {
      await expect(tinyTrain({ device, ...run, method: "state-passing", store: runDirectory(folder), resume })).rejects.toMatchObject({
        code: "E_LOCKED", message: expect.stringContaining(
          `${folder} is in use: process ${child.pid} on ${hostname()} works there since `) as string,
      });
    }
    child.kill("SIGKILL");
    await end(child);
    const from = performance.now();
    await tinyTrain({
      device, ...run, method: "state-passing", keepCheckpoints: 1, store: runDirectory(folder), resume: true, signal: AbortSignal.abort(),
    });
    expect(performance.now() - from).toBeLessThan(10_000);
    const steps = (await metrics()).trimEnd().split("\n").map((line) => (JSON.parse(line) as { step: number }).step);
    expect(steps.length).toBeGreaterThanOrEqual(50);
    expect(steps).toEqual(steps.map((_, i) => i + 1));
    expect((await readdir(folder)).toSorted()).toEqual(["checkpoints", "metrics.jsonl", "run.json"]);
  }, 60_000);

  it("that another process has taken over is not written to any more", async () => {
    const folder = await temporaryFolder();
    const store = runDirectory(folder);
    const before = await runDirectory(folder).lock!();
    const other = await readFile(join(folder, ".lock"), "utf8");
    await before();
    const release = await store.lock!();
    await store.prepare();
    await writeFile(join(folder, ".lock"), other);
    const refused = { code: "E_LOCKED", message: expect.stringContaining("has taken it over") as string };
    await expect(store.append("metrics.jsonl", "{}\n")).rejects.toMatchObject(refused);
    await expect(store.write("run.json", "{}")).rejects.toMatchObject(refused);
    await expect(store.writeCheckpoint(1, { "trainer.json": "{}" })).rejects.toMatchObject(refused);
    await release();
    expect((await readdir(folder)).toSorted()).toEqual([".lock", "checkpoints"]);
    expect(await readdir(join(folder, "checkpoints"))).toEqual([]);
  });

  it("does not take an empty folder for a checkpoint", async () => {
    const folder = await temporaryFolder();
    for (const [step, file] of [[2, "trainer.json"], [9, null]] as const) {
      await mkdir(join(folder, "checkpoints", `step-${step}`), { recursive: true });
      if (file) await writeFile(join(folder, "checkpoints", `step-${step}`, file), "{}");
    }
    expect(await runDirectory(folder).checkpoints()).toEqual([2]);
  });

  it("says when it can't write into the folder", async () => {
    const folder = join(await temporaryFolder(), "locked");
    await mkdir(folder);
    await chmod(folder, 0o555);
    await chmod(join(folder, ".."), 0o755);
    await chmod(bundle, 0o755);
    const uid = process.getuid?.() === 0 ? 65_534 : undefined; // permissions do not hold root back
    const { output } = await end(start({ folder, uid }));
    expect(output).toMatchObject({ code: "E_IO", message: expect.stringContaining("permission is denied (EACCES)") as string });
  });
});
