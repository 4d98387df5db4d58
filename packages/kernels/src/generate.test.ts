import { describe, expect, it } from "vitest";
import { generate } from "./generate";
import type { ForwardOptions, SequenceModel } from "./model";
import { embedding } from "./ops/embedding";
import { concat, slice } from "./ops/view";
import { key } from "./random";
import { dispose, keep, type Tensor, tensor } from "./tensor";
import { zeros } from "./ops/memory";
import { referenceDevice as device } from "./testing";

/** A state that keeps what it has seen: each pass adds a tensor, and shares the others with the state before. */
type Seen = { readonly seen: readonly Tensor[] };

/** The likeliest next token is the last one. It records its options. */
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

  it("ends after a stop token, or after any of several", async () => {
    const { model } = echo();
    // The likeliest next token is one more, 0 after 3.
    const counting: SequenceModel<Seen> = { ...model, forward: ({ e }, tokens, state) => ({
      hidden: embedding(concat([slice(e!, 0, 1, 4), slice(e!, 0, 0, 1)], 0), tokens), state: state ?? { seen: [] },
    }) };
    const ended = (stopToken?: number | readonly number[]) => run(counting, { maxTokens: 6, stopToken });
    expect(await ended()).toEqual([3, 0, 1, 2, 3, 0]);
    expect(await ended(1)).toEqual([3, 0, 1]);
    expect(await ended([2, 0])).toEqual([3, 0]);
    expect(await ended([])).toHaveLength(6);
  });

  it.each([[4], [[1, -1]], [[0.5]], [["a"]]])("refuses %j as stop token", async (stopToken) => {
    await expect(run(echo().model, { stopToken: stopToken as never })).rejects.toMatchObject({
      code: "E_ARGUMENT", message: expect.stringMatching(/stopToken .* is no token of this model; they are 0 \.\.\. 3/) as string,
    });
  });

  it("refuses a number of segments that is none", async () => {
    await expect(run(echo().model, { segments: -1 })).rejects.toMatchObject({ code: "E_ARGUMENT",
      message: expect.stringContaining("segments -1") as string });
  });

  it("refuses a text in the place of token ids", async () => {
    const { model } = echo();
    await expect(generate(model, model.init(key(0), device), "text" as never).next()).rejects.toMatchObject({
      code: "E_ARGUMENT", message: expect.stringContaining("the prompt is a string; give token ids") as string,
    });
  });
});
