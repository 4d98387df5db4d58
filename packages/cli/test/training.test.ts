/** Training from the command line: how it begins, how it is stopped, and how it goes on. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { lenggen, type Running, start } from "./lenggen";
import { type Workplace, workplace } from "./trained";

let place: Workplace;
beforeAll(async () => (place = await workplace()));
afterAll(() => place.remove());

const run = (...args: string[]) => lenggen(args, { cwd: place.folder });

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** A run that only a signal ends. */
const long = (out: string, ...more: string[]): Running =>
  start(["train", ...place.training, "--steps", "1000000", "--log-every", "1", "--out", out, ...more], { cwd: place.folder });

/** Waits for the first step, or for another one. */
async function untilStep(out: string, step = 1): Promise<void> {
  for (;;) {
    const metrics = await readFile(join(place.folder, out, "metrics.jsonl"), "utf8").catch(() => "");
    if (metrics.includes(`{"step":${step},`)) return;
    await pause(20);
  }
}

/** Steps of the checkpoints of a run, ascending. */
async function saved(out: string): Promise<number[]> {
  const names = await readdir(join(place.folder, out, "checkpoints"));
  return names.map((name) => Number(name.replace("step-", ""))).sort((a, b) => a - b);
}

describe("the warm-up", () => {
  it("is shorter where the run is, and says so; one that does not end is refused", async () => {
    const [, , ...others] = place.training.toReversed(); // without --warmup
    const args = ["train", ...others.toReversed(), "--steps", "20", "--log-every", "1", "--schedule", "constant"];
    const { code, stderr } = await run(...args, "--out", "runs/short");
    expect(code).toBe(0);
    expect(stderr).toContain("warm-up: 2 of 20 steps");
    const lines = (await readFile(join(place.folder, "runs/short/metrics.jsonl"), "utf8")).trimEnd().split("\n");
    expect(lines.map((line) => (JSON.parse(line) as { learningRate: number }).learningRate))
      .toEqual([5e-4, ...Array<number>(19).fill(1e-3)]);
    const refused = await run(...args, "--out", "runs/rising", "--warmup", "50");
    expect(refused.code).toBe(1);
    expect(refused.stderr).not.toContain("warm-up");
    expect(refused.error).toContain("warmup is 50, longer than the run of 20 steps");
  });
});

describe("another optimiser and another loss", () => {
  const args = (out: string, steps: number, ...more: string[]): string[] =>
    ["train", ...place.training, "--steps", String(steps), "--out", out,
    "--schedule", "constant", "--optimizer", "muon", "--optimizer-set", "adam-w-share=0.1", "--learning-rate", "0.02", "--loss",
    "state-norm", "--loss-set", "weight=0.1", ...more];
  const weights = (out: string): Promise<Buffer> => readFile(join(place.folder, out, "checkpoints/step-8/model.safetensors"));

  it("train, are recorded, and go on to the bits of a run in one go", async () => {
    const whole = await run(...args("runs/muon", 8, "--json"));
    expect(whole.code).toBe(0);
    expect(JSON.parse(await readFile(join(place.folder, "runs/muon/run.json"), "utf8"))).toMatchObject({
      settings: { optimizer: { name: "muon", adamWShare: 0.1, momentum: 0.95, clip: 1 }, loss: { name: "state-norm", weight: 0.1 } },
    });
    const [last] = (await readFile(join(place.folder, "runs/muon/metrics.jsonl"), "utf8")).trimEnd().split("\n").slice(-1);
    const { loss, terms } = JSON.parse(last!) as { loss: number; terms: { crossEntropy: number } };
    expect(terms.crossEntropy).toBeLessThan(loss);
    expect((JSON.parse(whole.stdout) as { lossBitsPerByte: number }).lossBitsPerByte).toBeCloseTo(terms.crossEntropy / Math.LN2, 6);
    const rate = { settings: { schedule: { learningRate: 0.02 } } };
    const own = ["--steps", "1", "--warmup", "0", "--optimizer", "muon", "--out", "runs/own-rate"];
    expect((await run("train", ...place.training, ...own)).code).toBe(0);
    expect(JSON.parse(await readFile(join(place.folder, "runs/own-rate/run.json"), "utf8"))).toMatchObject(rate);
    for (const steps of [5, 8]) expect((await run(...args("runs/parts", steps, "--resume"))).code).toBe(0);
    expect(await weights("runs/parts")).toEqual(await weights("runs/muon"));
    const other = await run("train", ...place.training, "--steps", "9", "--out", "runs/muon", "--schedule", "constant", "--resume");
    expect(other.error).toMatch(/loss.name: "state-norm" there, "cross-entropy" here.*optimizer.name: "muon" there, "adamw" here/);
  });
});

describe("Ctrl-C", () => {
  it("saves and exits with 130; the run can be resumed", async () => {
    const running = long("runs/interrupted");
    await untilStep("runs/interrupted");
    running.process.kill("SIGINT");
    const { code, stdout, stderr } = await running.finished;
    expect(code).toBe(130);
    expect(stderr).toContain("Ctrl-C again stops at once");
    const step = Number(/step ([\d,]+) of/.exec(stdout)![1]!.replaceAll(",", ""));
    expect(step).toBeGreaterThan(0);
    expect(await readdir(join(place.folder, "runs/interrupted/checkpoints"))).toContain(`step-${step}`);

    const again = start(["train", ...place.training, "--steps", "1000000", "--out", "runs/interrupted", "--resume"], { cwd: place.folder });
    await untilStep("runs/interrupted", step + 1);
    again.process.kill("SIGINT");
    const resumed = await again.finished;
    expect(resumed.code).toBe(130);
    expect(Number(/step ([\d,]+) of/.exec(resumed.stdout)![1]!.replaceAll(",", ""))).toBeGreaterThan(step);
  });

  it("a second time exits at once", async () => {
    const running = long("runs/twice");
    await untilStep("runs/twice");
    running.process.kill("SIGINT");
    await running.until(/Ctrl-C again/);
    running.process.kill("SIGINT");
    expect((await running.finished).code).toBe(130);
  });
});

describe("a run that is done", () => {
  it("goes on for more steps with --resume, with its moments and the warm-up that it had", async () => {
    const [, , ...others] = place.training.toReversed(); // without --warmup
    const args = ["train", ...others.toReversed(), "--out", "runs/more", "--schedule", "constant", "--log-every", "1", "--resume"];
    for (const steps of ["6", "60"]) expect(await run(...args, "--steps", steps))
      .toMatchObject({ code: 0, stdout: expect.stringContaining(`done: ${steps} steps`) as string });
    expect((await saved("runs/more")).at(-1)).toBe(60);
    const { code, error } = await run(...args, "--steps", "50");
    expect({ code, error }).toMatchObject({ code: 1, error: expect.stringContaining("has done 60 steps already") as string });
  });

  it("whose rate has fallen says how it can", async () => {
    const args = ["train", ...place.training, "--out", "runs/fallen", "--steps"];
    expect((await run(...args, "6")).code).toBe(0);
    expect((await run(...args, "8", "--resume")).error).toContain("--schedule-steps) for 8 steps");
    expect((await run(...args, "8", "--resume", "--schedule-steps", "6")).stdout).toContain("done: 8 steps");
  });
});

describe("steps that are not finite", () => {
  it("are skipped on request, and end the run when they are too many in a row", async () => {
    const args = ["train", ...place.training, "--steps", "20", "--learning-rate", "1e36", "--clip", "0", "--schedule", "constant"];
    const { code, error } = await run(...args, "--out", "runs/diverged", "--skip-not-finite", "3");
    expect({ code, error }).toEqual({ code: 1,
      error: expect.stringMatching(/, after 3 in a row that were skipped: .*\[E_NOT_FINITE\]$/) as string });
    const metrics = await readFile(join(place.folder, "runs/diverged/metrics.jsonl"), "utf8");
    expect(metrics.match(/"inARow":3/g)).toHaveLength(1);
    expect((await run(...args, "--out", "runs/ended")).error).not.toContain("in a row");
  });
});

describe("a second process", () => {
  it("in the same run directory is refused, with the first one's process and host", async () => {
    const running = long("runs/shared");
    await untilStep("runs/shared");
    for (const more of [[], ["--resume"]]) {
      const { code, error } = await run("train", ...place.training, "--out", "runs/shared", ...more);
      expect({ code, error }).toEqual({
        code: 1, error: expect.stringMatching(
          new RegExp(`runs/shared is in use: process ${running.process.pid} on .* \\[E_LOCKED\\]$`)) as string,
      });
    }
    running.process.kill("SIGINT");
    expect((await running.finished).code).toBe(130);
  });
});

describe("a signal", () => {
  it.each([["SIGHUP"], ["SIGTERM"], ["SIGUSR1", "--save-on-signal"], ["SIGUSR2", "--save-on-signal"]] as [NodeJS.Signals, ...string[]][])(
    "%s saves and stops as Ctrl-C does", async (name, ...more) => {
      const out = `runs/${name}`;
      const running = long(out, ...more);
      await untilStep(out);
      running.process.kill(name);
      const { code, stdout, stderr } = await running.finished;
      expect(code).toBe(130);
      expect(stderr).toContain("stopping as soon as what is done is saved");
      expect(stderr).not.toContain("Debugger");
      expect(stdout).toContain("interrupted: step");
      expect((await saved(out)).at(-1)).toBeGreaterThan(0);
    });

  it("of a terminal that is gone saves too, though nobody reads any more and it comes twice", async () => {
    const running = long("runs/gone");
    await untilStep("runs/gone");
    running.process.stdout!.destroy();
    running.process.stderr!.destroy();
    running.process.kill("SIGHUP");
    running.process.kill("SIGHUP");
    expect((await running.finished).code).toBe(130);
    expect((await saved("runs/gone")).at(-1)).toBeGreaterThan(0);
  });

  it("for which nobody asked changes nothing, and opens no debugger", async () => {
    const running = long("runs/unasked");
    await untilStep("runs/unasked");
    for (const name of ["SIGUSR1", "SIGUSR2"] as const) {
      running.process.kill(name);
      await running.until(new RegExp(`${name} changes nothing here; .* with --save-on-signal`));
    }
    running.process.kill("SIGINT");
    const { code, stderr } = await running.finished;
    expect(code).toBe(130);
    expect(stderr).not.toContain("Debugger");
  });

  it("stops a reproduction, which nobody else can join before, and which goes on later", async () => {
    const args = ["reproduce", "unexplored-states", "--preset", "smoke", "--out", "runs/reproduced", "--save-on-signal"];
    const running = start(args, { cwd: place.folder });
    while (!(await readdir(join(place.folder, "runs/reproduced")).catch(() => [] as string[])).includes("control")) await pause(5);
    const second = await run(...args);
    expect({ code: second.code, error: second.error }).toEqual({
      code: 1, error: expect.stringMatching(
        new RegExp(`reproduced is in use: process ${running.process.pid} on .* \\[E_LOCKED\\]$`)) as string,
    });
    running.process.kill("SIGUSR2");
    expect((await running.finished).code).toBe(130);
    expect((await run(...args)).code).toBe(0);
  });
});
