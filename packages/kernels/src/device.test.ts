import { describe, expect, it } from "vitest";
import type { DeviceKind, OpenOptions } from "./device";
import { devices, open } from "./open";
import { scope, tensor } from "./tensor";
import { full, zeros } from "./ops/memory";
import { expectError, hasDevice, kernelsIn } from "./testing";

const KINDS = ["cpu", "webgpu", "reference"] as const;
/** Software adapters will do. */
const here = (kind: DeviceKind, options: OpenOptions = {}) => open(kind, { fallback: true, ...options });

describe("devices", () => {
  it("are listed, absent ones with their reason", async () => {
    const listing = await devices();
    expect(listing.map(({ name }) => name)).toEqual(["cpu", "webgpu", "reference"]);
    for (const { available, reason } of listing) expect(reason === "").toBe(available);
  });

  it("are suggested when their name is mistyped", async () => {
    await expect(open("cpi" as DeviceKind)).rejects.toMatchObject({ code: "E_DEVICE_UNKNOWN",
      message: expect.stringContaining('did you mean "cpu"') });
    await expect(open("constructor" as DeviceKind)).rejects.toMatchObject({ code: "E_DEVICE_UNKNOWN" });
  });

  it.each(KINDS)("refuse impossible memory limits: %s", async (kind) => {
    if (!hasDevice(kind)) return console.warn(`${kind} is not here: its memory limit is not tested`);
    for (const memoryLimit of [0, -1, 1.5, NaN, Infinity]) {
      await expect(here(kind, { memoryLimit })).rejects.toMatchObject({ code: "E_ARGUMENT" });
    }
  });

  it.each(KINDS)("hold to their memory limit: %s", async (kind) => {
    if (!hasDevice(kind)) return console.warn(`${kind} is not here: its memory limit is not tested`);
    const device = await here(kind, { memoryLimit: 1 << 20 });
    const half = zeros(device, [1 << 17]);
    expectError(() => zeros(device, [1 << 18]), "E_MEMORY", /no room for .* make the batch, the length or the model smaller/);
    expect(device.memory().used).toBe(1 << 19);
    half.dispose();
    using whole = full(device, [1 << 18], 1);
    expect((await whole.read())[12345]).toBe(1);
    device.close();
  });

  it.each(KINDS)("refuse what no machine has: %s", async (kind) => {
    if (!hasDevice(kind)) return console.warn(`${kind} is not here: its memory limit is not tested`);
    const device = await here(kind);
    expectError(() => zeros(device, [2 ** 50]), "E_MEMORY");
    device.close();
  });

  it.each(KINDS)("say so when they are used after being closed: %s", async (kind) => {
    if (!hasDevice(kind)) return console.warn(`${kind} is not here: closing is not tested`);
    const device = await here(kind);
    const x = tensor(device, [1, 2]);
    device.close();
    device.close();
    expectError(() => zeros(device, [1]), "E_DEVICE", /closed/);
    expectError(() => x.write([3, 4]), "E_DEVICE", /closed/);
    await expect(x.read()).rejects.toMatchObject({ code: "E_DEVICE" });
    await expect(device.synchronize()).rejects.toMatchObject({ code: "E_DEVICE" });
    // Scopes and finalizers still dispose.
    x.dispose();
    expect(x.disposed).toBe(true);
  });

  it("do not mix", async () => {
    if (!hasDevice("cpu")) return console.warn("the cpu device is not here: mixing devices is not tested");
    const [a, b] = [await open("cpu"), await open("cpu")];
    scope(() => {
      const x = zeros(a, [2]);
      expectError(() => kernelsIn(b).accumulate({ out: zeros(b, [2]), x, scale: 1 }), "E_DEVICE", /another device/);
    });
    a.close();
    b.close();
  });
});
