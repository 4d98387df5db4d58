/** Trains for the page. What was trained from fresh weights is kept for the next way of training on. */
import { bytesAt, deviceOf, serve } from "../shared/worker";
import type { DeviceChoice } from "../shared/figure";
import type { Way } from "./plan";
import { type HeldWeights, type Told, trainBase, trainOn } from "./training";

export interface Request {
  readonly device: DeviceChoice;
  /** Address of the text. */
  readonly text: string;
  readonly length: number;
  readonly way: Way;
}

/** In plain JavaScript a measurement takes as long as 60 steps. */
const MEASUREMENTS = { webgpu: { base: 8, later: 5 }, reference: { base: 2, later: 1 } } as const;

const bases = new Map<number, HeldWeights>();
let text: Promise<Uint8Array> | undefined;

serve<Request, Told | { readonly kind: "device"; readonly description: string }>(async ({ device: choice, text: address, length, way },
  tell) => {
  const device = await deviceOf(choice);
  tell({ kind: "device", description: device.description });
  const { base: often, later } = MEASUREMENTS[choice.kind];
  const input = { device, text: await (text ??= bytesAt(address)), length, tell };
  const base = bases.get(length) ?? await trainBase({ ...input, measurements: often });
  bases.set(length, base);
  await trainOn({ ...input, measurements: later }, way, base);
});
