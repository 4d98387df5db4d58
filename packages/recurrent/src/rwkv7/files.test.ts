import {
  type Device, dispose, encodeSafetensors, keep, key, memorySource, open, openSafetensors, type Parameters, saveModel, scope, zeros,
} from "@lenggen/kernels";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadRwkv7 } from "./files";
import { rwkv7 } from "./model";

const CONFIG = { n_layer: 2, n_embd: 16, vocab_size: 20, head_size: 8, dim_ffn: 24, d_decay_lora: 3, d_aaa_lora: 2, d_mv_lora: 2,
  d_gate_lora: 4 };

describe("checkpoints of RWKV-7", () => {
  const model = rwkv7(CONFIG);
  let device: Device;
  let parameters: Parameters;
  beforeAll(async () => {
    device = await open("reference");
    parameters = keep(scope(() => model.init(key(1), device)));
  });
  afterAll(() => device.close());

  async function reopen(file: AsyncIterable<Uint8Array>) {
    const parts: Uint8Array<ArrayBuffer>[] = [];
    for await (const part of file) parts.push(part.slice());
    return openSafetensors(memorySource(new Uint8Array(await new Blob(parts).arrayBuffer()), "model.safetensors"));
  }

  async function expectSame(loaded: Awaited<ReturnType<typeof loadRwkv7>>): Promise<void> {
    expect(loaded.model.config).toEqual(model.config);
    expect(Object.keys(loaded.parameters)).toEqual(Object.keys(parameters));
    for (const [name, t] of Object.entries(loaded.parameters)) expect(await t.read()).toEqual(await parameters[name]!.read());
    dispose(loaded.parameters);
  }

  it("come back as they were saved, without what the first layer would not read", async () => {
    const { config, weights } = saveModel(model, parameters);
    expect(Object.keys(model.parameterShapes()).filter((name) => /att\.v\d$/.test(name)))
      .toEqual(["blocks.1.att.v0", "blocks.1.att.v1", "blocks.1.att.v2"]);
    await expectSame(await loadRwkv7(JSON.parse(config), await reopen(weights), device));
  });

  it("load where a program made that for the first layer too, of whatever shape; nothing else may be there", async () => {
    const more = { ...parameters, ...Object.fromEntries([0, 1, 2].map((i) => [`blocks.0.att.v${i}`, zeros(device, [3])])) };
    await expectSame(await loadRwkv7(CONFIG, await reopen(encodeSafetensors(more)), device));
    await expect(loadRwkv7(CONFIG, await reopen(encodeSafetensors({ ...more, "blocks.0.att.v3": zeros(device, [3]) })), device))
      .rejects.toMatchObject({ code: "E_WEIGHTS", message: expect.stringMatching(/holds 1 tensor \(blocks\.0\.att\.v3\)/) as string });
  });
});
