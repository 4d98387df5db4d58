import {
  type Device, dispose, encodeSafetensors, generate, key, loadState, mapTree, memorySource, open, openSafetensors, saveState,
  type SequenceModel, type StreamPlace, type Tensor, tensor, type Tree,
} from "@lenggen/kernels";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { deviceCases } from "./devices.fixture";
import { drt } from "./drt/model";
import { transformer } from "./transformer/model";

const SHARED = { vocab_size: 30, hidden_size: 16, intermediate_size: 24, num_attention_heads: 2 };
const RETRIEVES = drt({
  ...SHARED, model_type: "drt", num_key_value_heads: 1, lower_layers: 1, upper_groups: [1, 1], encoder_layers: 1, chunk_size: 4,
  window: 6, top_k: 3,
});
const MODELS: [string, SequenceModel][] = [
  ["a DRT", RETRIEVES as SequenceModel],
  ["a sliding window", transformer({ ...SHARED, model_type: "transformer", num_hidden_layers: 2, window: 5 }) as SequenceModel],
  ["full attention", transformer({ ...SHARED, model_type: "transformer", num_hidden_layers: 2, window: null }) as SequenceModel],
];
const PROMPT = Array.from({ length: 23 }, (_, i) => (7 * i + (i >> 2)) % 30);

async function bytesOf(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: number[] = [];
  for await (const piece of pieces) parts.push(...piece);
  return Uint8Array.from(parts);
}

describe.each(deviceCases)("saved states on $name", ({ name }) => {
  let device: Device;
  beforeAll(async () => {
    device = await open(name, { fallback: true });
  });
  afterAll(() => device.close());

  it.each(MODELS)("of %s go on to the tokens of one generation", async (_, model) => {
    const parameters = model.init(key(3), device);
    const before = device.memory().used;
    /** Generates from a file, or from nothing; gives the tokens and the next file. */
    const run = async (prompt: number[], maxTokens: number, from?: Uint8Array) => {
      const made: number[] = [];
      const loaded = from && (await loadState(model, parameters, memorySource(from), { batch: 1 }));
      let end: { state: Tree; place: StreamPlace } | undefined;
      const options = { temperature: 3, maxTokens, ...loaded, onEnd: (state: Tree, place: StreamPlace) => void (end = { state, place }) };
      for await (const token of generate(model, parameters, prompt, options)) made.push(token);
      const file = await bytesOf(saveState(model, parameters, end!.state, end!.place));
      dispose([loaded?.state, end!.state]);
      return { made, file };
    };
    const whole = await run(PROMPT, 25);
    const first = await run(PROMPT, 11);
    const second = await run([], 14, first.file);
    expect([...first.made, ...second.made]).toEqual(whole.made);
    expect(second.file).toEqual(whole.file);
    // Asked further, the state in memory and the one from a file give the same.
    expect((await run([4, 5], 6, second.file)).made).toEqual((await run([4, 5], 6, whole.file)).made);
    // Read in two parts, the second time with what ends a segment.
    const read = await run(PROMPT.slice(0, 9), 0);
    expect((await run(PROMPT.slice(9), 8, read.file)).made).toHaveLength(8);
    dispose(parameters);
    expect(device.memory().used).toBeLessThan(before);
  });

  it("of a DRT are refused when their numbers point nowhere, whatever their digest says", async () => {
    const parameters = RETRIEVES.init(key(3), device);
    let state: Tree | undefined;
    let place: StreamPlace | undefined;
    for await (const _ of generate(RETRIEVES, parameters, PROMPT, { maxTokens: 1, onEnd: (s, p) => void ([state, place] = [s, p]) }));
    const file = await bytesOf(saveState(RETRIEVES as SequenceModel, parameters, state!, place!));
    const { metadata } = await openSafetensors(memorySource(file));
    const { state: digest, ...about } = metadata;
    expect(digest).toMatch(/^[0-9a-f]{64}$/);
    const whole = await loadState(RETRIEVES, parameters, memorySource(file));
    const before = device.memory().used;
    for (const [path, value, message] of [
      ["memory.lengths", 5, /memory\.lengths holds 5; it must lie in 0 \.\.\. 4/],
      ["retrieved.1.indices", 99, /retrieved\.1\.indices holds 99/],
    ] as const) {
      const changed: Tensor[] = [];
      const tree = mapTree<unknown>(whole.state, (t, at): Tensor => {
        if (at !== path) return t;
        changed.push(tensor(device, Array.from({ length: t.size }, () => value), t.shape, "i32"));
        return changed[0]!;
      });
      const bad = await bytesOf(encodeSafetensors(tree, about));
      await expect(loadState(RETRIEVES, parameters, memorySource(bad))).rejects.toThrowError(
        expect.objectContaining({ code: "E_FORMAT", message: expect.stringMatching(message) as string }));
      dispose(changed);
    }
    expect(device.memory().used).toBe(before);
    dispose([whole.state, state, parameters]);
  });
});
