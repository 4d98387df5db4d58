/** A Web Worker that opens a device of its own and trains on it. */
import { open } from "@lenggen/kernels";
import { type Training, trainSmall } from "./training";

/** What the worker is sent: how many steps. */
export type Order = number;
/** What it answers. */
export interface Answer {
  readonly kind?: string;
  readonly training?: Training;
  readonly error?: string;
}

interface Worker {
  addEventListener(type: "message", listener: (event: { readonly data: Order }) => void): void;
  postMessage(message: Answer, transfer: readonly []): void;
}

const worker = globalThis as unknown as Worker;

async function answerTo(steps: Order): Promise<Answer> {
  const device = await open("webgpu", { fallback: true });
  const training = await trainSmall(device, steps);
  device.close();
  return { kind: device.kind, training };
}

worker.addEventListener("message", ({ data }) => {
  void answerTo(data).catch((error: unknown) => ({ error: String(error) })).then((answer) => worker.postMessage(answer, []));
});
