import { afterAll, describe, expect, it } from "vitest";
import { devices, open } from "../../open";
import { dispose, scope, tensor } from "../../tensor";
import { full, zeros } from "../../ops/memory";
import { expectError, kernelsIn } from "../../testing";
import type { WebGpuDevice } from ".";
import { part, rowParts } from "./launcher";
import { sizeClass } from "./pool";
import { program } from "./program";

const listing = (await devices({ fallback: true })).find(({ name }) => name === "webgpu")!;
if (!listing.available) console.warn(`tests of the webgpu device do not run: ${listing.reason}`);
const openHere = async (options = {}) => (await open("webgpu", { fallback: true, ...options })) as WebGpuDevice;

describe.skipIf(!listing.available)("the webgpu device", async () => {
  const device = listing.available ? await openHere() : (undefined as never);
  afterAll(() => device?.close());

  it("says what it is", () => {
    expect(device.kind).toBe("webgpu");
    expect(device.description).toMatch(/ by WebGPU$/);
  });

  it("writes, fills, sums and reads in queue order", async () => {
    const [x, y] = [tensor(device, [1, 2, 3]), full(device, [3], 10)];
    kernelsIn(device).accumulate({ out: y, x, scale: 2 });
    x.write([5, 5, 5]);
    kernelsIn(device).accumulate({ out: y, x, scale: 1 });
    expect([...(await y.read())]).toEqual([17, 19, 21]);
    const n = tensor(device, [1, -2, 3], [3], "i32");
    scope(() => kernelsIn(device).accumulate({ out: n, x: n.window([3]), scale: 3 }));
    expect([...(await n.read())]).toEqual([4, -8, 12]);
    dispose([x, y, n]);
  });

  it("takes windows that begin anywhere", async () => {
    const all = tensor(device, Array.from({ length: 100 }, (_, i) => i));
    const [low, high] = [all.window([7], 3), all.window([7], 80)];
    kernelsIn(device).accumulate({ out: high, x: low, scale: 1 });
    kernelsIn(device).fill({ out: low, value: -1 });
    const values = await all.read();
    expect(Array.from(values.subarray(78, 90))).toEqual([78, 79, 83, 85, 87, 89, 91, 93, 95, 87, 88, 89]);
    expect(Array.from(values.subarray(2, 11))).toEqual([2, -1, -1, -1, -1, -1, -1, -1, 10]);
    dispose([all, low, high]);
  });

  it("writes and reads megabytes", async () => {
    const data = Float32Array.from({ length: 1 << 20 }, (_, i) => i % 1013);
    using x = tensor(device, data);
    scope(() => kernelsIn(device).accumulate({ out: x, x: x.window([1 << 20]), scale: 1 }));
    const found = await x.read();
    expect(found.length).toBe(data.length);
    expect(found.findIndex((value, i) => value !== 2 * data[i]!)).toBe(-1); // toEqual takes seconds for so many
  });

  it("allocates and submits nothing new in a steady loop", async () => {
    const x = zeros(device, [1000]);
    const step = async () => {
      scope(() => {
        for (let i = 0; i < 20; i++) kernelsIn(device).accumulate({ out: x, x: full(device, [1000], 1), scale: 1 });
      });
      return (await x.read())[999];
    };
    await step();
    await step();
    const before = device.counts();
    const held = device.memory();
    for (let i = 0; i < 5; i++) await step();
    const after = device.counts();
    expect(after.allocations - before.allocations).toBe(0);
    expect(after.dispatches - before.dispatches).toBe(5 * 40);
    expect(after.submissions - before.submissions).toBe(5);
    expect(device.memory()).toEqual(held);
    expect((await x.read())[0]).toBe(140);
    x.dispose();
  });

  it("keeps what sizes take turns, too, up to twice the most that was used", async () => {
    const other = await openHere();
    const step = (): void => [40_960, 32_768].forEach((bytes) => other.free(other.allocate(bytes)));
    for (let i = 0; i < 3; i++) step();
    expect(other.counts().allocations).toBe(2);
    for (const bytes of [10_240, 20_480, 30_720]) other.free(other.allocate(bytes));
    expect(other.memory()).toMatchObject({ used: 0, peak: 40_960 });
    expect(other.memory().pooled).toBeLessThanOrEqual(2 * 40_960);
    other.close();
  });

  it("binds what is too large in parts", async () => {
    const small = await openHere({ webgpu: { maxBinding: 1024 } });
    const x = tensor(small, Array.from({ length: 1000 }, (_, i) => i));
    const y = full(small, [1000], 1);
    kernelsIn(small).accumulate({ out: y, x, scale: 2 });
    expect([...(await y.read())]).toEqual(Array.from({ length: 1000 }, (_, i) => 1 + 2 * i));
    dispose([x, y]);
    small.close();
  });

  it("launches more groups than one dimension takes, each once", async () => {
    const groups = 2 * 65_535 + 7;
    const count = program({
      name: "count", reads: {}, writes: { out: "u32" }, params: {}, workgroup: 1,
      code: "fn run(group: u32, lane: u32) { out[group] += group + 1u; }",
    });
    using out = zeros(device, [groups + 100], "i32");
    device.launcher.run(count, { out }, {}, groups);
    const found = await out.read();
    expect(found.findIndex((value, i) => value !== (i < groups ? i + 1 : 0))).toBe(-1);
  });

  it("names a kernel that does not compile, once", async () => {
    const broken = program({ name: "broken", reads: {}, writes: { out: "f32" }, params: {}, workgroup: 1,
      code: "fn run(group: u32, lane: u32) { out[0] = nonsense; }" });
    using out = zeros(device, [1]);
    device.launcher.run(broken, { out }, {}, 1);
    await expect(out.read()).rejects.toMatchObject({ code: "E_SHADER", message: expect.stringMatching(/kernel broken .*nonsense/s) });
    expect((await out.read())[0]).toBe(0);
  });

  it("names a kernel that the device refuses", async () => {
    const nine = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`x${i}`, "f32" as const]));
    const greedy = program({ name: "greedy", reads: {}, writes: nine, params: {}, workgroup: 1,
      code: "fn run(group: u32, lane: u32) { x0[0] = 1.0; }" });
    const buffers = Object.fromEntries(Object.keys(nine).map((name) => [name, zeros(device, [1])]));
    device.launcher.run(greedy, buffers, {}, 1);
    await expect(device.synchronize()).rejects.toMatchObject({ name: "LenggenError", message: expect.stringContaining("greedy") });
    await device.synchronize();
    dispose(buffers);
  });

  it("refuses a tensor over its largest buffer, and over its memory limit", async () => {
    expectError(() => zeros(device, [2 ** 40]), "E_MEMORY", /over this device's largest buffer/);
    const little = await openHere({ memoryLimit: 1 << 20 });
    expectError(() => zeros(little, [1 << 19]), "E_MEMORY", /no room/);
    little.close();
  });

  it("names the kernel that lacks room when the device notices only later", async () => {
    const poor = await openHere();
    const { gpu } = poor;
    // A device that has run out of memory: it answers the scope around a buffer's making with the error.
    const popErrorScope = gpu.popErrorScope.bind(gpu);
    let answered = false;
    const answer = async (): Promise<GPUError | null> => (await popErrorScope()) ?? ({ message: "Out of memory" } as GPUError);
    gpu.popErrorScope = () => (answered ? popErrorScope() : ((answered = true), answer()));
    const x = zeros(poor, [1000]);
    await expect(x.read()).rejects.toMatchObject({ code: "E_MEMORY",
      message: expect.stringMatching(/no room for 4096 bytes that kernel fill needs: Out of memory; make the batch/) });
    expect([...(await x.read())].every((value) => value === 0)).toBe(true);
    x.dispose();
    poor.close();
  });

  it("is lost with a typed error, and says so from then on", async () => {
    const doomed = await openHere();
    const x = full(doomed, [4], 1);
    await x.read();
    const reading = x.read();
    doomed.gpu.destroy();
    await expect(reading.then(() => x.read())).rejects.toMatchObject({ code: "E_DEVICE_LOST" });
    expectError(() => zeros(doomed, [1]), "E_DEVICE_LOST", /last checkpoint/);
    x.dispose();
    doomed.close();
  });

  it("times kernels where it can", async () => {
    const timed = await openHere({ profile: true });
    if (!timed.profile) return console.warn("the adapter has no timestamp queries: profiles are not tested");
    const x = zeros(timed, [1000]);
    scope(() => {
      for (let i = 0; i < 300; i++) kernelsIn(timed).accumulate({ out: x, x: x.window([1000]), scale: 1 });
    });
    const times = await timed.profile();
    expect(Object.fromEntries(times.map(({ kernel, calls }) => [kernel, calls]))).toEqual({ accumulate: 300, fill: 1 });
    for (const { seconds } of times) expect(seconds).toBeGreaterThanOrEqual(0);
    x.dispose();
    timed.close();
  });

  it("goes without times where the adapter has none to give", async () => {
    const untimed = await openHere({ profile: true, webgpu: { features: [] } });
    expect([untimed.profile, untimed.resetProfile]).toEqual([undefined, undefined]);
    using x = full(untimed, [10], 2);
    expect(Array.from(await x.read())).toEqual(Array(10).fill(2));
    untimed.close();
  });

  it("refuses features that the adapter lacks", async () => {
    await expect(openHere({ webgpu: { features: ["nonsense" as "subgroups"] } })).rejects.toMatchObject({ code: "E_DEVICE_UNAVAILABLE" });
  });
});

describe("parts", () => {
  it("cover all rows and fit", () => {
    expect(rowParts(10, [3, 5], 1 << 20)).toEqual([{ start: 0, count: 10 }]);
    expect(rowParts(300, [4, 1], 2048)).toEqual([{ start: 0, count: 128 }, { start: 128, count: 128 }, { start: 256, count: 44 }]);
    expectError(() => rowParts(10, [1000], 2048), "E_MEMORY");
  });

  it("are elements of a tensor", () => {
    const t = {} as never;
    expect(part(t, 2, 3)).toEqual({ tensor: t, start: 2, length: 3 });
  });

  it("come in few sizes", () => {
    expect([1, 256, 257, 4096, 4097, 5000, 1 << 20].map((bytes) => sizeClass(bytes, 1 << 28)))
      .toEqual([256, 256, 512, 4096, 4608, 5120, 1 << 20]);
    expect(sizeClass((1 << 28) - 3, (1 << 28) - 2)).toBeGreaterThanOrEqual((1 << 28) - 3);
  });
});
