/** The table of devices, and how one is opened. */
import { reference } from "./backends/reference";
import { webgpu } from "./backends/webgpu";
import type { Backend, Device, DeviceKind, DeviceListing, OpenOptions } from "./device";
import { check, LenggenError } from "./errors";
import { nearest } from "./nearest";
import { cpu } from "./platform";

const BACKENDS: Readonly<Record<DeviceKind, Backend>> = { cpu, webgpu, reference };

/**
 * Opens a device. Throws `E_DEVICE_UNKNOWN` (with the nearest name) or `E_DEVICE_UNAVAILABLE` (with what is
 * missing and how to get it).
 */
export async function open(kind: DeviceKind, options: OpenOptions = {}): Promise<Device> {
  const backend = (BACKENDS as Record<string, Backend | undefined>)[kind];
  check(backend && Object.hasOwn(BACKENDS, kind), "E_DEVICE_UNKNOWN", () =>
    `no device is named "${kind}"${nearest(kind, Object.keys(BACKENDS))}; there are ${Object.keys(BACKENDS).join(", ")}`);
  const listing = await backend.probe(options);
  if (!listing.available) throw new LenggenError("E_DEVICE_UNAVAILABLE", `device ${kind} can't be opened: ${listing.reason}`);
  return backend.open(options);
}

/** Every device that this build knows, with the reason for each that is absent; `options` as for {@link open}. */
export function devices(options: OpenOptions = {}): Promise<DeviceListing[]> {
  return Promise.all(Object.values(BACKENDS).map((backend) => backend.probe(options)));
}
