/** The table of devices, and how one is opened. */
import type { Backend, Device, DeviceKind, DeviceListing, OpenOptions } from "./device";
import { check, LenggenError } from "./errors";
import { nearest } from "./nearest";
import { cpu } from "./platform";

/** Loaded when first asked for: a page with WebGPU never needs the kernels of the others, and they are most of this package. */
const BACKENDS: Readonly<Record<DeviceKind, () => Backend | Promise<Backend>>> = {
  cpu: () => cpu,
  webgpu: async () => (await import("./backends/webgpu")).webgpu,
  reference: async () => (await import("./backends/reference")).reference,
};

/**
 * Opens a device. Throws `E_DEVICE_UNKNOWN` (with the nearest name) or `E_DEVICE_UNAVAILABLE` (with what is
 * missing and how to get it).
 */
export async function open(kind: DeviceKind, options: OpenOptions = {}): Promise<Device> {
  check(Object.hasOwn(BACKENDS, kind), "E_DEVICE_UNKNOWN", () =>
    `no device is named "${kind}"${nearest(kind, Object.keys(BACKENDS))}; there are ${Object.keys(BACKENDS).join(", ")}`);
  const backend = await BACKENDS[kind]();
  const listing = await backend.probe(options);
  if (!listing.available) throw new LenggenError("E_DEVICE_UNAVAILABLE", `device ${kind} can't be opened: ${listing.reason}`);
  return backend.open(options);
}

/** Every device that this build knows, with the reason for each that is absent; `options` as for {@link open}. */
export function devices(options: OpenOptions = {}): Promise<DeviceListing[]> {
  return Promise.all(Object.values(BACKENDS).map(async (backend) => (await backend()).probe(options)));
}
