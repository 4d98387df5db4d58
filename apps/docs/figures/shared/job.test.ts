import { expect, it } from "vitest";
import { Jobs, Stopped } from "./job";
import type { FromWorker } from "./worker";

/** A worker that says what it is told to. */
class Played extends EventTarget {
  readonly asked: unknown[] = [];
  ended = false;
  postMessage(request: unknown): void {
    this.asked.push(request);
  }

  terminate(): void {
    this.ended = true;
  }

  say(message: FromWorker<string>): void {
    this.dispatchEvent(new MessageEvent("message", { data: message }));
  }
}

function played(): { workers: Played[]; jobs: Jobs<string, string>; gone: AbortController } {
  const workers: Played[] = [];
  const gone = new AbortController();
  const make = (): Worker => {
    workers.push(new Played());
    return workers.at(-1) as unknown as Worker;
  };
  return { workers, jobs: new Jobs<string, string>(make, gone.signal), gone };
}

it("runs one job after the other in one worker, and tells what it finds", async () => {
  const { workers, jobs } = played();
  const told: string[] = [];
  for (const request of ["first", "second"]) {
    const job = jobs.run(request, (one) => told.push(one));
    expect(jobs.busy).toBe(true);
    workers[0]!.say({ kind: "told", told: `${request}!` });
    workers[0]!.say({ kind: "done" });
    await job;
    expect(jobs.busy).toBe(false);
  }
  expect([workers.length, workers[0]!.asked, told]).toEqual([1, ["first", "second"], ["first!", "second!"]]);
});

it("ends a job that is stopped, and starts anew", async () => {
  const { workers, jobs, gone } = played();
  const first = jobs.run("first", () => {});
  jobs.stop();
  await expect(first).rejects.toBeInstanceOf(Stopped);
  const second = jobs.run("second", () => {});
  const third = jobs.run("third", () => {});
  await expect(second).rejects.toBeInstanceOf(Stopped);
  expect(workers.map(({ ended }) => ended)).toEqual([true, true, false]);
  expect(jobs.busy).toBe(true);
  gone.abort();
  await expect(third).rejects.toBeInstanceOf(Stopped);
  expect(workers[2]!.ended).toBe(true);
});

it("says what went wrong, and gives the next job a new worker", async () => {
  const { workers, jobs } = played();
  const job = jobs.run("first", () => {});
  workers[0]!.say({ kind: "failed", message: "it is lost" });
  await expect(job).rejects.toThrow("it is lost");
  void jobs.run("second", () => {}).catch(() => {});
  expect([workers.length, workers[0]!.ended]).toEqual([2, true]);
});
