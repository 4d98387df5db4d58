/** A chunk memory in host memory gives what one on the device gives, wherever the stream is cut, and says which states it still serves. */
import {
  advance, type Device, dispose, disposeExcept, generate, hostRandom, key, open, type Parameters, type SequenceModel, slice, tensor,
  type Tensor,
} from "@lenggen/kernels";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { deviation, deviceCases } from "../devices.fixture";
import { hostStore } from "../memory/hostStore";
import { type Drt, drt } from "./model";
import type { DrtState } from "./state";

const CONFIG = {
  model_type: "drt", vocab_size: 30, hidden_size: 16, intermediate_size: 24, num_attention_heads: 2, num_key_value_heads: 1,
  lower_layers: 1, upper_groups: [1, 1], encoder_layers: 1, chunk_size: 4, window: 6, top_k: 2,
};
const model = drt(CONFIG);

const TOTAL = 57;
const ENDS = [5, 9, 23, 23, 40];
/** Different tokens in each of two rows. */
const IDS = (() => {
  const random = hostRandom(key(77));
  return Int32Array.from({ length: 2 * TOTAL }, () => Math.floor(random.uniform() * 30));
})();

function tokens(device: Device, from: number, to: number): Tensor {
  return tensor(device, [...IDS.subarray(from, to), ...IDS.subarray(TOTAL + from, TOTAL + to)], [2, to - from], "i32");
}

/** Runs the stream in pieces and returns the hidden states of each, with the last state. */
async function run(of: Drt, parameters: Parameters, device: Device,
  lengths: readonly number[]): Promise<{ hidden: Tensor[]; state: DrtState }> {
  const hidden: Tensor[] = [];
  let state: DrtState | undefined;
  let from = 0;
  for (const length of lengths) {
    const to = from + length;
    const ends = ENDS.filter((end) => end > from && end <= to).map((end) => end - from);
    const result = await advance(of as SequenceModel<DrtState>, parameters, tokens(device, from, to), state, { ends });
    hidden.push(result.hidden);
    state = result.state;
    from = to;
  }
  return { hidden, state: state! };
}

const SPLITS = [[TOTAL], [1, 2, 3, 9, 1, 10, 31], [8, 8, 16, 25], Array<number>(30).fill(1)];

describe.each(deviceCases)("a memory in a store, on $name", ({ name }) => {
  let device: Device;
  beforeAll(async () => {
    device = await open(name, { fallback: true });
  });
  afterAll(() => device.close());

  it.each(SPLITS.map((lengths) => [`${lengths.length} pieces`, lengths] as const))(
    "f32 gives the numbers of the device's own memory, in %s", async (_, lengths) => {
    const parameters = model.init(key(3), device);
    const store = hostStore();
    const wanted = await run(model, parameters, device, lengths);
    const stored = await run(model.withMemory(store), parameters, device, lengths);
    for (const [i, hidden] of stored.hidden.entries()) expect(await deviation(hidden, wanted.hidden[i]!)).toBe(0);
    const { memory } = stored.state;
    const count = memory.lengths.shape[1]!;
    expect([...(await memory.lengths.read())]).toEqual([...(await wanted.state.memory.lengths.read())]);
    expect(await deviation(slice(memory.landmarks, 1, 0, count), slice(wanted.state.memory.landmarks, 1, 0, count))).toBe(0);
    expect(store.records).toBe(2 * count);
    expect(memory.keys.size).toBe(0);
    expect(store.size().host).toBeGreaterThan(0);
    await store.close();
  });

  it("generates as the device's own memory does", async () => {
    const parameters = model.init(key(9), device);
    const store = hostStore();
    const written = async (of: Drt) => {
      const out: number[] = [];
      for await (const token of generate(of, parameters, IDS.subarray(0, 21), { maxTokens: 12, seed: 4, chunk: 8 })) out.push(token);
      return out;
    };
    expect(await written(model.withMemory(store))).toEqual(await written(model));
    await store.close();
  });

  it("of two states that go on from one place it serves the later", async () => {
    const parameters = model.init(key(5), device);
    const store = hostStore();
    const stored = model.withMemory(store);
    const go = (from: number, to: number, state?: DrtState) =>
      advance(stored as SequenceModel<DrtState>, parameters, tokens(device, from, to), state);
    const shared = (await go(0, 21)).state; // 5 chunks
    const one = await go(21, 40, shared);
    const other = await go(30, 41, shared); // 3 chunks more
    const refused = expect.objectContaining({ code: "E_ARGUMENT",
      message: expect.stringMatching(/of its 10 chunks the host store has only 5 left/) });
    await expect(go(40, 50, one.state)).rejects.toThrow(refused);
    await go(41, 43, other.state);
    const again = await go(21, 40, shared);
    expect(await deviation(again.hidden, one.hidden)).toBe(0);
    // No chunk is completed, so that nothing is written over.
    await go(40, 41, shared);
    await go(40, 50, again.state);
    await go(0, 3); // a new stream, which has no chunk yet
    await go(40, 50, again.state);
    await go(0, 8);
    await expect(go(40, 50, again.state)).rejects.toThrow(/has only 0 left/);
    await store.close();
  });

  it("runs passes that are asked for at the same time one after the other", async () => {
    const parameters = model.init(key(5), device);
    const store = hostStore();
    const stored = model.withMemory(store);
    const go = (from: number, to: number, state?: DrtState) =>
      advance(stored as SequenceModel<DrtState>, parameters, tokens(device, from, to), state);
    const { state } = await go(0, 21);
    const wanted = [(await go(21, 40, state)).hidden, (await go(30, 41, state)).hidden];
    const found = await Promise.all([go(21, 40, state), go(30, 41, state)]);
    for (const [i, { hidden }] of found.entries()) expect(await deviation(hidden, wanted[i]!)).toBe(0);
    await store.close();
  });

  it("serves its own states alone, and not by a pass that can't wait", async () => {
    const parameters = model.init(key(5), device);
    const [store, another] = [hostStore(), hostStore()];
    const [stored, elsewhere] = [model.withMemory(store), model.withMemory(another)];
    const refused = (message: RegExp) => expect.objectContaining({ code: "E_ARGUMENT", message: expect.stringMatching(message) });
    const go = (of: Drt, state?: DrtState) => advance(of as SequenceModel<DrtState>, parameters, tokens(device, 0, 9), state);
    const { state } = await go(stored);
    await expect(go(elsewhere, state)).rejects.toThrow(refused(/its 2 chunks are not in this host store/));
    await expect(go(stored, (await go(model)).state)).rejects.toThrow(refused(/not in this host store/));
    expect(() => model.forward(parameters, tokens(device, 0, 9), state)).toThrow(refused(/keys and values of its 2 chunks are in a store/));
    expect(() => stored.forward(parameters, tokens(device, 0, 9))).toThrow(refused(/call advance/));
    await store.close();
    await expect(go(stored, state)).rejects.toThrow(refused(/has been closed/));
  });

  it("holds nothing on the device but its state, also when a pass fails", async () => {
    const device = await open(name, { fallback: true }); // where nothing is left of other tests
    const parameters = model.init(key(5), device);
    const store = hostStore();
    const stored = model.withMemory(store);
    await device.synchronize();
    const before = device.memory().used;
    let state: DrtState | undefined;
    const pass = async (length: number) => {
      const input = tokens(device, 0, length);
      try {
        const result = await stored.advance!(parameters, input, state);
        result.hidden.dispose();
        disposeExcept(state, result.state);
        state = result.state;
      } finally {
        input.dispose();
      }
    };
    for (let i = 0; i < 12; i++) await pass(7);
    await device.synchronize();
    const held = device.memory().used;
    await store.close();
    await expect(pass(7)).rejects.toThrow(/closed/);
    await device.synchronize();
    expect(device.memory().used).toBe(held);
    dispose(state);
    await device.synchronize();
    expect(device.memory().used).toBe(before);
    dispose(parameters);
    device.close();
  });
});

describe("half precision in a store", () => {
  it.each(["f16", "bf16"] as const)("%s is close to the full precision, and the same wherever the stream is cut", async (dtype) => {
    const device = await open("reference");
    const parameters = model.init(key(3), device, "f64");
    const exact = (await run(model, parameters, device, [TOTAL])).hidden[0]!;
    const store = hostStore({ dtype });
    const whole = (await run(model.withMemory(store), parameters, device, [TOTAL])).hidden[0]!;
    const off = await deviation(whole, exact);
    expect(off).toBeGreaterThan(1e-7);
    expect(off).toBeLessThan(1e-2);
    for (const lengths of SPLITS.slice(1)) {
      const { hidden } = await run(model.withMemory(store), parameters, device, lengths);
      let from = 0;
      for (const [i, part] of hidden.entries()) {
        expect(await deviation(part, slice(whole, 1, from, from + lengths[i]!))).toBeLessThan(1e-12);
        from += lengths[i]!;
      }
    }
    await store.close();
    device.close();
  });

  it("refuses numbers that f16 can't hold, saying how far the stream had come", async () => {
    const device = await open("reference");
    const drawn = model.init(key(3), device);
    const large = await drawn["memory.keys.weight"]!.read();
    const parameters = { ...drawn, "memory.keys.weight": tensor(device, large.map((x) => x * 1e6), drawn["memory.keys.weight"]!.shape) };
    const stored = model.withMemory(hostStore({ dtype: "f16" }));
    const first = await stored.advance!(parameters, tokens(device, 0, 3));
    await expect(stored.advance!(parameters, tokens(device, 3, 20), first.state)).rejects.toThrow(expect.objectContaining({
      code: "E_NOT_FINITE", message: expect.stringMatching(
        /chunk 0 has keys or values that f16 can't hold .*; the stream had reached chunk 0, token 3/),
    }));
    device.close();
  });
});
