import { spawnSync } from "node:child_process";
import { writeFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { afterAll, describe, expect, it, vi } from "vitest";
import { open } from "../../open";
import { rmsNorm } from "../../ops/norm";
import { extended } from "../../ops/view";
import { vjp } from "../../tape";
import { dispose, tensor } from "../../tensor";
import { full, zeros } from "../../ops/memory";
import { expectError, instructionSets, kernelsIn } from "../../testing";
import { loadAddon } from "./addon";
import { CpuDevice } from "./index";
import { measureCeiling } from "../../ceiling";

const loaded = await loadAddon();
if (!loaded.addon) console.warn(`tests of the cpu device do not run: ${loaded.reason}`);
const folder = mkdtempSync(join(tmpdir(), "lenggen-cpu-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs a script in a Node of its own, with `addon` as the native addon. */
function node(script: string, environment: Record<string, string> = {}) {
  const path = loaded.addon ? loaded.path : "";
  const prologue = `const addon = require(${JSON.stringify(path)});\n`;
  return spawnSync(process.execPath, ["-e", prologue + script], { encoding: "utf8", env: { ...process.env, ...environment } });
}

describe.runIf(loaded.addon)("the cpu device", () => {
  it("says what it runs on", async () => {
    const device = (await open("cpu", { threads: 3, isa: instructionSets[0]! })) as CpuDevice;
    expect(device.description).toMatch(/, \w+, 3 threads$/);
    expect([device.threads, device.isa]).toEqual([3, instructionSets[0]]);
    device.close();
  });

  it("refuses threads and instruction sets that it can't have", async () => {
    for (const threads of [0, -1, 1.5, 257, NaN]) await expect(open("cpu", { threads })).rejects.toMatchObject({ code: "E_ARGUMENT" });
    await expect(open("cpu", { isa: "sse9" })).rejects.toMatchObject({ code: "E_ARGUMENT", message: expect.stringContaining("sse9") });
    for (const { name } of loaded.addon!.isas().filter(({ supported }) => !supported)) {
      await expect(open("cpu", { isa: name })).rejects.toMatchObject({ code: "E_DEVICE_UNAVAILABLE" });
    }
  });

  it("refuses f64 tensors", async () => {
    const device = await open("cpu");
    expectError(() => zeros(device, [1], "f64"), "E_DTYPE", /it has f32, f16, i32/);
    device.close();
  });

  it("takes the instruction set from LENGGEN_ISA unless one is given", async () => {
    process.env["LENGGEN_ISA"] = "sse9";
    try {
      await expect(open("cpu")).rejects.toMatchObject({ code: "E_ARGUMENT" });
      (await open("cpu", { isa: instructionSets[0]! })).close();
    } finally {
      delete process.env["LENGGEN_ISA"];
    }
  });

  it("gives the same bits with any number of threads", async () => {
    const results: Uint8Array[] = [];
    for (const isa of instructionSets) {
      for (const threads of [1, 2, 3, 7]) {
        const device = await open("cpu", { isa, threads });
        const values = Float32Array.from({ length: 100_001 }, (_, i) => Math.sin(i));
        const [x, out] = [tensor(device, values), full(device, [values.length], 1 / 3)];
        for (let i = 0; i < 10; i++) kernelsIn(device).accumulate({ out, x, scale: 0.1 });
        const bytes = await out.read();
        results.push(new Uint8Array(bytes.buffer));
        x.dispose();
        out.dispose();
        device.close();
      }
      expect(results.slice(1).every((bytes) => Buffer.compare(bytes, results[0]!) === 0)).toBe(true);
      results.length = 0;
    }
  });

  it("runs far more launches than its queue holds", async () => {
    const device = await open("cpu", { threads: 2 });
    const [x, one] = [zeros(device, [8]), full(device, [8], 1)];
    for (let i = 0; i < 20_000; i++) kernelsIn(device).accumulate({ out: x, x: one, scale: 1 });
    expect(await x.read()).toEqual(new Float32Array(8).fill(20_000));
    x.dispose();
    one.dispose();
    device.close();
  });

  it("reuses freed memory in queue order", async () => {
    const device = await open("cpu");
    const one = full(device, [1000], 1);
    const reads = [];
    for (let i = 0; i < 200; i++) {
      const x = full(device, [1000], i);
      kernelsIn(device).accumulate({ out: x, x: one, scale: 1 });
      reads.push(x.read());
      x.dispose();
    }
    expect((await Promise.all(reads)).map((values) => values[999])).toEqual(Array.from({ length: 200 }, (_, i) => i + 1));
    one.dispose();
    const { used, pooled } = device.memory();
    expect(used).toBe(0);
    expect(pooled).toBe(2 * 4096);
    device.close();
  });

  it("gives pooled memory back rather than refuse", async () => {
    const device = await open("cpu", { memoryLimit: 10_000_000 });
    for (let size = 100_000; size <= 2_400_000; size += 100_000) {
      using x = full(device, [size], 1);
      expect((await x.read())[size - 1]).toBe(1);
      expect(device.memory().used + device.memory().pooled).toBeLessThanOrEqual(10_500_000);
    }
    device.close();
  });

  it("makes a buffer longer where it lies, in queue order", async () => {
    const device = await open("cpu", { memoryLimit: 200_000_000 });
    let x = full(device, [1000], 0);
    const one = full(device, [1000], 1);
    let steps = 0;
    for (let size = 2000; size <= 30_000_000; size *= 3) {
      const longer = extended(x, 0, size);
      expect(longer.buffer).toBe(x.buffer);
      x.dispose();
      x = longer;
      using head = x.window([1000]);
      for (let i = 0; i < 50; i++, steps++) kernelsIn(device).accumulate({ out: head, x: one, scale: 1 }); // in the queue while it moves
    }
    expect(new Set((await x.read()).subarray(0, 1000))).toEqual(new Set([steps]));
    // There were never two of them.
    const { used, peak } = device.memory();
    expect(peak).toBe(used);
    const { size } = x;
    expectError(() => extended(x, 0, 60_000_000), "E_MEMORY", /no room for 240 MB/);
    expect([x.size, (await x.read())[999]]).toEqual([size, steps]);
    dispose([x, one]);
    expect(device.memory().used).toBe(0);
    device.close();
  });

  it("gives the system back what has lain idle while much else was made and freed", async () => {
    const device = await open("cpu");
    for (let size = 1 << 16; size <= 1 << 20; size *= 2) full(device, [size], 1).dispose();
    const { pooled } = device.memory();
    expect(pooled).toBeGreaterThan(4 << 20);
    for (let i = 0; i < 20_000; i++) full(device, [100], 1).dispose();
    expect(device.memory().pooled).toBe(448);
    device.close();
  });

  it("finishes what is queued when it closes, and settles what was asked for", async () => {
    const device = await open("cpu");
    const [x, one] = [zeros(device, [100_000]), full(device, [100_000], 1)];
    for (let i = 0; i < 100; i++) kernelsIn(device).accumulate({ out: x, x: one, scale: 1 });
    const read = x.read();
    const done = device.synchronize();
    device.close();
    expect((await read)[99_999]).toBe(100);
    await done;
    x.dispose();
    one.dispose();
  });

  it("rejects the next read when a kernel finds no memory, and lives on", async () => {
    const device = new CpuDevice(new loaded.addon!.CpuDevice(2, "", 2 ** 20, 1), "no room for scratch memory", 2 ** 20);
    const given = [full(device, [4, 8], 1), full(device, [8], 1)] as const;
    const { outputs, pullback } = vjp(([input, weight]) => rmsNorm(input, weight, { eps: 0 }), given);
    expect(await outputs.read()).toEqual(new Float32Array(32).fill(1));
    const gradients = pullback(given[0]);
    await expect(gradients[0].read()).rejects.toMatchObject({ code: "E_MEMORY",
      message: expect.stringMatching(/rmsNormGradient.* scratch/) });
    await device.synchronize();
    expect(await outputs.read()).toEqual(new Float32Array(32).fill(1));
    dispose([given, outputs, gradients]);
    device.close();
  });

  it("refuses arguments that do not fit, and lives on", () => {
    const { CpuDevice: Native } = loaded.addon!;
    const native = new Native(2, "", 1 << 20, 1 << 20) as unknown as Record<string, (...values: unknown[]) => unknown>;
    const id = native["allocate"]!(64) as number;
    const fill = (native["describe"]!() as { kernels: string[] }).kernels.indexOf("fill");
    const values = (...list: number[]) => Float64Array.from(list);
    const wrong: [string, ...unknown[]][] = [
      ["launch"], ["launch", 1e9, values(), 0, 0], ["launch", -1, values(), 0, 0], ["launch", 0.5, values(), 0, 0],
      ["launch", fill, [], 0, 0],
      ["launch", fill, new Float32Array(9), 1, 1], ["launch", fill, values(id, 0, 64, 0), 1, 1],
      ["launch", fill, values(id, 0, 68, 0, 1), 1, 1],
      ["launch", fill, values(id, 64, 4, 0, 1), 1, 1], ["launch", fill, values(id, -4, 4, 0, 1), 1, 1],
      ["launch", fill, values(id, 0, NaN, 0, 1), 1, 1],
      ["launch", fill, values(id, 0.5, 4, 0, 1), 1, 1], ["launch", fill, values(id + 1, 0, 4, 0, 1), 1, 1],
      ["launch", fill, values(NaN, 0, 4, 0, 1), 1, 1],
      ["launch", fill, values(1e300, 0, 4, 0, 1), 1, 1], ["launch", fill, values(-1, 0, 0, 0, 1), 1, 1],
      ["launch", fill, values(id, 0, 64, 0), 1, 0],
      ["allocate"], ["allocate", "7"], ["allocate", -1], ["allocate", NaN], ["allocate", 0.5],
      ["free"], ["free", id + 1], ["free", -1], ["free", NaN],
      ["write", id, 0], ["write", id, 0, new Uint8Array(65)], ["write", id, 64, new Uint8Array(1)], ["write", id, -1, new Uint8Array(1)],
      ["write", id, 0, new Float32Array(1)], ["write", 99, 0, new Uint8Array(1)],
      ["read", id, 0, 65], ["read", id, -1, 1], ["read", 99, 0, 1], ["read", id],
      ["read", id, 0, 64, new Uint8Array(63)], ["read", id, 0, 64, new Float32Array(16)], ["read", id, 0, 64, new Float32Array(64)],
      ["read", id, 0, 64, 3],
    ];
    for (const [method, ...given] of wrong) {
      expect(() => native[method]!(...given), `${method}(${given.map(String).join("; ")})`)
        .toThrow(expect.objectContaining({ code: "E_ARGUMENT" }));
    }
    expect(() => native["allocate"]!(2 ** 60)).toThrow(expect.objectContaining({ code: "E_MEMORY" }));
    for (const given of [[], ["2", "", 1, 1], [2, 3, 1, 1], [2, "", "x", 1], [2, "", 0, 1], [2, "", NaN, 1], [2, "", 1]]) {
      expect(() => new (Native as unknown as new (...v: unknown[]) => unknown)(...given))
        .toThrow(expect.objectContaining({ code: "E_ARGUMENT" }));
    }
    native["launch"]!(fill, values(id, 0, 64, 0, 1), 1, 1);
    native["free"]!(id);
    expect(() => native["free"]!(id)).toThrow(expect.objectContaining({ code: "E_ARGUMENT" }));
    native["close"]!();
    // Methods on a foreign object.
    expect(() => native["allocate"]!.call({}, 1)).toThrow(/[Ii]llegal invocation|[Ii]nvalid argument/);
  });

  it("keeps numbers in a detached array out", () => {
    const { CpuDevice: Native } = loaded.addon!;
    const native = new Native(1, "", 1 << 20, 1 << 20);
    const values = new Float64Array(4);
    structuredClone(values.buffer, { transfer: [values.buffer] });
    expect(() => native.launch(0, values, 1, 1)).toThrow(expect.objectContaining({ code: "E_ARGUMENT" }));
    native.close();
  });

  it("counts calls and time by kernel", async () => {
    const device = (await open("cpu", { threads: 2 })) as CpuDevice;
    const [x, one] = [zeros(device, [100_000]), full(device, [100_000], 1)];
    for (let i = 0; i < 50; i++) kernelsIn(device).accumulate({ out: x, x: one, scale: 1 });
    const profile = await device.profile();
    expect(Object.fromEntries(profile.map(({ kernel, calls }) => [kernel, calls]))).toEqual({ accumulate: 50, fill: 2 });
    for (const { seconds } of profile) expect(seconds).toBeGreaterThan(0);
    expect(profile.map(({ seconds }) => seconds)).toEqual(profile.map(({ seconds }) => seconds).sort((a, b) => b - a));
    device.resetProfile();
    expect(await device.profile()).toEqual([]);
    dispose([x, one]);
    device.close();
    expect(await device.profile()).toEqual([]);
  });

  it("measures its ceiling without blocking", async () => {
    const device = await open("cpu", { threads: 1 });
    let ticks = 0;
    const timer = setInterval(() => ticks++, 5);
    const { gflopsOneThread, gflopsAllThreads, gexpOneThread, gexpAllThreads, copyGBs } = await measureCeiling(device);
    clearInterval(timer);
    device.close();
    for (const value of [gflopsOneThread, gflopsAllThreads, gexpOneThread, gexpAllThreads, copyGBs])
      expect(value).toBeGreaterThan(0.1);
    expect(ticks).toBeGreaterThan(2);
    await expect(open("reference").then(measureCeiling)).rejects.toMatchObject({ code: "E_DEVICE" });
  });
});

const busy = `
const device = new addon.CpuDevice(3, "", 2 ** 30, 2 ** 30);
const size = 4 << 20;
const [x, out] = [device.allocate(size), device.allocate(size)];
const accumulate = device.describe().kernels.indexOf("accumulate");
const values = new Float64Array([x, 0, size, 0, out, 0, size, 0, 1]);
const work = (n) => { for (let i = 0; i < n; i++) device.launch(accumulate, values, 2, 1); };
`;

describe.runIf(loaded.addon)("a process with cpu devices", () => {
  it("ends by itself when nobody waits, and only then", () => {
    const { status, stdout, stderr } = node(`${busy} work(500); device.read(out, 0, size).then(() => console.log("read"));`);
    expect([status, stdout.trim(), stderr]).toEqual([0, "read", ""]);
  });

  it.each(["process.exit(7)", "process.exitCode = 7", "setTimeout(() => process.exit(7), 5)"])("may exit in the middle of work: %s",
    (end) => {
    const { status, signal, stderr } = node(`${busy} work(3000); device.read(out, 0, size); ${end};`);
    expect([status, signal, stderr]).toEqual([7, null, ""]);
  });

  it("may lose devices to the garbage collector", () => {
    const { status, stderr } = node(`
      for (let i = 0; i < 200; i++) {
        const d = new addon.CpuDevice(2, "", 2 ** 30, 2 ** 30);
        d.write(d.allocate(1000), 0, new Uint8Array(1000));
      }
      for (let i = 0; i < 5; i++) { gc(); }
      setTimeout(() => gc(), 10);`.replace(/^/,
        "require('v8').setFlagsFromString('--expose-gc'); const gc = require('vm').runInNewContext('gc');"));
    expect([status, stderr]).toEqual([0, ""]);
  });

  it("may hold them in workers that end at any moment", async () => {
    const script = `const addon = require(${JSON.stringify(loaded.addon ? loaded.path : "")});
      ${busy}
      const { parentPort } = require("node:worker_threads");
      const loop = () => {
        work(200);
        for (let i = 0; i < 20; i++) device.read(out, 0, size);
        device.read(out, 0, size).then(() => { parentPort.postMessage("alive"); loop(); });
      };
      loop();`;
    // Several rounds: what matters is that some reads finish between the order to end and the end.
    for (let round = 0; round < 10; round++) {
      const workers = await Promise.all(Array.from({ length: 4 }, () => new Promise<Worker>((resolve, reject) => {
        const worker = new Worker(script, { eval: true });
        worker.once("message", () => resolve(worker));
        worker.once("error", reject);
      })));
      expect(await Promise.all(workers.map((worker) => worker.terminate()))).toEqual([1, 1, 1, 1]);
    }
    // The addon in this thread is unharmed.
    const device = await open("cpu");
    using x = full(device, [3], 5);
    expect(await x.read()).toEqual(new Float32Array([5, 5, 5]));
    device.close();
  });
});

describe("a missing or broken addon", () => {
  const probe = async (path: string) => {
    vi.resetModules();
    vi.stubEnv("LENGGEN_CPU_ADDON", path);
    try {
      const fresh = await import("../../open");
      const listing = (await fresh.devices()).find(({ name }) => name === "cpu")!;
      await expect(fresh.open("cpu")).rejects.toMatchObject({ code: "E_DEVICE_UNAVAILABLE",
        message: expect.stringContaining(listing.reason) });
      (await fresh.open("reference")).close();
      return listing;
    } finally {
      vi.unstubAllEnvs();
    }
  };

  it("is a reason in the list of devices, and no crash", async () => {
    const broken = join(folder, "broken.node");
    writeFileSync(broken, "not a binary");
    expect(await probe(broken)).toMatchObject({ available: false, reason: expect.stringMatching(/broken\.node does not load: .+/) });
    expect(await probe(join(folder, "absent.node")))
      .toMatchObject({ available: false, reason: expect.stringMatching(/absent\.node does not load/) });
  });
});
