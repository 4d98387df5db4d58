import { describe, expect, it } from "vitest";
import { measureCeiling } from "../../ceiling";
import { devices, open } from "../../open";

const listing = (await devices({ fallback: true })).find(({ name }) => name === "webgpu")!;
if (!listing.available) console.warn(`tests of webgpu's ceilings do not run: ${listing.reason}`);

describe.skipIf(!listing.available)("the ceilings of webgpu", () => {
  it.each([false, true])("are measured by clock and by timestamps alike (timestamps: %s)", async (profile) => {
    const device = await open("webgpu", { fallback: true, profile, webgpu: { maxBinding: 1 << 24 } });
    if (profile && !device.profile) console.warn("the adapter has no timestamp queries: the clock is tested twice");
    const { gflopsOneThread, gflopsAllThreads, gexpAllThreads, copyGBs } = await measureCeiling(device);
    expect(gflopsOneThread).toBe(gflopsAllThreads);
    // Software on one slow core, and the fastest GPU that one can think of.
    for (const value of [gflopsAllThreads, gexpAllThreads, copyGBs]) {
      expect(value).toBeGreaterThan(0.01);
      expect(value).toBeLessThan(1e7);
    }
    expect(device.memory().used).toBe(0);
    device.close();
  });
});
