/**
 * A training process that meets with an accident. Its argument is JSON: `folder`, `method`, and what befalls it at file
 * operation number `at`: it is killed half-way through it (`kill`), or the disk is full from then on (`full`).
 * Prints how many operations there were, or the error's code and message, as JSON.
 */
import * as files from "node:fs/promises";
import { createRequire, syncBuiltinESMExports } from "node:module";
import { open as openDevice } from "@lenggen/kernels";
import type { InterventionName } from "../src/interventions";
import { runDirectory } from "../src/node";
import { tinyTrain } from "./tinyRun";

export interface Accident {
  readonly folder: string;
  readonly method: InterventionName;
  readonly kind: "kill" | "full" | "none";
  readonly at: number;
  readonly steps: number;
  readonly checkpointEvery: number;
  /** User to become first, so that permissions apply. */
  readonly uid?: number;
}

type Call = (...args: unknown[]) => Promise<unknown>;

const accident = JSON.parse(process.argv[2]!) as Accident;
let operations = 0;

/** A file operation that counts, and goes wrong when its time has come. `half` does part of it. */
function fragile(call: Call, writes: boolean, half?: Call): Call {
  return async function (this: unknown, ...args: unknown[]) {
    operations++;
    if (accident.kind === "kill" && operations === accident.at) {
      await half?.apply(this, args);
      process.kill(process.pid, "SIGKILL");
      await new Promise(() => {});
    }
    if (accident.kind === "full" && operations >= accident.at && writes) {
      throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
    }
    return call.apply(this, args);
  };
}

async function makeFragile(): Promise<void> {
  const table = createRequire(import.meta.url)("node:fs/promises") as Record<string, Call>;
  const probe = await files.open(process.argv[1]!, "r");
  const handle = Object.getPrototypeOf(probe) as Record<string, Call>;
  await probe.close();
  const { write, sync } = handle as { write: Call; sync: Call };
  handle["write"] = fragile(write, true, function (this: unknown, bytes, offset, length) {
    return write.call(this, bytes, offset, Math.floor((length as number) / 2));
  });
  handle["sync"] = fragile(sync, false);
  const { appendFile } = table as { appendFile: Call };
  table["appendFile"] = fragile(appendFile, true, (path, text) => appendFile(path, (text as string).slice(0, 20)));
  for (const name of ["open", "rename", "rm", "mkdir", "link", "unlink"]) table[name] = fragile(table[name]!, name === "mkdir");
  syncBuiltinESMExports();
}

try {
  if (accident.uid !== undefined) process.setuid!(accident.uid);
  await makeFragile();
  const { folder, method, steps, checkpointEvery } = accident;
  const device = await openDevice("reference");
  await tinyTrain({ device, method, steps, checkpointEvery, keepCheckpoints: 1, store: runDirectory(folder), resume: true });
  console.log(JSON.stringify({ operations }));
} catch (error) {
  const { code, message } = error as { code: string; message: string };
  console.log(JSON.stringify({ code, message }));
}
