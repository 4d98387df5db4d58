/**
 * The models of this package against another implementation of the same equations: golden/models.py, in plain Python and float64, which
 * reads a stream place by place as a whole and takes gradients by complex steps. Its numbers are in golden/models.json.
 */
import {
  concat, crossEntropy, type Device, key, leaves, linear, mean, open, type Parameters, type SequenceModel, slice, type Tensor, tensor,
  tokenTensor, type Tree, valueAndGradient,
} from "@lenggen/kernels";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { deviceCases } from "./devices.fixture";
import { drt } from "./drt/model";
import type { DrtState } from "./drt/state";
import { transformer } from "./transformer/model";

type Nested = number | readonly Nested[];

/** One row of a batch after its tokens. */
interface GoldenState {
  readonly windows: readonly Record<"k" | "v", Nested>[];
  readonly pending: Nested;
  readonly memory: { readonly lengths: readonly number[]; readonly landmarks: Nested; readonly keys: Nested; readonly values: Nested };
  /** By group and chunk: what its landmark picked, best first, as pairs of number and weight. */
  readonly retrieved: readonly (readonly (readonly [number, number])[])[][];
}

interface Golden {
  readonly config: { readonly model_type: string; readonly vocab_size: number; readonly top_k: number };
  readonly ends: readonly number[];
  readonly key: number | null;
  /** [B,T+1]: what is read, and what follows the last. */
  readonly tokens: readonly (readonly number[])[];
  readonly loss: number;
  readonly logits: Nested;
  readonly shapes: Readonly<Record<string, readonly number[]>>;
  readonly gradients: Readonly<Record<string, readonly number[]>>;
  readonly states: readonly GoldenState[];
}

const file = import.meta.glob<Record<string, Golden>>("../golden/models.json", { import: "default" });
const cases = Object.entries(await Object.values(file)[0]!());
const [drts, decoders] = [true, false].map((wanted) => cases.filter(([, { config }]) => (config.model_type === "drt") === wanted));

/** The rule by which a parameter's numbers follow from its name; golden/models.py says it in words. */
function draw(name: string, count: number): number[] {
  return Array.from({ length: count }, (_, i) => {
    let hash = 0x811c9dc5;
    for (const byte of new TextEncoder().encode(`${name} ${i}`)) hash = Math.imul(hash ^ byte, 0x01000193);
    hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
    const u = (hash >>> 12) / 2 ** 20 - 0.5;
    return name.endsWith("norm.weight") ? 1 + u / 2 : 2 * u;
  });
}

const numbers = (nested: Nested) => ([nested] as unknown[]).flat(Infinity) as number[];

describe.each(deviceCases)("golden values on $name", ({ name, dtype }) => {
  const tolerance = dtype === "f64" ? 1e-11 : 5e-5;
  let device: Device;
  beforeAll(async () => {
    device = await open(name, { fallback: true });
  });
  afterAll(() => device.close());

  /** Expects numbers within `tolerance` of the largest one. */
  function near(actual: ArrayLike<number>, wanted: readonly number[], what: string): void {
    expect(actual.length, `${what}: how many numbers`).toBe(wanted.length);
    const largest = wanted.reduce((most, x) => Math.max(most, Math.abs(x)), 1e-30);
    const worst = wanted.reduce((most, x, i) => Math.max(most, Math.abs(x - actual[i]!)), 0);
    expect(worst / largest, `${what}: largest difference, as a share of the largest number`).toBeLessThan(tolerance);
  }

  function given(golden: Golden) {
    const { config: { vocab_size: vocabulary }, shapes, tokens } = golden;
    const part = (from: number, to?: number) =>
      tokenTensor(device, tokens.flatMap((row) => row.slice(from, to)), [tokens.length, tokens[0]!.length - 1], vocabulary);
    const drawn = (of: string, shape: readonly number[]) => tensor(device, draw(of, shape.reduce((a, b) => a * b, 1)), shape, dtype);
    return {
      parameters: Object.fromEntries(Object.entries(shapes).map(([of, shape]) => [of, drawn(of, shape)])) as Parameters,
      inputs: part(0, -1),
      targets: part(1),
      options: { ends: golden.ends, ...(golden.key !== null && { key: key(golden.key) }) },
    };
  }

  /** Logits, loss and the gradient of every parameter; gives the state. */
  async function compare<State extends Tree>(model: SequenceModel<State>, golden: Golden): Promise<State> {
    expect(model.parameterShapes()).toEqual(golden.shapes);
    const { parameters, inputs, targets, options } = given(golden);
    const { loss, gradients } = valueAndGradient((p: Parameters) => {
      const { hidden } = model.forward(p, inputs, undefined, options);
      return { loss: mean(crossEntropy(hidden, model.head(p), targets)) };
    }, parameters);
    near(await loss.read(), [golden.loss], "loss");
    for (const { path, tensor: gradient } of leaves(gradients)) near(await gradient.read(), golden.gradients[path]!, `gradient of ${path}`);
    const { hidden, state } = model.forward(parameters, inputs, undefined, options);
    near(await linear(hidden, model.head(parameters)).read(), numbers(golden.logits), "logits");
    return state;
  }

  async function compareWindows(windows: readonly { readonly k: Tensor; readonly v: Tensor }[], { states }: Golden): Promise<void> {
    for (const [i, { k, v }] of windows.entries()) {
      near(await k.read(), numbers(states.map((state) => state.windows[i]!.k)), `keys of window ${i}`);
      near(await v.read(), numbers(states.map((state) => state.windows[i]!.v)), `values of window ${i}`);
    }
  }

  /** What each group retrieved for the running chunk, which is number `chunk`. */
  async function comparePicks({ retrieved }: DrtState, { states, config: { top_k: k } }: Golden, chunk: number): Promise<void> {
    for (const [group, { indices, weights }] of retrieved.entries()) {
      const picks = states.map((state) => state.retrieved[group]![chunk - 1] ?? []);
      const filled = (part: 0 | 1, nothing: number) =>
        picks.flatMap((row) => Array.from({ length: k }, (_, i) => row[i]?.[part] ?? nothing));
      expect([...(await indices.read())], `chunks that group ${group} retrieves for chunk ${chunk}`).toEqual(filled(0, -1));
      near(await weights.read(), filled(1, 0), `their weights in group ${group} for chunk ${chunk}`);
    }
  }

  it.each(decoders!)("%s", async (_, golden) => {
    const { windows } = await compare(transformer(golden.config), golden);
    await compareWindows(windows, golden);
  });

  it.each(drts!)("DRT, %s", async (_, golden) => {
    const { states } = golden;
    const state = await compare(drt(golden.config), golden);
    await compareWindows(state.windows, golden);
    near(await state.pending.read(), numbers(states.map(({ pending }) => pending)), "hidden states of the running chunk");

    const lengths = states[0]!.memory.lengths;
    const [chunks, { memory }] = [lengths.length, state];
    expect([...(await memory.lengths.read())]).toEqual(states.flatMap((row) => row.memory.lengths));
    near(await slice(memory.landmarks, 1, 0, chunks).read(), numbers(states.map((row) => row.memory.landmarks)), "landmarks");
    for (const part of ["keys", "values"] as const) {
      for (const [chunk, length] of lengths.entries()) {
        const rows = slice(slice(memory[part], 1, chunk, chunk + 1), 2, 0, length);
        near(await rows.read(), numbers(states.map((row) => (row.memory[part] as readonly Nested[])[chunk]!)), `${part} of chunk ${chunk}`);
      }
    }
    await comparePicks(state, golden, chunks);
  });

  // Noise is counted by the chunks of a pass: token by token it would be another.
  it.each(drts!.filter(([, golden]) => golden.key === null))("DRT token by token, %s", async (_, golden) => {
    const model = drt(golden.config);
    const { parameters, inputs } = given(golden);
    const logits: Tensor[] = [];
    let state: DrtState | undefined;
    for (let at = 0; at < inputs.shape[1]!; at++) {
      const ends = golden.ends.filter((end) => end === at + 1).map(() => 1);
      const step = model.forward(parameters, slice(inputs, 1, at, at + 1), state, { ends });
      state = step.state;
      logits.push(linear(step.hidden, model.head(parameters)));
      await comparePicks(state, golden, state.memory.lengths.shape[1]!);
    }
    near(await concat(logits, 1).read(), numbers(golden.logits), "logits");
  });
});
