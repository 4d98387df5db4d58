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

const longest = (tasks: readonly Task[]): string => {
  const [cpu, wall] = [Math.max(...tasks.map((task) => task.cpu)), Math.max(...tasks.map((task) => task.wall))];
  return `${tasks.length} tasks, the longest ${cpu.toFixed(1)} ms of the processor's time and ${wall.toFixed(1)} ms by the clock`;
};

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
    // The very first step also waits for the browser to compile the JavaScript: told, but not held against us.
    const cold = await open("webgpu", { fallback: true });
    const first = await tasksDuring(() => trainSmall(cold, 1));
    cold.close();
    const compiling = await tasksDuring(() => trainSmall(device, 1));
    const steady = await tasksDuring(() => trainSmall(device, 30));
    console.log(`main thread while the first step ran: ${longest(first)}\n  a first step on another device: ${longest(compiling)}\n  30 steps: ${longest(steady)}`);
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
