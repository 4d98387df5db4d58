/**
 * An RWKV-6 that others trained and published (shared data, models: tiny-rwkv-6v0-1m of RWKV/rwkv.cpp, MIT), against the logits that
 * rwkv.cpp itself gave. Its file has no configuration.
 */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Device, devices, dispose, linear, open, scope, tokenTensor, type Tree } from "@lenggen/kernels";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findCheckpoint, loadCheckpoint } from "./checkpoints";

const folder = fileURLToPath(new URL("../../../../shared/data/models/", import.meta.url));
const missing = !existsSync(`${folder}tiny-rwkv-6v0-1m-FP32.bin`);
if (missing) console.warn("tests of the published RWKV-6 do not run: the shared data (data/models) does not lie beside the repository");

const available = (await devices()).filter((device) => device.available).map(({ name }) => name);

describe.skipIf(missing).each(available)("the published RWKV-6 on %s", (name) => {
  let device: Device;
  beforeAll(async () => {
    device = await open(name, { fallback: true });
  });
  afterAll(() => device?.close());

  it.each([["at once", [3]], ["token by token", [1, 1, 1]]])("gives the logits that its own program gives, %s", async (_, cut) => {
    const expected = new Float32Array(new Uint8Array(readFileSync(`${folder}expected-logits-6v0-1m.bin`)).buffer);
    const { model, parameters } = await loadCheckpoint(await findCheckpoint(`${folder}tiny-rwkv-6v0-1m-FP32.bin`), device);
    expect([model.family, model.vocabulary]).toEqual(["rwkv6", 256]);
    const prompt = [...new TextEncoder().encode('"in')];
    const logits = scope(() => {
      let state: Tree | undefined;
      let hidden;
      let from = 0;
      for (const length of cut) {
        ({ hidden, state } = model.forward(parameters, tokenTensor(device, prompt.slice(from, from += length), [1, length], 256), state));
      }
      return linear(hidden!, model.head(parameters));
    });
    const values = (await logits.read()).slice(-256);
    dispose([logits, parameters]);
    const worst = Math.max(...expected.map((x, i) => Math.abs(x - values[i]!)));
    console.log(`published RWKV-6 on ${name}: logits differ by ${worst}`);
    expect(worst).toBeLessThan(1e-5);
  });
});
