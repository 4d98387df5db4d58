/** Checkpoints that transformers wrote (4.57 and 5.18), against the logits that it computes from them. */
import {
  type Device, type DeviceKind, devices, linear, memorySource, open, openSafetensors, parseConfig, slice, tokenTensor,
} from "@lenggen/kernels";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadMamba2 } from "./files";

// As data URLs, which Node and browsers can read.
const FIXTURES = import.meta.glob<string>("../../test/fixtures/transformers-mamba2/*/*", { query: "?url&inline", import: "default" });
async function fixture(file: string): Promise<Uint8Array> {
  const found = FIXTURES[`../../test/fixtures/transformers-mamba2/${file}`]!;
  return new Uint8Array(await (await fetch(await found())).arrayBuffer());
}

interface Reference {
  readonly ids: readonly number[];
  /** [T][V] of one pass over all ids. */
  readonly logits: readonly (readonly number[])[];
}

const listings = await devices({ fallback: true });
for (const { name, available, reason } of listings) if (!available) console.warn(`tests on device ${name} do not run: ${reason}`);
const names: DeviceKind[] = listings.filter(({ available }) => available).map(({ name }) => name);

describe.each(names)("Mamba-2 of transformers on %s", (name) => {
  let device: Device;
  beforeAll(async () => {
    device = await open(name, { fallback: true });
  });
  afterAll(() => device.close());

  it.each([
    ["5, with {\"__float__\": \"Infinity\"} for no limit", "default", "default"],
    ["4, with a bare Infinity for no limit", "bare-infinity", "default"],
    ["5, with a limit", "finite-limit", "finite-limit"],
  ])("has the logits of its weights: written by version %s", async (_, configured, weighed) => {
    const config = parseConfig(await fixture(`${configured}/config.json`));
    const weights = await openSafetensors(memorySource(await fixture(`${weighed}/model.safetensors`), "model.safetensors"));
    const { ids, logits } = JSON.parse(new TextDecoder().decode(await fixture(`${weighed}/ref.json`))) as Reference;
    const { model, parameters } = await loadMamba2(config, weights, device);
    const tokens = tokenTensor(device, ids, [1, ids.length], model.vocabulary);
    const wanted = logits.flat();

    const whole = model.forward(parameters, tokens);
    const first = model.forward(parameters, slice(tokens, 1, 0, 23));
    const second = model.forward(parameters, slice(tokens, 1, 23, 40), first.state);
    for (const [hidden, from] of [[whole.hidden, 0], [first.hidden, 0], [second.hidden, 23 * 64]] as const) {
      const numbers = await linear(hidden, model.head(parameters)).read();
      const worst = Math.max(...Array.from(numbers, (x, i) => Math.abs(x - wanted[from + i]!)));
      expect(worst).toBeLessThan(2e-6); // the largest logit is about 1
    }
  });
});
