/** Runs a suite on every device of this machine, as the tests of the kernels do; software adapters will do. */
import { type Device, type DeviceKind, devices, open } from "@lenggen/kernels";
import { afterAll, describe } from "vitest";

const listings = await devices({ fallback: true });
for (const { name, available, reason } of listings) if (!available) console.warn(`tests on device ${name} do not run: ${reason}`);

/** The devices that can be opened here. */
export const available: readonly DeviceKind[] = listings.filter((listing) => listing.available).map(({ name }) => name);

export const openHere = (kind: DeviceKind, options = {}): Promise<Device> => open(kind, { fallback: true, ...options });

const opened = await Promise.all(available.map((kind) => openHere(kind)));
afterAll(() => opened.forEach((device) => device.close()));

export function eachDevice(name: string, suite: (device: Device) => void): void {
  for (const device of opened) describe(`${name} on ${device.kind}`, () => suite(device));
}
