/** Models and data sets of the hub for the commands: says what is fetched and how large it is before it begins, and how far it is. */
import { type HubFiles, type HubKind, type HubPlan, resolveHub } from "@lenggen/data/node";
import { bytes, counted } from "./format";
import { Progress } from "./progress";

/** What fetching needs of a command's context. */
export interface HubContext {
  readonly signal: AbortSignal;
}

const MOST_NAMED = 6;

/** Finds or fetches what a reference names; of texts, those that `reads` takes. Errors are those of `resolveHub`. */
export async function fromHub(reference: string, kind: HubKind, { signal }: HubContext,
  reads?: (path: string) => boolean): Promise<HubFiles> {
  let progress: Progress | undefined;
  let total = 0;
  try {
    return await resolveHub(reference, {
      kind, reads, signal,
      onPlan(plan) {
        progress?.finish();
        say(planned(plan));
        total = plan.bytes;
        progress = new Progress("fetching", total, { unit: "bytes" }, plan.begun);
      },
      onProgress: (done, file) => progress?.update(Math.min(done, total), file),
      onNote(text) {
        progress?.finish();
        say(text);
      },
    });
  } finally {
    progress?.finish();
  }
}

/** Where the bar is, whatever stdout is for. */
const say = (line: string): void => void process.stderr.write(`${line}\n`);

function planned({ reference, files, bytes: all, begun, cache }: HubPlan): string {
  const named = files.slice(0, MOST_NAMED).map(({ path, size }) => `${path} ${bytes(size)}`).join(", ");
  const more = files.length > MOST_NAMED ? `, and ${files.length - MOST_NAMED} more` : "";
  return `${reference}: fetching ${counted(files.length, "file")}, ${bytes(all)} (${named}${more}), into ${cache}`
    + (begun > 0 ? `; ${bytes(begun)} of them are there from before` : "");
}
