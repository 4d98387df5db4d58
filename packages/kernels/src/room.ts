/** What can't fit is refused before any of it is made: a machine that fills up stands still long before the last allocation fails. */
import type { Device } from "./device";
import { check } from "./errors";

const inMB = (bytes: number): string => `${(bytes / 1e6).toLocaleString("en", { maximumSignificantDigits: 3 })} MB`;

/** Throws `E_MEMORY` when so many bytes have no room beside what tensors hold on the device already; where its limit is not known, never. */
export function checkRoom(device: Device, bytes: number, what: string): void {
  const { kind, memoryLimit = Infinity } = device;
  const { used } = device.memory();
  check(used + bytes <= memoryLimit, "E_MEMORY", () =>
    `${what} take ${inMB(bytes)}, and tensors may hold ${inMB(memoryLimit)} on ${kind}, of which ${inMB(used)} are taken; `
      + "choose a smaller model or a device with more memory");
}
