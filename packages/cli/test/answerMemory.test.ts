/** What scoring and writing an answer holds on a device does not depend on its length: Mamba-2 copies ever longer strings, in chunks. */
import { taskAccuracy, TASKS } from "@lenggen/evals";
import { devices, dispose, keep, key, open } from "@lenggen/kernels";
import { mamba2 } from "@lenggen/recurrent";
import { describe, expect, it } from "vitest";

const listings = await devices({ fallback: true });
for (const { name, available, reason } of listings) if (!available)
  console.warn(`the test of an answer's memory on device ${name} does not run: ${reason}`);

describe.each(listings.filter(({ available }) => available).map(({ name }) => name))("copying on %s", (name) => {
  it("takes the memory of a chunk at any length", async () => {
    const device = await open(name, { fallback: true });
    const model = mamba2({ d_model: 16, n_layer: 1, vocab_size: 128,
      ssm_cfg: { layer: "Mamba2", d_state: 8, headdim: 8, chunk_size: 16 } });
    const parameters = keep(model.init(key(1), device));
    const peakAt = async (length: number): Promise<number> => {
      await device.synchronize();
      const { used } = device.memory();
      device.resetPeak();
      await taskAccuracy(model, parameters, TASKS.copying, { key: key(2), lengths: [length], samples: 2, chunk: 32 });
      await device.synchronize();
      expect(device.memory().used).toBe(used);
      return device.memory().peak - used;
    };
    const [short, long] = [await peakAt(128), await peakAt(512)];
    expect(short).toBeGreaterThan(0);
    expect(long).toBeLessThanOrEqual(1.05 * short);
    dispose(parameters);
    device.close();
  });
});
