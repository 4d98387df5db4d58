import { describe, expect, it } from "vitest";
import { generate, sample } from "./generate";
import type { ForwardOptions, SequenceModel } from "./model";
import { embedding } from "./ops/embedding";
import { key } from "./random";
import { dispose, keep, type Tensor, tensor, zeros } from "./tensor";
import { referenceDevice as device } from "./testing";

const LOGITS = [0, 3, 1, 2]; // by weight: 1, 3, 2, 0

/** How often each index is drawn over an even grid of random numbers. */
function shares(options: { temperature: number; topK?: number; topP?: number }): number[] {
  const counts = [0, 0, 0, 0];
  for (let i = 0; i < 10_000; i++) counts[sample(LOGITS, { ...options, random: i / 10_000 })]!++;
  return counts.map((n) => n / 10_000);
}

describe("sample", () => {
  it("draws from the softmax at temperature 1", () => {
    const weights = LOGITS.map(Math.exp);
    const total = weights.reduce((a, b) => a + b);
    shares({ temperature: 1 }).forEach((share, i) => expect(share).toBeCloseTo(weights[i]! / total, 3));
  });

  it("sharpens below temperature 1 and takes the likeliest at 0", () => {
    expect(shares({ temperature: 0.25 })[1]).toBeGreaterThan(shares({ temperature: 1 })[1]!);
    expect(shares({ temperature: 0 })).toEqual([0, 1, 0, 0]);
  });

  it("keeps the top k only", () => {
    const [a, b, c, d] = shares({ temperature: 1, topK: 2 });
    expect([a, c]).toEqual([0, 0]);
    expect(b! / d!).toBeCloseTo(Math.E, 1);
  });

  it("keeps the smallest set of tokens that reaches top p", () => {
    expect(shares({ temperature: 1, topP: 0.6 })).toEqual([0, 1, 0, 0]); // the likeliest alone has 0.64
    expect(shares({ temperature: 1, topP: 0.7 }).map((s) => s > 0)).toEqual([false, true, false, true]);
  });

  it("refuses logits that are not numbers", () => {
    expect(() => sample([0, Number.NaN], { temperature: 1, random: 0 })).toThrowError(expect.objectContaining({ code: "E_NOT_FINITE" }));
  });
});

/** A state that keeps what it has seen: each pass adds a tensor, and shares the others with the state before. */
type Seen = { readonly seen: readonly Tensor[] };

/** The likeliest next token is the last one. It notes what it is told. */
function echo() {
  const calls: { tokens: number; ends: readonly number[] | undefined }[] = [];
  const model: SequenceModel<Seen> = {
    family: "echo", config: {}, vocabulary: 4, stateLeaves: [],
    parameterShapes: () => ({ e: [4, 4] }),
    decays: () => true,
    init: () => ({ e: tensor(device, [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1], [4, 4]) }),
    initialState: () => ({ seen: [] }),
    forward(parameters, tokens, state, options: ForwardOptions = {}) {
      calls.push({ tokens: tokens.shape[1]!, ends: options.ends });
      return { hidden: embedding(parameters["e"]!, tokens), state: { seen: [...(state?.seen ?? []), zeros(device, [1, 8])] } };
    },
    head: (parameters) => parameters["e"]!,
  };
  return { model, calls };
}

describe("generate", () => {
  async function run(model: SequenceModel<Seen>, options: Parameters<typeof generate<Seen>>[3]): Promise<number[]> {
    const parameters = model.init(key(0), device);
    const made: number[] = [];
    for await (const token of generate(model, parameters, [0, 1, 2, 3, 2], { maxTokens: 2, temperature: 0, ...options })) made.push(token);
    dispose(parameters);
    return made;
  }

  it.each([
    [{}, [[5, [4]]]],
    [{ chunk: 4 }, [[4, undefined], [1, [0]]]],
    [{ chunk: 2, segments: 2 }, [[2, undefined], [2, undefined], [1, [0, 0]]]],
    [{ chunk: 3, segments: 0 }, [[3, undefined], [2, []]]],
  ] as const)("with %j ends the segment before the prompt's last token, and nowhere else", async (options, prompt) => {
    const { model, calls } = echo();
    expect(await run(model, options)).toEqual([2, 2]);
    expect(calls.map(({ tokens, ends }) => [tokens, ends])).toEqual([...prompt, [1, undefined]]);
  });

  it("frees what states do not share, and never the one given", async () => {
    const { model } = echo();
    const state = keep({ seen: [tensor(device, [5])] });
    const before = device.memory().used;
    for (const chunk of [1, 2, 512]) await run(model, { state, chunk });
    expect(device.memory().used).toBe(before);
    expect(await state.seen[0]!.read()).toEqual(Float32Array.of(5));
    dispose(state);
  });

  it("takes a model's own way of going on", async () => {
    const { model, calls } = echo();
    let advanced = 0;
    const slow: SequenceModel<Seen> = {
      ...model,
      async advance(...given) {
        await Promise.resolve();
        advanced++;
        return model.forward(...given);
      },
    };
    expect(await run(slow, { chunk: 2 })).toEqual([2, 2]);
    expect([advanced, calls.length]).toEqual([4, 4]);
  });

  it("reads by prefill what lies far before the prompt's last token", async () => {
    const { model, calls } = echo();
    const far: number[] = [];
    const reading: SequenceModel<Seen> = {
      ...model,
      prefill: {
        recent: 1,
        read: async (_, tokens, state) => {
          far.push(tokens.shape[1]!);
          return keep({ seen: [...(state?.seen ?? []), zeros(device, [1, 8])] });
        },
      },
    };
    const before = device.memory().used;
    expect(await run(reading, { chunk: 2 })).toEqual([2, 2]);
    expect([far, calls.map(({ tokens, ends }) => [tokens, ends])]).toEqual([[2, 1], [[2, [1]], [1, undefined]]]);
    expect(device.memory().used).toBe(before);
  });

  it("tells how much of the prompt it has read, and stops there when asked to", async () => {
    const { model } = echo();
    const before = device.memory().used;
    const read: number[][] = [];
    expect(await run(model, { chunk: 2, onPrompt: (...done) => read.push(done) })).toEqual([2, 2]);
    expect(read).toEqual([[2, 5], [4, 5], [5, 5]]);
    const stop = new AbortController();
    const { model: other, calls } = echo();
    expect(await run(other, { chunk: 2, signal: stop.signal, onPrompt: () => stop.abort() })).toEqual([]);
    expect(calls).toHaveLength(1);
    expect(device.memory().used).toBe(before);
  });

  it("refuses a number of segments that is none", async () => {
    await expect(run(echo().model, { segments: -1 })).rejects.toMatchObject({ code: "E_ARGUMENT", message: expect.stringContaining("segments -1") as string });
  });
});
