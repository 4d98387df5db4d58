/** A page stays alive while it trains, and a worker trains as a page does. In Chromium, on any adapter. */
import { type Device, devices, open } from "@lenggen/kernels";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { tasksDuring } from "./mainThread";
import type { Task } from "./traceCommands";
import { trainSmall } from "./training";
import type { Answer, Order } from "./trainingWorker";

const listing = (await devices({ fallback: true })).find(({ name }) => name === "webgpu")!;
if (!listing.available) console.warn(`training in a page does not run: ${listing.reason}`);

/** The browser's workers; the types of Node, which the tests are checked with, have none. */
declare const Worker: new (url: URL, options: { readonly type: "module" }) => {
  addEventListener(type: "message" | "error", listener: (event: { readonly data?: Answer; readonly message?: string }) => void): void;
  postMessage(order: Order, transfer: readonly []): void;
  terminate(): void;
};

/** Milliseconds of a task that people notice. */
const LONG = 50;
/** Software compiles shaders for a while. */
const PATIENCE = 300_000;

/** Measurements of which the best counts: what training does it does each time, and what else a machine does, mostly not. */
const ATTEMPTS = 3;

const busiest = (tasks: readonly Task[]): Task => tasks.reduce((most, task) => (task.cpu > most.cpu ? task : most));
const describeTasks = (tasks: readonly Task[]): string => {
  const { cpu, wall, doing } = busiest(tasks);
  return `${tasks.length} tasks, the longest ${cpu.toFixed(1)} ms of the processor's time and ${wall.toFixed(1)} ms by the `
    + `clock${doing && ` (${doing})`}`;
};

/** The tasks of the first attempt without a long one, or of the best; the others are printed. */
async function tasksOfTraining(name: string, train: () => Promise<unknown>): Promise<Task[]> {
  let best: Task[] = [];
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const tasks = await tasksDuring(train);
    console.log(`main thread, ${name}: ${describeTasks(tasks)}`);
    if (best.length === 0 || busiest(tasks).cpu < busiest(best).cpu) best = tasks;
    if (busiest(best).cpu <= LONG) break;
  }
  return best;
}

describe("the watch over the main thread", () => {
  it("sees a task of 80 ms, and tells time at work from time asleep", async () => {
    const tasks = await tasksDuring(() => new Promise<void>((resolve) => setTimeout(() => {
      const end = performance.now() + 80;
      while (performance.now() < end);
      setTimeout(resolve, 200);
    }, 0)));
    expect(tasks.filter(({ wall }) => wall >= 80)).toHaveLength(1);
    for (const { cpu, wall } of tasks) expect(cpu).toBeLessThanOrEqual(wall + 1);
  });
});

describe.skipIf(!listing.available)("training in a page", () => {
  let device: Device;
  beforeAll(async () => {
    device = await open("webgpu", { fallback: true });
  });
  afterAll(() => device.close());

  it("has no long task on the main thread, kernels that compile included", async () => {
    // The very first step also waits for the browser to compile the JavaScript: printed, but not held against us.
    const firstStep = async () => {
      const fresh = await open("webgpu", { fallback: true });
      await trainSmall(fresh, 1);
      fresh.close();
    };
    console.log(`main thread, the very first step: ${describeTasks(await tasksDuring(firstStep))}`);
    const compiling = await tasksOfTraining("a first step on another device", firstStep);
    const steady = await tasksOfTraining("30 steps", () => trainSmall(device, 30));
    expect([...compiling, ...steady].filter(({ cpu }) => cpu > LONG)).toEqual([]);
  }, PATIENCE);

  it("gives in a worker the same bits as in the page", async () => {
    const worker = new Worker(new URL("trainingWorker.ts", import.meta.url), { type: "module" });
    const answered = new Promise<Answer>((resolve) => {
      worker.addEventListener("message", ({ data }) => resolve(data!));
      worker.addEventListener("error", ({ message }) => resolve({ error: message ?? "the worker does not load" }));
    });
    worker.postMessage(3, []);
    const here = await trainSmall(device, 3);
    const { kind, training: there, error } = await answered;
    worker.terminate();
    expect(error).toBeUndefined();
    expect(kind).toBe("webgpu");
    expect(here.losses).toHaveLength(3);
    expect(there).toEqual(here);
  }, PATIENCE);
});
