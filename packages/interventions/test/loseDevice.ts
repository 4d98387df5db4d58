/** Takes a WebGPU device away from whoever uses it, as a driver's reset would; no part of the device's public face. */
import type { Device } from "@lenggen/kernels";
import { WebGpuDevice } from "../../kernels/src/backends/webgpu";

export function loseDevice(device: Device): void {
  if (!(device instanceof WebGpuDevice)) throw new Error(`a device of kind ${device.kind} can't be lost`);
  device.gpu.destroy();
}
