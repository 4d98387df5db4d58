/** What a figure's `record.ts` is given, and what it makes. */
import { type Device, dispose, encodeSafetensors } from "@lenggen/kernels";
import { type HeldWeights, onDevice } from "../collapse/training";

export interface Recording {
  readonly device: Device;
  /** The text that figures train on and read. */
  readonly text: Uint8Array;
  /** What records the numbers, for who wants to do it again. */
  readonly command: string;
  /** A file of `figures/made` or `figures/models`. */
  readonly file: (name: string) => Promise<Uint8Array<ArrayBuffer>>;
  readonly note: (text: string) => void;
}

/** Files below apps/docs/figures by their paths. */
export type RecordedFiles = Readonly<Record<string, string | Uint8Array>>;

/** Weights as a file. */
export async function encodeWeights(device: Device, weights: HeldWeights): Promise<Uint8Array> {
  const parameters = onDevice(device, weights);
  const parts: Uint8Array[] = [];
  for await (const part of encodeSafetensors(parameters)) parts.push(part.slice());
  dispose(parameters);
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  parts.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
  return whole;
}
