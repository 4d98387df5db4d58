/** What this page's main thread is busy with, task by task, from Chromium's own trace. */
import { commands } from "vitest/browser";
import { MARK, type Task } from "./traceCommands";

declare module "vitest/browser" {
  interface BrowserCommands {
    startTrace: () => Promise<void>;
    stopTrace: () => Promise<Task[]>;
  }
}

/** The main thread's tasks while `body` runs. */
export async function tasksDuring(body: () => Promise<unknown>): Promise<Task[]> {
  await commands.startTrace();
  try {
    await body();
  } finally {
    // Says which of the browser's threads is ours.
    (console as unknown as { timeStamp(label: string): void }).timeStamp(MARK);
  }
  return commands.stopTrace();
}
