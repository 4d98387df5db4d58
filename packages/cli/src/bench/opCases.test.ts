import { devices, dispose, open, scope } from "@lenggen/kernels";
import { describe, expect, it } from "vitest";
import { GPU_OP_CASES, OP_CASES } from "./opCases";

const available = (await devices()).find(({ name }) => name === "cpu")!.available;

if (!available) console.warn("the cases of lerp and turn are not run: the cpu device is not here");

describe("cases of ops", () => {
  it("say what they need, and time composed scans with few steps", () => {
    const stepwise = new Set<string>();
    for (const item of [...OP_CASES, ...GPU_OP_CASES]) {
      expect(Math.min(item.operations, item.bytes), `${item.kernel} ${item.shape}`).toBeGreaterThan(0);
      if (!item.composed) continue;
      stepwise.add(item.kernel);
      expect(item.composed).toMatchObject({ kernel: item.kernel, pass: item.pass });
      expect(item.composed.shape).toBe(item.shape.replace(/ T=\d+ /, " T=256 "));
      expect(item.composed.operations).toBeLessThan(item.operations / 7);
    }
    expect([...stepwise].sort()).toEqual(["deltaRule", "gatedDeltaRule", "gatedLinearAttention", "selectiveScan"]);
  });

  it.skipIf(!available)("of lerp and turn run, and leave nothing", async () => {
    const device = await open("cpu");
    const cases = OP_CASES.filter(({ kernel }) => kernel === "lerp" || kernel === "turn");
    expect(cases.map(({ kernel, pass }) => `${kernel} ${pass}`)).toEqual(["lerp forward", "lerp both", "turn forward", "turn both"]);
    for (const item of cases) {
      const run = item.prepare(device, 1);
      dispose(scope(run.body));
      run.dispose();
      await device.synchronize();
      expect(device.memory().used).toBe(0);
    }
    device.close();
  });
});
