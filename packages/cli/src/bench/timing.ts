import { type Device, dispose, type KernelTime, scope } from "@lenggen/kernels";

/** Shortest time of one repetition that a clock reading is trusted for. */
const ENOUGH_MS = 20;

/**
 * The best time of one `body` in milliseconds: after a warm-up, rounds of as many repetitions as fill 20 ms, until `budgetMs`
 * is used up (three rounds at least). The best is the one that the machine's other work disturbed least.
 */
export async function bestTime(device: Device, body: () => unknown, options: { budgetMs?: number; signal?: AbortSignal } = {}): Promise<number> {
  const { budgetMs = 400, signal } = options;
  const once = (): void => dispose(scope(body));
  const timed = async (repetitions: number): Promise<number> => {
    const started = performance.now();
    for (let i = 0; i < repetitions; i++) once();
    await device.synchronize();
    return (performance.now() - started) / repetitions;
  };
  const first = await timed(1);
  const repetitions = Math.max(1, Math.ceil(ENOUGH_MS / Math.max(1e-3, await timed(1))));
  let best = first;
  const end = performance.now() + budgetMs;
  for (let round = 0; round < 3 || performance.now() < end; round++) {
    signal?.throwIfAborted();
    best = Math.min(best, await timed(repetitions));
  }
  return best;
}

/**
 * Like {@link bestTime}, but the sum of the kernels' own times by the device's timestamps, for devices that
 * have them: without launches and waiting, which are the host's. Undefined where the device can't tell.
 */
export async function bestKernelTime(device: Device, body: () => unknown, options: { rounds?: number; signal?: AbortSignal } = {}): Promise<number | undefined> {
  const { rounds = 5, signal } = options;
  if (!device.profile) return undefined;
  const total = (times: readonly KernelTime[]): number => times.reduce((sum, { seconds }) => sum + 1000 * seconds, 0);
  let best = Infinity;
  for (let round = 0; round < rounds; round++) {
    signal?.throwIfAborted();
    await device.profile();
    device.resetProfile?.();
    dispose(scope(body));
    best = Math.min(best, total(await device.profile()));
  }
  return best;
}
