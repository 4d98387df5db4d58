import type { Ceiling, Device } from "./device";
import { LenggenError } from "./errors";

/**
 * What a device can do at most, measured now, as it was opened: multiply-adds on registers alone, exponentials, and a copy much
 * larger than the caches. Benchmarks are shown as shares of it. Takes about three seconds. Throws `E_DEVICE` on a device other than `cpu`
 * and `webgpu`.
 */
export async function measureCeiling(device: Device): Promise<Ceiling> {
  if (!device.ceiling) throw new LenggenError("E_DEVICE",
    `measureCeiling: device ${device.kind} has no ceiling to measure; open "cpu" or "webgpu"`);
  return device.ceiling();
}
