import type { Device } from "../../device";
import { check } from "../../errors";
import type { Ceiling } from "./addon";
import { ceilingOf, CpuDevice } from "./index";

/**
 * What the processor can do at most, measured now with the device's threads and instruction set: multiply-adds on
 * registers alone, and a copy much larger than the caches. Benchmarks are shown as shares of it. Takes about
 * two seconds. Throws `E_DEVICE` on a device other than `cpu`.
 */
export async function measureCeiling(device: Device): Promise<Ceiling> {
  check(device instanceof CpuDevice, "E_DEVICE", () => `measureCeiling: device ${device.kind} has no ceiling to measure; open "cpu"`);
  return ceilingOf(device);
}
