import type { Ceiling } from "../../ceiling";
import type { Device } from "../../device";
import { check } from "../../errors";
import { ceilingOf, CpuDevice } from "./index";

/** What the processor can do at most, with the device's threads and instruction set. Throws `E_DEVICE` on a device other than `cpu`. */
export async function cpuCeiling(device: Device): Promise<Ceiling> {
  check(device instanceof CpuDevice, "E_DEVICE", () => `measureCeiling: device ${device.kind} has no ceiling to measure; open "cpu" or "webgpu"`);
  return ceilingOf(device);
}
