/** The page trains as the packages do in Node, keeps what it has trained, and leaves the main thread alone. */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { dispose, open } from "@lenggen/kernels";
import type { Page } from "playwright";
import { describe, expect, it } from "vitest";
import { FAST_PLAN, type Plan } from "../src/shared/plan";
import { splitText } from "../src/shared/text";
import { trainPhase } from "../src/shared/training";
import { memoryFiles } from "../src/worker/files";
import { runFolder } from "../src/worker/runFolder";
import { absent, chooseText, lossesOf, openBrowser, openPage, sampleText, saved, setPlan, SMALL, start, trained } from "./page";

/** Relative, at each of 50 steps: both sides compute in float32, in different orders. */
const TOLERANCE = 1e-4;
const TEXT = sampleText(30_000);
const lenggen = fileURLToPath(new URL("../../../packages/cli/bin/lenggen.js", import.meta.url));

/** The same training in Node, on the fastest device there is. */
async function lossesInNode(plan: Plan): Promise<{ device: string; losses: number[] }> {
  const device = await open("cpu").catch(() => open("reference"));
  const losses: number[] = [];
  const { parameters } = await trainPhase({
    device, plan, phase: { method: "zero", first: true }, text: splitText("words.txt", new TextEncoder().encode(TEXT), plan.context),
    store: runFolder(memoryFiles(), "run"), onEvent: (event) => event.kind === "step" && losses.push(event.loss),
  });
  dispose(parameters);
  device.close();
  return { device: device.kind, losses };
}

interface Task {
  readonly ms: number;
  /** The processor's own time: without the time in which other programs ran. */
  readonly cpu: number;
}

/** Records the tasks of the page's main thread while `body` runs. */
async function mainThreadTasks(page: Page, body: () => Promise<unknown>): Promise<Task[]> {
  const session = await page.context().newCDPSession(page);
  const events: { name: string; ph: string; tid: number; pid: number; dur?: number; tdur?: number; args?: { name?: string } }[] = [];
  session.on("Tracing.dataCollected", ({ value }) => events.push(...(value as unknown as typeof events)));
  const ended = new Promise((resolve) => session.once("Tracing.tracingComplete", resolve));
  await session.send("Tracing.start",
    { traceConfig: { includedCategories: ["disabled-by-default-devtools.timeline", "toplevel", "__metadata"] },
      transferMode: "ReportEvents" });
  await body();
  await session.send("Tracing.end");
  await ended;
  const mains = new Set(events.filter(({ name, args }) => name === "thread_name" && args?.name === "CrRendererMain")
    .map(({ pid, tid }) => `${pid} ${tid}`));
  return events.filter(({ name, pid, tid, dur }) => name === "RunTask" && dur !== undefined && mains.has(`${pid} ${tid}`))
    .map(({ dur, tdur }) => ({ ms: dur! / 1000, cpu: (tdur ?? dur!) / 1000 }));
}

describe.skipIf(absent !== undefined)("training in a tab", () => {
  it("trains with the losses of the CPU, without a long task on the main thread, and what it saves goes on on the command line",
    async () => {
    const page = await openPage(await openBrowser());
    await chooseText(page, TEXT);
    await setPlan(page, SMALL);
    const tasks = await mainThreadTasks(page, async () => {
      await start(page);
      expect(await trained(page)).toMatch(/^Done; kept in this browser\./);
    });
    expect(tasks.length).toBeGreaterThan(50);
    const [worst, wall] = [Math.max(...tasks.map(({ cpu }) => cpu)), Math.max(...tasks.map(({ ms }) => ms))];
    console.log(`main thread while training: longest task ${worst.toFixed(1)} ms of ${tasks.length} (${wall.toFixed(1)} ms with the `
      + "time of other programs)");
    expect(worst).toBeLessThan(50);

    const { folder } = await saved(page);
    expect(readdirSync(folder).toSorted()).toEqual(["1-zero", "README.txt", "tab.json", "words.held-out.txt", "words.train.txt"]);
    const run = join(folder, "1-zero");
    expect(JSON.parse(readFileSync(join(run, "run.json"), "utf8")))
      .toMatchObject({ about: { device: expect.stringMatching(/ by WebGPU$/) as string } });
    const losses = lossesOf(run);
    const inNode = await lossesInNode({ ...FAST_PLAN, ...SMALL });
    expect(losses).toHaveLength(50);
    const deviation = Math.max(...losses.map((loss, i) => Math.abs(loss / inNode.losses[i]! - 1)));
    console.log(`50 losses: largest relative deviation from the ${inNode.device} device's ${deviation.toExponential(1)}`);
    expect(deviation).toBeLessThan(TOLERANCE);

    // The note's own commands, run as they stand.
    const command = (line: string) => execFileSync(process.execPath, [lenggen, ...line.split(" ").slice(1)],
      { cwd: folder, encoding: "utf8", stdio: "pipe" });
    const note = readFileSync(join(folder, "README.txt"), "utf8");
    const [measure, resume] = [/^lenggen eval .*$/m.exec(note)![0], /^lenggen train .*$/m.exec(note)![0]];
    expect(JSON.parse(command(`${measure} --json`))).toMatchObject({ result: { trainLength: 32, sequences: 2 } });
    expect(command(resume)).toMatch(/^done: 50 steps/);
  });

  it.each(["gla-mini-byte", "rwkv6-mini-byte"] as const)("trains another family: %s", async (model) => {
    const plan = { ...SMALL, steps: 5, model };
    const page = await openPage(await openBrowser());
    await chooseText(page, TEXT);
    await setPlan(page, plan);
    await start(page);
    expect(await page.getByRole("combobox", { name: "Model" }).isDisabled()).toBe(true);
    expect(await trained(page)).toMatch(/^Done; kept in this browser\./);
    const { folder } = await saved(page);
    expect(JSON.parse(readFileSync(join(folder, "tab.json"), "utf8"))).toMatchObject({ plan: { model } });
    const losses = lossesOf(join(folder, "1-zero"));
    const inNode = await lossesInNode({ ...FAST_PLAN, ...plan });
    expect(Math.max(...losses.map((loss, i) => Math.abs(loss / inNode.losses[i]! - 1)))).toBeLessThan(TOLERANCE);
  });
});
