/** A stream whose far past was read for the memory alone goes on as one that was read in full, as soon as prefill.ts says so. */
import {
  advance, type Device, disposeExcept, generate, hostRandom, keep, key, open, type Parameters, type SequenceModel, scope, slice,
  tensor, type Tensor,
} from "@lenggen/kernels";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { deviation, deviceCases } from "../devices.fixture";
import { hostStore } from "../memory/hostStore";
import { type Drt, drt } from "./model";
import type { DrtState } from "./state";

const CONFIG = {
  model_type: "drt", vocab_size: 30, hidden_size: 16, intermediate_size: 24, num_attention_heads: 2, num_key_value_heads: 1,
  lower_layers: 2, upper_groups: [1, 1], encoder_layers: 1, chunk_size: 4, window: 6, top_k: 3,
};
const TOTAL = 75;
/** Segments that end early: behind one another, and in the part that is read in full. */
const ENDS = [5, 9, 23, 23, 40, 52];
const IDS = (() => {
  const random = hostRandom(key(78));
  return Int32Array.from({ length: 2 * TOTAL }, () => Math.floor(random.uniform() * 30));
})();

const KINDS: readonly (readonly [string, Record<string, unknown>, number])[] = [
  ["two groups of one layer", {}, 10],
  ["one group of two layers, rotary positions", { upper_groups: [2], position: "rope", softmax_off_by_one: false }, 10],
  ["groups of two and one, a window of many chunks", { upper_groups: [2, 1], window: 13, chunk_size: 3 }, 36],
];

describe.each(deviceCases)("prefill of a DRT on $name", ({ name, dtype, tolerance }) => {
  let device: Device;
  beforeAll(async () => {
    device = await open(name, { fallback: true });
  });
  afterAll(() => device.close());

  const tokens = (from: number, to: number): Tensor =>
    tensor(device, [...IDS.subarray(from, to), ...IDS.subarray(TOTAL + from, TOTAL + to)], [2, to - from], "i32");
  const endsIn = (from: number, to: number) => ENDS.filter((end) => end > from && end <= to).map((end) => end - from);

  /** Reads tokens from ... to in pieces, in full; the hidden states of all of them. */
  async function inFull(model: Drt, parameters: Parameters, from: number, to: number, piece: number, before?: DrtState) {
    const hidden: Tensor[] = [];
    let state = before;
    for (let at = from; at < to; at += piece) {
      const end = Math.min(at + piece, to);
      const result = await advance(model as SequenceModel<DrtState>, parameters, tokens(at, end), state, { ends: endsIn(at, end) });
      hidden.push(result.hidden);
      state = result.state;
    }
    return { hidden, state: state! };
  }
  async function far(model: Drt, parameters: Parameters, to: number, piece: number): Promise<DrtState> {
    let state: DrtState | undefined;
    for (let at = 0; at < to; at += piece) {
      const end = Math.min(at + piece, to);
      state = await model.prefill.read(parameters, tokens(at, end), state, { ends: endsIn(at, end) });
    }
    return state!;
  }
  const memoryOf = ({ memory }: DrtState) => {
    const count = memory.lengths.shape[1]!;
    return [memory.lengths, ...[memory.landmarks, memory.keys, memory.values].map((part) => slice(part, 1, 0, count))];
  };

  it.each(KINDS)("%s: hidden states are those of full reading after so many tokens", async (_, change, recent) => {
    const model = drt({ ...CONFIG, ...change });
    expect(model.prefill.recent).toBe(recent);
    const parameters = model.init(key(3), device, dtype);
    const wanted = await inFull(model, parameters, 0, TOTAL, TOTAL);
    for (const [at, piece] of [[20, 20], [23, 7], [31, 16], [1, 1]] as [number, number][]) {
      const begun = await far(model, parameters, at, piece);
      const { hidden, state } = await inFull(model, parameters, at, TOTAL, 7, begun);
      let from = at;
      for (const part of hidden) {
        const to = from + part.shape[1]!;
        const first = Math.max(from, at + recent);
        if (first < to) expect(await deviation(slice(part, 1, first - from), slice(wanted.hidden[0]!, 1, first, to)))
          .toBeLessThan(tolerance);
        from = to;
      }
      for (const [i, leaf] of memoryOf(state).entries()) expect(await deviation(leaf, memoryOf(wanted.state)[i]!)).toBeLessThan(tolerance);
      // What follows at once has no upper layers behind it, which is what prefill saves.
      expect(await deviation(hidden[0]!, slice(wanted.hidden[0]!, 1, at, at + 7))).toBeGreaterThan(10 * tolerance);
    }
  });

  it("gives the same through a store, which it only writes to", async () => {
    const model = drt(CONFIG);
    const parameters = model.init(key(4), device);
    const store = hostStore();
    let fetched = 0;
    const stored = model.withMemory({
      ...store,
      read(records, into) {
        fetched += records.length;
        return store.read(records, into);
      },
    });
    const [here, there] = [await far(model, parameters, 50, 9), await far(stored, parameters, 50, 9)];
    expect(fetched).toBe(0);
    expect(store.records).toBe(2 * there.memory.lengths.shape[1]!);
    const [wanted, found] = [await inFull(model, parameters, 50, TOTAL, 8, here), await inFull(stored, parameters, 50, TOTAL, 8, there)];
    expect(fetched).toBeGreaterThan(0);
    for (const [i, hidden] of found.hidden.entries()) expect(await deviation(hidden, wanted.hidden[i]!)).toBe(0);
    await expect(stored.prefill.read(parameters, tokens(0, 8), here)).rejects.toThrow(
      expect.objectContaining({ code: "E_ARGUMENT", message: expect.stringMatching(/not in this host store/) as string }));
    await store.close();
  });

  it("makes long prompts of generation faster, and not other", async () => {
    const model = drt(CONFIG);
    const parameters = model.init(key(9), device, dtype);
    const written = async (of: SequenceModel<DrtState>, chunk: number) => {
      const made: number[] = [];
      for await (const token of generate(of, parameters, IDS.subarray(0, 60), { maxTokens: 12, seed: 4, chunk })) made.push(token);
      return made;
    };
    const { prefill: _, ...without } = model;
    const wanted = await written(without, 60);
    expect(new Set(wanted).size).toBeGreaterThan(3);
    for (const chunk of [60, 8]) expect(await written(model as SequenceModel<DrtState>, chunk)).toEqual(wanted);
  });

  it("holds nothing but the states that it gives", async () => {
    const device = await open(name, { fallback: true }); // where nothing is left of other tests
    const model = drt(CONFIG);
    const parameters = model.init(key(5), device, dtype);
    const store = hostStore();
    for (const of of [model, model.withMemory(store)]) {
      const used = async () => {
        await device.synchronize();
        return device.memory().used;
      };
      const before = await used();
      let state: DrtState | undefined;
      for (let at = 0; at < 70; at += 7) {
        const given = keep(scope(() => tensor(device, [...IDS.subarray(at, at + 7)], [1, 7], "i32")));
        const next = await of.prefill.read(parameters, given, state);
        given.dispose();
        disposeExcept(state, next);
        state = next;
      }
      disposeExcept(state, null);
      expect(await used()).toBe(before);
    }
    await store.close();
    device.close();
  });
});
