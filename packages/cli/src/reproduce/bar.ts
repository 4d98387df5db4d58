/** Progress of a measure of a reproduction. */
import { Progress } from "../progress";

/** Runs a measure under a bar over its tokens, which starts when the measure says how many there are. */
export async function underBar<R>(label: string, run: (onProgress: (done: number, total: number) => void) => Promise<R>): Promise<R> {
  let bar: Progress | undefined;
  try {
    return await run((done, total) => {
      bar ??= new Progress(label, total, { unit: "tokens" });
      bar.update(done);
    });
  } finally {
    bar?.finish();
  }
}
