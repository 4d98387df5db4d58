import { type Device, dispose, type KernelTime, scope } from "@lenggen/kernels";

/** Shortest time of one repetition that a clock reading is trusted for. */
const ENOUGH_MS = 20;

/** How long something is timed. */
export interface Effort {
  readonly budgetMs?: number;
  readonly rounds?: number;
  readonly signal?: AbortSignal;
}

/** For adapters whose times mean nothing: each thing once, after a warm-up. */
export const LEAST_EFFORT: Effort = { budgetMs: 0, rounds: 0 };

/**
 * The best time of one `body` in milliseconds: after a warm-up, rounds of as many repetitions as fill 20 ms, until `budgetMs`
 * is used up (three rounds at least). The best is the one that the machine's other work disturbed least.
 */
export async function bestTime(device: Device, body: () => unknown, { budgetMs = 400, rounds = 3, signal }: Effort = {}): Promise<number> {
  const once = (): void => dispose(scope(body));
  const timed = async (repetitions: number): Promise<number> => {
    const started = performance.now();
    for (let i = 0; i < repetitions; i++) once();
    await device.synchronize();
    return (performance.now() - started) / repetitions;
  };
  await timed(1);
  let best = await timed(1);
  const repetitions = Math.max(1, Math.ceil(ENOUGH_MS / Math.max(1e-3, best)));
  const end = performance.now() + budgetMs;
  for (let round = 0; round < rounds || performance.now() < end; round++) {
    signal?.throwIfAborted();
    best = Math.min(best, await timed(repetitions));
  }
  return best;
}

export const totalMs = (times: readonly KernelTime[]): number => times.reduce((sum, { seconds }) => sum + 1000 * seconds, 0);

/**
 * The kernels of one `body` with their own times by the device's timestamps: without launches and waiting, which are the
 * host's. The best of a few rounds; undefined where the device can't tell.
 */
export async function bestKernelTimes(
  device: Device, body: () => unknown, { rounds = 5, signal }: Effort = {},
): Promise<readonly KernelTime[] | undefined> {
  if (!device.profile) return undefined;
  let best: readonly KernelTime[] | undefined;
  // The first round compiles.
  for (let round = 0; round < Math.max(1, rounds) + 1; round++) {
    signal?.throwIfAborted();
    await device.profile();
    device.resetProfile?.();
    dispose(scope(body));
    const times = await device.profile();
    if (round > 0 && (best === undefined || totalMs(times) < totalMs(best))) best = times;
  }
  return best;
}
