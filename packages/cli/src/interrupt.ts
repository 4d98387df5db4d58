import { LenggenError } from "@lenggen/kernels";
import { EXIT } from "./usage";

/**
 * Ctrl-C: the first one asks the command to save and stop, the second ends the process at once.
 * SIGTERM counts as Ctrl-C, as service managers send it.
 */
export function watchInterrupts(stderr: NodeJS.WritableStream = process.stderr): { signal: AbortSignal; stop: () => void } {
  const controller = new AbortController();
  const onSignal = (): void => {
    if (controller.signal.aborted) process.exit(EXIT.interrupted);
    stderr.write("\nlenggen: stopping as soon as what is done is saved; Ctrl-C again stops at once\n");
    controller.abort(new LenggenError("E_INTERRUPTED", "interrupted"));
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  return {
    signal: controller.signal,
    stop: () => {
      process.off("SIGINT", onSignal);
      process.off("SIGTERM", onSignal);
    },
  };
}
