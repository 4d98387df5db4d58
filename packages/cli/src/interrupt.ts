/**
 * Signals that ask a command to save and stop: Ctrl-C, SIGTERM as service managers send it, SIGHUP when the terminal is closed, and
 * on request SIGUSR1 and SIGUSR2, which batch systems send before a job's time is over.
 */
import { LenggenError } from "@lenggen/kernels";
import { EXIT } from "./usage";

export interface InterruptOptions {
  /** Whether SIGUSR1 and SIGUSR2 stop too. They are reported and change nothing otherwise: Node's debugger is not what was asked for. */
  readonly userSignals?: boolean;
  readonly stderr?: NodeJS.WritableStream;
}

/** `signal` aborts when the command should save and stop. */
export interface Interrupts {
  readonly signal: AbortSignal;
  readonly stop: () => void;
}

/** With a second one of these the process ends at once: somebody is waiting. The others may come twice from one cause. */
const AT_ONCE: ReadonlySet<NodeJS.Signals> = new Set<NodeJS.Signals>(["SIGINT", "SIGTERM"]);
const STOPS: readonly NodeJS.Signals[] = ["SIGINT", "SIGTERM", "SIGHUP"];
const USER: readonly NodeJS.Signals[] = ["SIGUSR1", "SIGUSR2"];

/** Listens to signals until `stop` is called. */
export function watchInterrupts({ userSignals = false, stderr = process.stderr }: InterruptOptions = {}): Interrupts {
  const controller = new AbortController();
  let asked = false;
  const onStop = (name: NodeJS.Signals): void => {
    if (AT_ONCE.has(name) && asked) process.exit(EXIT.interrupted);
    asked ||= AT_ONCE.has(name);
    if (controller.signal.aborted) return;
    const again = AT_ONCE.has(name) ? "; Ctrl-C again stops at once" : "";
    stderr.write(`\nlenggen: ${AT_ONCE.has(name) ? "" : `${name}: `}stopping as soon as what is done is saved${again}\n`);
    controller.abort(new LenggenError("E_INTERRUPTED", "interrupted"));
  };
  const onUser = (name: NodeJS.Signals): void => {
    if (userSignals) onStop(name);
    else stderr.write(`\nlenggen: ${name} changes nothing here; commands that train save and stop on it with --save-on-signal\n`);
  };
  for (const name of STOPS) process.on(name, onStop);
  for (const name of USER) process.on(name, onUser);
  return {
    signal: controller.signal,
    stop: () => {
      for (const name of STOPS) process.off(name, onStop);
      for (const name of USER) process.off(name, onUser);
    },
  };
}
