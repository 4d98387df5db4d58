/** Traces of a page for its tests, taken in Node by way of Playwright; see `commands` in vitest.config.ts. */
import type { CDPSession, Page } from "playwright";

/** One task, in milliseconds. */
export interface Task {
  /** By the clock on the wall. On a busy machine that is mostly other programs' time. */
  readonly wall: number;
  /** The processor's time that the thread had in it. */
  readonly cpu: number;
  /** What took longest in it, in words; only of tasks that take long. */
  readonly doing: string;
}

interface TraceEvent {
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  /** Microseconds. */
  readonly ts: number;
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
  // Tests in this page before have left garbage; whose collection falls into a trace is chance.
  await session.send("HeapProfiler.collectGarbage");
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
  const own = events.filter(({ pid, tid, dur }) => dur !== undefined && pid === mark.pid && tid === mark.tid);
  return own.filter(({ name }) => name === "RunTask")
    .map((task) => ({ wall: task.dur! / 1000, cpu: processorTime(task), doing: task.dur! < TOLD ? "" : within(task, own) }));
}

const processorTime = ({ dur, tdur }: TraceEvent): number => (tdur ?? dur!) / 1000;

/** Tasks shorter than this, in microseconds, need no explanation. */
const TOLD = 20_000;

/** The longest events inside a task. */
function within(task: TraceEvent, own: readonly TraceEvent[]): string {
  return own.filter((event) => event !== task && event.ts >= task.ts && event.ts < task.ts + task.dur!)
    .sort((a, b) => processorTime(b) - processorTime(a)).slice(0, 4)
    .map((event) => `${event.name} ${processorTime(event).toFixed(1)} ms`).join(", ");
}

export const traceCommands = { startTrace, stopTrace };
