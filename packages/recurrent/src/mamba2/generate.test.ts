import { type Device, devices, dispose, generate, key, open } from "@lenggen/kernels";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { mamba2 } from "./model";

const model = mamba2({ d_model: 16, n_layer: 2, vocab_size: 30, ssm_cfg: { layer: "Mamba2", d_state: 8, headdim: 8 } });

const listings = await devices({ fallback: true });
for (const { name, available, reason } of listings) if (!available) console.warn(`tests on device ${name} do not run: ${reason}`);

describe.each(listings.filter(({ available }) => available))("generation on $name", ({ name }) => {
  let device: Device;
  beforeAll(async () => {
    device = await open(name, { fallback: true });
  });
  afterAll(() => device.close());

  async function run(options: Parameters<typeof generate>[3] & { prompt?: number[] } = {}) {
    const made: number[] = [];
    const parameters = model.init(key(5), device);
    try {
      for await (const token of generate(model, parameters, options.prompt ?? [1, 2, 3, 4, 5, 6, 7],
        { maxTokens: 12, ...options } as never)) made.push(token);
    } finally {
      dispose(parameters);
    }
    return made;
  }

  it("depends on the seed alone, not on how the prompt is cut", async () => {
    const whole = await run({ seed: 4 });
    expect(whole).toHaveLength(12);
    expect(await run({ seed: 4, chunk: 3 })).toEqual(whole);
    expect(await run({ seed: 5 })).not.toEqual(whole);
  });

  it("goes on from where it stopped: greedy tokens are those of a longer prompt", async () => {
    const first = await run({ temperature: 0, maxTokens: 6 });
    const prompt = [1, 2, 3, 4, 5, 6, 7, ...first.slice(0, 3)];
    expect(await run({ temperature: 0, maxTokens: 3, prompt })).toEqual(first.slice(3));
  });

  it("never draws a padding row, and ends after the stop token", async () => {
    const made = await run({ temperature: 50, maxTokens: 60 });
    expect(Math.max(...made)).toBeLessThan(30);
    const stopToken = made[2]!;
    const stopped = await run({ temperature: 50, maxTokens: 60, stopToken });
    expect(stopped).toEqual(made.slice(0, made.indexOf(stopToken) + 1));
  });

  it.each([
    [{ prompt: [] }, /prompt is empty/],
    [{ temperature: -1 }, /temperature -1/],
    [{ topK: 0 }, /topK 0/],
    [{ topP: 1.5 }, /topP 1.5/],
    [{ prompt: [1, 99] }, /99/],
  ])("refuses %j", async (options, message) => {
    await expect(run(options)).rejects.toThrowError(
      expect.objectContaining({ code: "E_ARGUMENT", message: expect.stringMatching(message) }));
  });

  it("leaves nothing behind on the device", async () => {
    const parameters = model.init(key(5), device);
    const before = device.memory().used;
    for await (const _ of generate(model, parameters, [1, 2, 3], { maxTokens: 5 }));
    expect(device.memory().used).toBe(before);
    dispose(parameters);
  });
});
