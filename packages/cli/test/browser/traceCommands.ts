/** Traces of a page for its tests, taken in Node by way of Playwright; see `commands` in vitest.config.ts. */
import type { CDPSession, Page } from "playwright";

/** One task, in milliseconds. */
export interface Task {
  /** By the clock on the wall. On a busy machine that is mostly other programs' time. */
  readonly wall: number;
  /** The processor's time that the thread had in it. */
  readonly cpu: number;
}

interface TraceEvent {
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  /** Microseconds. */
  readonly dur?: number;
  readonly tdur?: number;
  readonly args?: { readonly data?: { readonly message?: string } };
}

/** The label by which the traced page makes its main thread known. */
export const MARK = "main thread of the tests";
const CATEGORIES = ["devtools.timeline", "disabled-by-default-devtools.timeline"];

/** What vitest gives a command: with Playwright, the page too. */
interface Context {
  readonly page: Page;
}

let session: CDPSession | undefined;
let events: TraceEvent[] = [];

async function startTrace({ page }: Context): Promise<void> {
  session = await page.context().newCDPSession(page);
  events = [];
  session.on("Tracing.dataCollected", ({ value }) => void events.push(...(value as unknown as TraceEvent[])));
  await session.send("Tracing.start", { traceConfig: { includedCategories: CATEGORIES }, transferMode: "ReportEvents" });
}

/** The tasks since {@link startTrace} of the thread that called `console.timeStamp(MARK)`. */
async function stopTrace(): Promise<Task[]> {
  if (!session) throw new Error("there is no trace to stop");
  const complete = new Promise((resolve) => session!.once("Tracing.tracingComplete", resolve));
  await session.send("Tracing.end");
  await complete;
  await session.detach();
  const mark = events.find(({ name, args }) => name === "TimeStamp" && args?.data?.message === MARK);
  if (!mark) throw new Error("the trace does not say which thread is the page's");
  return events.filter(({ name, pid, tid, dur }) => name === "RunTask" && dur !== undefined && pid === mark.pid && tid === mark.tid)
    .map(({ dur, tdur }) => ({ wall: dur! / 1000, cpu: (tdur ?? dur!) / 1000 }));
}

export const traceCommands = { startTrace, stopTrace };
