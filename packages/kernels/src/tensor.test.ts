import { describe, expect, it } from "vitest";
import { dispose, disposeExcept, keep, leakedTensors, scope, type Tensor, tensor, tensorsIn } from "./tensor";
import { full, zeros } from "./ops/memory";
import { eachDevice, expectError, referenceDevice, kernelsIn } from "./testing";

eachDevice("tensors", (device) => {
  const used = () => device.memory().used;

  it("hold what was written, in f32 and i32", async () => {
    using x = tensor(device, [1.5, -2, 0.1], [3, 1]);
    using n = tensor(device, [7, -8], [2], "i32");
    expect(await x.read()).toEqual(new Float32Array([1.5, -2, 0.1]));
    expect(await n.read()).toEqual(new Int32Array([7, -8]));
    expect([x.size, x.byteLength, x.shape, x.dtype]).toEqual([3, 12, [3, 1], "f32"]);
  });

  it("may be empty or scalar", async () => {
    using none = zeros(device, [0, 4]);
    using one = full(device, [], 3);
    expect(await none.read()).toEqual(new Float32Array());
    expect(await one.item()).toBe(3);
  });

  it("are filled in large sizes too", async () => {
    using x = full(device, [100_003], 0.25);
    const values = await x.read();
    expect(values.every((value) => value === 0.25)).toBe(true);
  });

  it("copy what is written at once", async () => {
    const source = new Float32Array([1, 2]);
    using x = tensor(device, source);
    for (let i = 0; i < 50; i++) kernelsIn(device).accumulate({ out: x, x, scale: 0 });
    x.write(source);
    source.fill(9);
    expect(await x.read()).toEqual(new Float32Array([1, 2]));
  });

  it("are written and read in queue order", async () => {
    using x = zeros(device, [50_000]);
    using one = full(device, [50_000], 1);
    const reads = [];
    for (let i = 0; i < 5; i++) {
      kernelsIn(device).accumulate({ out: x, x: one, scale: 1 });
      reads.push(x.read());
    }
    x.write(new Float32Array(50_000));
    reads.push(x.read());
    expect((await Promise.all(reads)).map((values) => values[49_999])).toEqual([1, 2, 3, 4, 5, 0]);
  });

  it("are read into memory that is given", async () => {
    using x = tensor(device, [1.5, -2, 0.1], [3, 1]);
    using n = tensor(device, [7, -8], [2], "i32");
    const into = new Float32Array(5).fill(9);
    const part = into.subarray(1, 4);
    expect(await x.read(part)).toBe(part);
    expect(into).toEqual(new Float32Array([9, 1.5, -2, 0.1, 9]));
    const reads = [x.read(part), x.read()];
    x.write([4, 5, 6]);
    reads.push(x.read(into.subarray(2)));
    await Promise.all(reads);
    expect([into, await reads[1]]).toEqual([new Float32Array([9, 1.5, 4, 5, 6]), new Float32Array([1.5, -2, 0.1])]);
    expect(await n.read(new Int32Array(2))).toEqual(new Int32Array([7, -8]));
    await expect(x.read(new Float32Array(4))).rejects.toMatchObject({ code: "E_SHAPE",
      message: expect.stringContaining("4 numbers do not hold a tensor [3, 1] of 3") });
    await expect(x.read(new Int32Array(3))).rejects.toMatchObject({ code: "E_DTYPE",
      message: expect.stringContaining("f32 is read into a Float32Array, not a Int32Array") });
  });

  it("are not read into memory that is gone, and lose nothing", async () => {
    using x = full(device, [50_000], 2);
    const into = new Float32Array(50_000);
    const read = x.read(into);
    structuredClone(into, { transfer: [into.buffer] });
    const outcome = await read.catch((error: unknown) => error);
    // The reference has read at once.
    if (device.kind !== "reference") expect(outcome).toMatchObject({ code: "E_ARGUMENT", message: expect.stringContaining("transferred") });
    expect((await x.read())[49_999]).toBe(2);
  });

  it("share memory through windows, which the last owner frees", async () => {
    const before = used();
    const x = tensor(device, [1, 2, 3, 4, 5, 6], [2, 3]);
    const row = x.window([3], 3);
    const last = row.window([1], 2);
    x.dispose();
    row.dispose();
    expect(await last.item()).toBe(6);
    last.write([60]);
    expect(await last.item()).toBe(60);
    last.dispose();
    expect(used()).toBe(before);
    using y = zeros(device, [2]);
    expectError(() => y.window([2], 1), "E_SHAPE", /\[2\] from element 1 does not fit/);
  });

  it("refuse wrong shapes, lengths and use after disposal", () => {
    expectError(() => zeros(device, [-1]), "E_SHAPE", /whole numbers/);
    expectError(() => zeros(device, [1.5]), "E_SHAPE");
    expectError(() => zeros(device, [2 ** 30, 2 ** 30]), "E_SHAPE", /too many/);
    expectError(() => tensor(device, [1, 2, 3], [2]), "E_SHAPE", /3 numbers do not fill/);
    const x = zeros(device, [2]);
    x.dispose();
    x.dispose();
    expectError(() => x.write([1, 2]), "E_DISPOSED");
    expectError(() => x.window([1]), "E_DISPOSED");
    expectError(() => kernelsIn(device).fill({ out: x, value: 0 }), "E_DISPOSED");
  });

  it("refuse what is no number, or does not fit", () => {
    for (const wrong of [1.5, 2 ** 31, Number.NaN, Infinity])
      expect(() => tensor(device, [0, wrong], [2], "i32")).toThrow(/at place 1 is not a whole number/);
    expect(() => tensor(device, BigInt64Array.of(1n) as unknown as number[], [1], "i32"))
      .toThrow(/^write: 1 at place 0 is not a whole number/);
    for (const wrong of ["1", 1n, undefined, null])
      expect(() => tensor(device, [wrong] as unknown as number[])).toThrow(/at place 0 is not a number, as f32 holds/);
    tensor(device, [-0, -(2 ** 31), 2 ** 31 - 1], [3], "i32").dispose();
    tensor(device, [Number.NaN, -Infinity]).dispose();
  });

  it("refuse to be one number when they are many", async () => {
    using x = zeros(device, [2]);
    await expect(x.item()).rejects.toMatchObject({ code: "E_SHAPE" });
  });

  it("leave a scope only when returned", () => {
    const before = used();
    const kept = scope(() => {
      zeros(device, [10]);
      const inner = scope(() => ({ list: [zeros(device, [20])], not: zeros(device, [30]).size }));
      zeros(device, [40]);
      return { inner, other: full(device, [2], 1) };
    });
    expect([...tensorsIn(kept)].map((t) => t.disposed)).toEqual([false, false]);
    dispose(kept);
    expect(used()).toBe(before);
  });

  it("are freed when a scope's body throws, and kept when asked for", () => {
    const before = used();
    let survivor: Tensor | undefined;
    expect(() => scope(() => scope(() => {
      survivor = keep(zeros(device, [4]));
      zeros(device, [4]);
      throw new Error("planned");
    }))).toThrow("planned");
    expect(survivor!.disposed).toBe(false);
    survivor!.dispose();
    expect(used()).toBe(before);
  });

  it("are freed except those that something else holds too", () => {
    const before = used();
    const [a, b, c] = [zeros(device, [4]), zeros(device, [4]), zeros(device, [4])];
    disposeExcept({ old: [a, b] }, { next: [b, c] });
    expect([a.disposed, b.disposed, c.disposed]).toEqual([true, false, false]);
    disposeExcept([b, c], undefined);
    expect(used()).toBe(before);
  });

  it("leave no memory behind after many scopes", () => {
    const step = () => scope(() => {
      const a = full(device, [1000], 1);
      const b = zeros(device, [1000]);
      kernelsIn(device).accumulate({ out: b, x: a, scale: 2 });
    });
    const before = used();
    for (let i = 0; i < 1000; i++) step();
    expect(used()).toBe(before);
  });

  it("count the peak", () => {
    device.resetPeak();
    const before = device.memory();
    expect(before.peak).toBe(before.used);
    zeros(device, [1 << 16]).dispose();
    const after = device.memory();
    expect(after.used).toBe(before.used);
    expect(after.peak - before.used).toBe(4 << 16);
  });
});

describe("f64 tensors", () => {
  it("keep all their digits on the reference device", async () => {
    using x = tensor(referenceDevice, [0.1], [1], "f64");
    expect(await x.item()).toBe(0.1);
  });
});

describe("scopes", () => {
  it("refuse promises", () => {
    expectError(() => scope(async () => 1), "E_SCOPE", /promise/);
  });

  it("leak nothing in these tests", () => {
    expect(leakedTensors()).toBe(0);
  });
});
