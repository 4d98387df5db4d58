/** Runs a suite on every device of this machine, as the tests of the kernels do; software adapters will do. */
import { type Device, type DeviceKind, devices, open } from "@lenggen/kernels";
import { afterAll, describe } from "vitest";

const listings = await devices({ fallback: true });
for (const { name, available, reason } of listings) if (!available) console.warn(`tests on device ${name} do not run: ${reason}`);

/** The devices that can be opened here. */
export const available: readonly DeviceKind[] = listings.filter((listing) => listing.available).map(({ name }) => name);

export const openHere = (kind: DeviceKind, options = {}): Promise<Device> => open(kind, { fallback: true, ...options });

const opened = new Map(await Promise.all(available.map(async (kind): Promise<[DeviceKind, Device]> => [kind, await openHere(kind)])));
afterAll(() => opened.forEach((device) => device.close()));

/** The device of that kind that all tests of a file share: a WebGPU device compiles its kernels anew each time it is opened. */
export const shared = (kind: DeviceKind): Device => opened.get(kind)!;

export function eachDevice(name: string, suite: (device: Device) => void): void {
  for (const [kind, device] of opened) describe(`${name} on ${kind}`, () => suite(device));
}
