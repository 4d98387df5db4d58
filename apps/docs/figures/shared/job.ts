/** The page's side of a worker that computes one thing at a time. */
import type { FromWorker } from "./worker";

/** Thrown where a job was stopped, by the reader or as the page went away. */
export class Stopped extends Error {}

export class Jobs<Request, Told> {
  readonly #make: () => Worker;
  #worker: Worker | undefined;
  #stop: ((error: Error) => void) | undefined;

  constructor(make: () => Worker, signal: AbortSignal) {
    this.#make = make;
    signal.addEventListener("abort", () => this.stop());
  }

  get busy(): boolean {
    return this.#stop !== undefined;
  }

  /** Runs one job in the worker, which is kept for the next one. Rejects with what went wrong, or with {@link Stopped}. */
  async run(request: Request, onTold: (told: Told) => void): Promise<void> {
    if (this.busy) this.stop();
    const worker = this.#worker ??= this.#make();
    const over = new AbortController();
    const { signal } = over;
    try {
      await new Promise<void>((resolve, reject) => {
        this.#stop = reject;
        worker.addEventListener("message", ({ data }: MessageEvent<FromWorker<Told>>) => {
          if (data.kind === "told") onTold(data.told);
          else if (data.kind === "done") resolve();
          else reject(new Error(data.message));
        }, { signal });
        worker.addEventListener("error", ({ message }) => reject(new Error(message || "what computes could not be loaded")), { signal });
        worker.postMessage(request, []);
      });
      this.#stop = undefined;
    } catch (error) {
      if (this.#worker === worker) this.stop();
      throw error;
    } finally {
      over.abort();
    }
  }

  /** Ends the job under way at once, and the worker with it. */
  stop(): void {
    this.#worker?.terminate();
    this.#worker = undefined;
    this.#stop?.(new Stopped());
    this.#stop = undefined;
  }
}
