/**
 * Ids at or above the vocabulary do not exist. A model of 250 tokens whose matrices have 256 rows, of which the last six are
 * the likeliest, says and learns what the same model without those rows does: everywhere, on every device.
 */
import { effectiveRemembrance, lossByPosition, type Task, taskAccuracy, TASKS } from "@lenggen/evals";
import { adamWOptimizer, createIntervention, independentWindows, train } from "@lenggen/interventions";
import { concat, type Device, devices, dispose, generate, keep, key, leaves, mapTree, open, type Parameters, scope,
  slice } from "@lenggen/kernels";
import { type Mamba2, mamba2 } from "@lenggen/recurrent";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const [VOCABULARY, PADDED, WIDTH] = [250, 256, 16] as const;
const SIZES = { d_model: WIDTH, n_layer: 1, ssm_cfg: { layer: "Mamba2", d_state: 8, headdim: 8 } } as const;
const PADDING = mamba2({ ...SIZES, vocab_size: VOCABULARY, pad_vocab_size_multiple: 16 });
const EXACT = mamba2({ ...SIZES, vocab_size: VOCABULARY, pad_vocab_size_multiple: 1 });
const EMBEDDING = "backbone.embedding.weight";

const text = new TextEncoder().encode("It was the best of times, it was the worst of times; it was the age of wisdom. ".repeat(40));
const listings = await devices({ fallback: true });
for (const { name, available, reason } of listings) if (!available)
  console.warn(`tests of padding on device ${name} do not run: ${reason}`);

describe.each(listings.filter(({ available }) => available).map(({ name }) => name))("a padded vocabulary on %s", (name) => {
  let device: Device;
  let padded: Parameters;
  let exact: Parameters;
  beforeAll(async () => {
    device = await open(name, { fallback: true });
    padded = keep(PADDING.init(key(1), device));
    // Two rows for each of three places in the hidden states, of either sign: one of them has a logit of about 100, where tokens have 0.1.
    const rows = await padded[EMBEDDING]!.read();
    for (let v = VOCABULARY; v < PADDED; v++) rows[v * WIDTH + Math.floor((v - VOCABULARY) / 2)] = v % 2 === 0 ? 100 : -100;
    padded[EMBEDDING]!.write(rows);
    exact = { ...padded, [EMBEDDING]: keep(scope(() => slice(padded[EMBEDDING]!, 0, 0, VOCABULARY))) };
  });
  afterAll(() => device.close());

  /** What a measure says of both models. */
  async function both<R>(measure: (model: Mamba2, parameters: Parameters) => Promise<R>): Promise<[R, R]> {
    return [await measure(PADDING, padded), await measure(EXACT, exact)];
  }

  it("changes no loss and no perplexity by position", async () => {
    const [with6, without] = await both((model, parameters) =>
      lossByPosition(model, parameters, [text.subarray(0, 301), text.subarray(400, 701)], { trainLength: 64, lengths: [300], chunk: 100 }));
    expect(with6).toEqual(without);
    expect(with6.lengths[0]!.bitsPerByte).toBeLessThan(9); // about log2 of 250
  });

  it("changes no Effective Remembrance", async () => {
    const [with6, without] = await both((model, parameters) =>
      effectiveRemembrance(model, parameters, [text.subarray(0, 200)], { length: 100, ts: [1, 20, 80] }));
    expect(with6).toEqual(without);
    expect(with6.points[0]!.distance).toBeGreaterThan(0);
  });

  it("changes no answer, and none holds an id that does not exist", async () => {
    const given: number[] = [];
    const noting: Task = { ...TASKS.recall, score(sample, generated) {
      given.push(...Array.from(generated));
      return TASKS.recall.score(sample, generated);
    } };
    const [with6, without] = await both((model, parameters) =>
      taskAccuracy(model, parameters, noting, { key: key(2), lengths: [40], samples: 8, text }));
    expect(with6).toEqual(without);
    expect(Math.max(...given)).toBeLessThan(VOCABULARY);
    expect(given.slice(0, given.length / 2)).toEqual(given.slice(given.length / 2));
  });

  it("changes nothing that is generated", async () => {
    const [with6, without] = await both(async (model, parameters) => {
      const made: number[] = [];
      for await (const token of generate(model, parameters, text.subarray(0, 30), { maxTokens: 20, seed: 3 })) made.push(token);
      return made;
    });
    expect(with6).toEqual(without);
  });

  it("changes no training: neither loss nor gradient nor what is learnt", async () => {
    const [weightDecay, learningRate, steps] = [0.1, 1e-2, 3];
    const trained = async (model: Mamba2, initial: Parameters) => {
      const numbers: number[] = [];
      const { parameters } = await train({
        model, device, steps, seed: 5, batches: independentWindows(text, { batch: 2, context: 32, key: key(6) }),
        parameters: async () => keep(scope(() => mapTree(initial, (t) => concat([t], 0)))), // copies: they are trained in place
        initialStates: createIntervention("zero", model), optimizer: adamWOptimizer.create(model, { weightDecay }),
        schedule: { learningRate, warmup: 0, finalShare: 1 },
        onEvent: (event) => { if (event.kind === "step") numbers.push(event.loss, event.gradientNorm); },
      });
      const learnt = await Promise.all(leaves(parameters).map(async ({ path, tensor: t }) => [path, await t.read()] as const));
      dispose(parameters);
      return { numbers, learnt: new Map(learnt) };
    };
    const [with6, without] = await both(trained);
    expect(with6.numbers).toHaveLength(2 * steps);
    expect(with6.numbers).toEqual(without.numbers.map((value) => expect.closeTo(value, 5) as number));
    for (const [path, values] of without.learnt) {
      const off = with6.learnt.get(path)!.subarray(0, values.length).map((value, i) => Math.abs(value - values[i]!));
      expect([path, Math.max(...off)]).toEqual([path, expect.toSatisfy((worst: number) => worst < 1e-5)]);
    }
    // No gradient reaches the padding, only weight decay.
    const before = await padded[EMBEDDING]!.read();
    for (let i = VOCABULARY * WIDTH; i < before.length; i++) {
      expect(with6.learnt.get(EMBEDDING)![i]! / before[i]!).toBeCloseTo((1 - learningRate * weightDecay) ** steps, 5);
    }
  });
});
