/** The worker's side of a job, see job.ts: it gets a request, tells what it finds, and says when it is done or what went wrong. */
import { type Device, open } from "@lenggen/kernels";
import type { DeviceChoice } from "./figure";

export type FromWorker<Told> =
  | { readonly kind: "told"; readonly told: Told }
  | { readonly kind: "done" }
  | { readonly kind: "failed"; readonly message: string };

/** The little of a worker's surroundings that is used here. */
interface WorkerScope {
  addEventListener(kind: "message", listener: (event: { readonly data: unknown }) => void): void;
  postMessage(message: unknown, transfer: []): void;
}

/** What a worker does with a request. */
export type Work<Request, Told> = (request: Request, tell: (told: Told) => void) => Promise<void>;

/** Does each request that comes. */
export function serve<Request, Told>(work: Work<Request, Told>): Work<Request, Told> {
  const scope = globalThis as unknown as WorkerScope;
  const say = (message: FromWorker<Told>): void => scope.postMessage(message, []);
  scope.addEventListener("message", ({ data }) => void work(data as Request, (told) => say({ kind: "told", told })).then(
    () => say({ kind: "done" }),
    (error: unknown) => say({ kind: "failed", message: error instanceof Error ? error.message : String(error) }),
  ));
  return work;
}

let opened: Promise<Device> | undefined;

/** The worker's one device, opened when it is first asked for. */
export function deviceOf({ kind, fallback }: DeviceChoice): Promise<Device> {
  return (opened ??= open(kind, { fallback }));
}

/** Bytes of a file of the site. */
export async function bytesAt(address: string): Promise<Uint8Array<ArrayBuffer>> {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${address.split("/").at(-1)!} can't be loaded: the server answered ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}
