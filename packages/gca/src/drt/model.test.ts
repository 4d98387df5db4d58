/** The laws of every sequence model for the DRT, wherever segments end, and what is its own: the memory, which states share. */
import {
  crossEntropy, type Device, dispose, disposeExcept, keep, key, leaves, mean, open, type Parameters, scope, slice,
  tensor, tokenTensor, valueAndGradient,
} from "@lenggen/kernels";
import { checkSequenceModel, SEQUENCE_MODEL_LAWS } from "@lenggen/kernels/laws";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { deviation, deviceCases } from "../devices.fixture";
import { drt } from "./model";
import type { DrtState } from "./state";

const CONFIG = {
  model_type: "drt", vocab_size: 30, hidden_size: 16, intermediate_size: 24, num_attention_heads: 2, num_key_value_heads: 1,
  lower_layers: 1, upper_groups: [1, 1], encoder_layers: 1, chunk_size: 4, window: 6, top_k: 2, softmax_off_by_one: true,
};

describe.each(deviceCases)("DRT on $name", ({ name, dtype, tolerance }) => {
  let device: Device;
  beforeAll(async () => {
    device = await open(name, { fallback: true });
  });
  afterAll(() => device.close());

  const ids = (total: number, rows = 2) => Array.from({ length: rows * total }, (_, i) => (i * 7919 + (i >> 3)) % 30);
  const input = (total: number, rows = 2) => tokenTensor(device, ids(total, rows), [rows, total], 30);

  const UNEVEN = [[1, 2, 3, 9, 1, 10], [4, 4, 8, 10], Array<number>(19).fill(1)];
  it.each(SEQUENCE_MODEL_LAWS)("keeps the law of %s", (law) =>
    checkSequenceModel(drt(CONFIG), { device, dtype, tolerance, cuts: UNEVEN, laws: [law] }));

  it.each(["chunks", "gradients"] as const)("keeps the law of %s with segments that end early", (law) =>
    checkSequenceModel(drt(CONFIG), { device, dtype, tolerance, cuts: [[5, 6, 9]], ends: [5, 7, 11, 11], laws: [law] }));

  it.each(SEQUENCE_MODEL_LAWS)("keeps the law of %s with rotary positions, one group, and chunks of one size", (law) => {
    const model = drt({ ...CONFIG, position: "rope", upper_groups: [2], softmax_off_by_one: false, top_k: 9 });
    return checkSequenceModel(model, { device, dtype, tolerance, key: key(4), cuts: [[3, 8, 9]], laws: [law] });
  });

  it("two states that go on from one place leave each other alone", async () => {
    const model = drt(CONFIG);
    const parameters = model.init(key(5), device, dtype);
    const shared = model.forward(parameters, input(9)).state;
    const one = model.forward(parameters, tokenTensor(device, Array<number>(16).fill(3), [2, 8], 30), shared);
    const other = model.forward(parameters, tokenTensor(device, Array<number>(16).fill(9), [2, 8], 30), shared);
    const again = model.forward(parameters, tokenTensor(device, Array<number>(16).fill(3), [2, 8], 30), shared);
    expect(await deviation(again.hidden, one.hidden)).toBe(0);
    const keys = (state: DrtState) => slice(state.memory.keys, 1, 0, 4);
    expect(await deviation(keys(again.state), keys(one.state))).toBe(0);
    expect(await deviation(keys(other.state), keys(one.state))).toBeGreaterThan(0.01);
  });

  it("many questions from one state copy no memory when each is freed before the next", async () => {
    const model = drt({ ...CONFIG, chunk_size: 2, window: 3 });
    const parameters = model.init(key(5), device, dtype);
    const run = (tokens: number, state?: DrtState) => keep(scope(() => model.forward(parameters, input(tokens), state).state));
    const begun = run(41);
    const shared = run(4, begun); // has outgrown its first room, and has some to spare now
    disposeExcept(begun, shared);
    const first = run(4, shared);
    expect(first.memory.keys).toBe(shared.memory.keys);
    const other = run(4, shared); // the first lives, and stands on the room behind
    expect(other.memory.keys).not.toBe(shared.memory.keys);
    disposeExcept([first, other], shared);
    const next = run(4, shared);
    expect(next.memory.keys).toBe(shared.memory.keys);
    dispose([shared, next, parameters]);
  });

  it("of one row, lengths and landmarks grow where they are, and states further back keep theirs", async () => {
    const model = drt({ ...CONFIG, chunk_size: 2, window: 3 });
    const parameters = model.init(key(5), device, dtype);
    const run = (tokens: number, state?: DrtState) =>
      keep(scope(() => model.forward(parameters, input(tokens, 1), state, { ends: [1] }).state));
    const states = [run(45)];
    for (let i = 0; i < 30; i++) states.push(run(9, states.at(-1)));
    const wanted = [1, ...Array<number>(22).fill(2)];
    for (const { memory } of states) {
      expect([...(await memory.lengths.read())]).toEqual(wanted);
      wanted.push(1, ...Array<number>(4).fill(2));
    }
    expect(new Set(states.map(({ memory }) => memory.lengths.buffer)).size).toBe(device.grow ? 1 : states.length);
    const other = run(9, states[3]!); // those behind live, and stand on the room
    expect(other.memory.lengths.buffer).not.toBe(states[3]!.memory.lengths.buffer);
    expect([...(await other.memory.lengths.read())]).toEqual([...(await states[4]!.memory.lengths.read())]);
    dispose([states, other, parameters]);
  });

  it("holds nothing but its state, and the successor of a state frees what it does not share", async () => {
    const device = await open(name, { fallback: true }); // where nothing is left of other tests
    const input = (total: number) => tokenTensor(device, ids(total), [2, total], 30);
    const model = drt(CONFIG);
    const parameters = model.init(key(5), device, dtype);
    await device.synchronize();
    const before = device.memory().used;
    let state: DrtState | undefined;
    for (let i = 0; i < 12; i++) {
      const next = keep(scope(() => model.forward(parameters, input(7), state).state));
      disposeExcept(state, next);
      state = next;
    }
    dispose(state);
    await device.synchronize();
    expect(device.memory().used).toBe(before);
    dispose(parameters);
    device.close();
  });

  it("refuses a state of another form", () => scope(() => {
    const model = drt(CONFIG);
    const parameters = model.init(key(5), device, dtype);
    const result = model.forward(parameters, input(6));
    expect(() => model.forward(parameters, input(3), result as never)).toThrow(
      expect.objectContaining({ code: "E_ARGUMENT", message: expect.stringContaining("state: windows.0.") as string }));
  }));

  it("predicts tokens alone: the landmark is none", async () => {
    const model = drt(CONFIG);
    const parameters = model.init(key(6), device, dtype);
    expect(parameters["embedding.weight"]!.shape).toEqual([31, 16]);
    expect(model.head(parameters).shape).toEqual([30, 16]);
    const { gradients } = valueAndGradient((p: Parameters) => {
      const { hidden } = model.forward(p, input(3)); // no chunk of 4 has ended: nothing reads a landmark
      return { loss: mean(crossEntropy(hidden, model.head(p), input(3))) };
    }, parameters);
    const rows = await gradients["embedding.weight"]!.read();
    expect(rows.subarray(0, 30 * 16).every((x) => x !== 0)).toBe(true);
    expect(rows.subarray(30 * 16).every((x) => x === 0)).toBe(true);
  });

  it("gives the gradients that float64 gives", async () => {
    const model = drt(CONFIG);
    const gradientsOn = async (on: Device, type: "f32" | "f64") => {
      const parameters = model.init(key(6), on, type);
      const tokens = tokenTensor(on, ids(22), [2, 22], 30);
      const targets = tensor(on, ids(22).map((id) => (id * 5) % 30), [2, 22], "i32");
      const { loss, gradients } = valueAndGradient((p: Parameters) => {
        const { hidden } = model.forward(p, tokens, undefined, { ends: [10], key: key(8) });
        return { loss: mean(crossEntropy(hidden, model.head(p), targets)) };
      }, parameters);
      const read = await Promise.all(leaves(gradients).map(async ({ path, tensor: t }) => [path, await t.read()] as const));
      return { loss: await loss.item(), gradients: read };
    };
    const reference = await open("reference");
    const wanted = await gradientsOn(reference, "f64");
    const actual = await gradientsOn(device, dtype);
    reference.close();
    expect(actual.loss).toBeCloseTo(wanted.loss, 4);
    for (const [i, [path, values]] of wanted.gradients.entries()) {
      const largest = Math.max(...values.map(Math.abs));
      const worst = Math.max(...values.map((value, j) => Math.abs(value - actual.gradients[i]![1][j]!)));
      expect([path, largest]).toEqual([path, expect.toSatisfy((size: number) => size > 0)]);
      expect([path, worst / largest]).toEqual([path, expect.toSatisfy((d: number) => d < 10 * tolerance)]);
    }
  });
});
