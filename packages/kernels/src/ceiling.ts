import { WebGpuDevice } from "./backends/webgpu";
import { webGpuCeiling } from "./backends/webgpu/ceiling";
import type { Device } from "./device";
import { cpuCeiling } from "./platform";

/**
 * What a device can do at most, in 10⁹ floating-point operations and in 10⁹ bytes (read and written) a second. A GPU has no
 * threads that one could count: both figures of its arithmetic are the whole adapter's.
 */
export interface Ceiling {
  readonly gflopsOneThread: number;
  readonly gflopsAllThreads: number;
  readonly copyGBs: number;
}

/**
 * What a device can do at most, measured now, as it was opened: multiply-adds on registers alone, and a copy much larger than
 * the caches. Benchmarks are shown as shares of it. Takes about two seconds. Throws `E_DEVICE` on a device other than `cpu`
 * and `webgpu`.
 */
export async function measureCeiling(device: Device): Promise<Ceiling> {
  if (!(device instanceof WebGpuDevice)) return cpuCeiling(device);
  const { gflops, copyGBs } = await webGpuCeiling(device);
  return { gflopsOneThread: gflops, gflopsAllThreads: gflops, copyGBs };
}
