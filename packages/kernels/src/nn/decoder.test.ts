/**
 * A decoder from every block there is, shaped as RWKV is: states in mixer and feed-forward part, layer norms, values of the first
 * layer beside the stream.
 */
import { describe, expect, it } from "vitest";
import { checkSequenceModel, SEQUENCE_MODEL_LAWS } from "../laws";
import type { SequenceModel } from "../model";
import { add, mul, sigmoid, square, sub } from "../ops/elementwise";
import { tokenTensor } from "../ops/embedding";
import { linear } from "../ops/matmul";
import { ssd } from "../ops/ssd";
import { reshape } from "../ops/view";
import { key } from "../random";
import { eachDevice, expectClose, expectError, normals, referenceDevice, upload } from "../testing";
import { dispose, scope, type Tensor } from "../tensor";
import { type Block, layerNormBlock, prefixed, rmsNormBlock, type StatePart } from "./block";
import { decoder } from "./decoder";
import { constantInit, elementsInit, normalInit } from "./init";
import { matrix, parameter } from "./parameters";
import { swiGlu, swiGluOfThree } from "./swiGlu";
import { shiftState, shortConvolution, tokenShift } from "./time";

const [WIDTH, HEADS, SIZE] = [8, 2, 4];

/** A scan over shifted and convolved inputs; layers after the first mix their values with its. */
function mixer(first: boolean) {
  const convolution = shortConvolution("conv", { channels: WIDTH, kernel: 3, init: normalInit(0.5), bias: null });
  const parameters = {
    mix: parameter("mix", [WIDTH], { init: elementsInit((_, n) => n / WIDTH) }),
    keys: matrix("keys.weight", [WIDTH, WIDTH], normalInit(0.4)),
    values: matrix("values.weight", [WIDTH, WIDTH], normalInit(0.4)),
    steps: matrix("steps.weight", [HEADS, WIDTH], normalInit(0.4)),
    conv: convolution.parameters,
    out: matrix("out.weight", [WIDTH, WIDTH], normalInit(0.4)),
    borrowed: first ? null : parameter("borrowed", [1], { init: constantInit(0.3) }),
  };
  const state: { scan: StatePart; conv: StatePart; shift: StatePart } = {
    scan: { shape: [HEADS, SIZE, SIZE], kind: "recurrent", headAxis: 1 }, conv: convolution.state, shift: shiftState(WIDTH),
  };
  const block: Block<typeof parameters, typeof state> = {
    parameters,
    state,
    forward(p, u, before, beside) {
      const [batch, time] = u.shape as [number, number, number];
      const { shifted, state: shift } = tokenShift(u, before?.shift);
      const mixed = add(u, mul(sub(shifted, u), p.mix));
      const own = linear(mixed, p.values);
      const values = p.borrowed ? add(own, mul(sub(beside!, own), p.borrowed)) : own;
      const keys = convolution.forward(p.conv, linear(mixed, p.keys), before?.conv, { silu: true });
      const dt = sigmoid(linear(u, p.steps));
      const heads = (x: Tensor) => reshape(x, [batch, time, HEADS, SIZE]);
      const scan = ssd({ x: heads(values), dt, a: sub(sub(dt, dt), dt), b: heads(keys.outputs[0]!), c: heads(u),
        state: before?.scan ?? null });
      const out = linear(reshape(scan.y, [batch, time, WIDTH]), p.out);
      return { out, state: { scan: scan.state, conv: keys.state, shift }, ...(first && { beside: own }) };
    },
  };
  return prefixed("att", block);
}

/** A feed-forward part with a state of its own. */
function channelMix() {
  const parameters = { key: matrix("key.weight", [12, WIDTH], normalInit(0.4)),
    value: matrix("value.weight", [WIDTH, 12], normalInit(0.4)) };
  const block: Block<typeof parameters, { shiftBelow: StatePart }> = {
    parameters,
    state: { shiftBelow: shiftState(WIDTH) },
    forward(p, u, before) {
      const { shifted, state } = tokenShift(u, before?.shiftBelow);
      return { out: linear(square(linear(add(u, shifted), p.key)), p.value), state: { shiftBelow: state } };
    },
  };
  return prefixed("ffn", block);
}

function model(tied: boolean, last: "channelMix" | "swiGlu" | "none" = "channelMix"): SequenceModel {
  const mlp = swiGlu({ in: "mlp.in.weight", out: "mlp.out.weight" },
    { width: WIDTH, intermediateSize: 12, init: { in: normalInit(0.4), out: normalInit(0.4) } });
  const { parameters: _, ...parts } = decoder({
    embedding: matrix("emb.weight", [12, WIDTH], normalInit(1)),
    inputNorm: layerNormBlock("blocks.0.ln0", WIDTH, 1e-5),
    layers: [0, 1].map((i) => ({
      mixer: { norm: layerNormBlock("ln1", WIDTH, 1e-5), block: mixer(i === 0) },
      ...(last === "channelMix" && { feedForward: { norm: rmsNormBlock("ln2", WIDTH, 1e-5), block: channelMix() } }),
      ...(last === "swiGlu" && { feedForward: { block: mlp, norm: rmsNormBlock("ln2", WIDTH, 1e-5) } }),
    })),
    layerNames: "blocks",
    norm: layerNormBlock("ln_out", WIDTH, 1e-5),
    head: tied ? null : matrix("head.weight", [12, WIDTH], normalInit(0.5)),
    vocabulary: 11,
    stateName: "layers",
  });
  return { family: "mixed", config: {}, ...parts };
}

eachDevice("a decoder of all blocks", (device) => {
  it.each(SEQUENCE_MODEL_LAWS)("keeps the law of %s", (law) => checkSequenceModel(model(false), { device, laws: [law] }));
  it("keeps all laws with a tied head, and another feed-forward part or none", async () => {
    await checkSequenceModel(model(true, "swiGlu"), { device });
    await checkSequenceModel(model(true, "none"), { device });
  });
});

describe("a decoder of all blocks", () => {
  it("leaves nothing behind but hidden states and its state", () => {
    const { init, forward } = model(false);
    const parameters = init(key(0), referenceDevice);
    const tokens = tokenTensor(referenceDevice, [1, 2, 3, 4], [1, 4], 11);
    const before = referenceDevice.memory().used;
    const { hidden, state } = forward(parameters, tokens);
    dispose([hidden, state]);
    expect(referenceDevice.memory().used).toBe(before);
    dispose([parameters, tokens]);
  });

  it("has exact gradients, through all states", () => checkSequenceModel(model(false), { device: referenceDevice, dtype: "f64" }));

  it("is described by its parts, in the order in which they were written", () => {
    const { stateLeaves, parameterShapes } = model(true, "swiGlu");
    const own = (i: number) => [`blocks.${i}.ln1.weight`, `blocks.${i}.ln1.bias`,
      ...["mix", "keys.weight", "values.weight", "steps.weight", "conv.weight", "out.weight",
      ...(i === 0 ? [] : ["borrowed"])].map((name) => `blocks.${i}.att.${name}`), `blocks.${i}.mlp.in.weight`, `blocks.${i}.mlp.out.weight`,
      `blocks.${i}.ln2.weight`];
    expect(Object.keys(parameterShapes()))
      .toEqual(["emb.weight", "blocks.0.ln0.weight", "blocks.0.ln0.bias", ...own(0), ...own(1), "ln_out.weight", "ln_out.bias"]);
    expect(stateLeaves.slice(0, 3)).toEqual([
      { path: "layers.0.scan", kind: "recurrent", layer: 0, headAxis: 1 }, { path: "layers.0.conv", kind: "window", layer: 0 },
      { path: "layers.0.shift", kind: "window", layer: 0 },
    ]);
  });

  it("refuses a state of another form, which would otherwise count as none", () => scope(() => {
    const { forward, init } = model(true, "swiGlu");
    const parameters = init(key(0), referenceDevice);
    const tokens = tokenTensor(referenceDevice, [1, 2], [1, 2], 12);
    const result = forward(parameters, tokens);
    const { layers } = result.state as { layers: readonly Record<string, Tensor>[] };
    const { shift: _, ...rest } = layers[1]!;
    expectError(() => forward(parameters, tokens, result as never), "E_ARGUMENT",
      /^state: layers\.0\.scan is missing; give a pass the state that/);
    expectError(() => forward(parameters, tokens, { layers: [layers[0]!, rest] }), "E_ARGUMENT", /^state: layers\.1\.shift is missing/);
    expect(() => forward(parameters, tokens, result.state)).not.toThrow();
  }));

  it("refuses a layer whose parts share a state's name", () => {
    const below = channelMix();
    const clash = { ...below, state: { shift: below.state.shiftBelow } } as unknown as typeof below;
    const norm = rmsNormBlock("n", WIDTH, 1e-5);
    expectError(() => decoder({
      embedding: matrix("emb.weight", [12, WIDTH], normalInit(1)),
      layers: [{ mixer: { norm, block: mixer(true) }, feedForward: { norm: rmsNormBlock("m", WIDTH, 1e-5), block: clash } }],
      layerNames: "blocks", norm, head: null, vocabulary: 12, stateName: "layers",
    }), "E_ARGUMENT", /both have a state called shift/);
  });
});

describe("SwiGLU", () => {
  it("is the same with its matrices in one, in either order, and apart", async () => {
    const sizes = { width: 3, intermediateSize: 2, init: { in: normalInit(1), out: normalInit(1) } };
    const [gate, up] = [normals(1, [2, 3]), normals(2, [2, 3])];
    const stacked = (a: typeof gate, b: typeof gate) => ({ ...a, data: [...a.data, ...b.data], shape: [4, 3] });
    const names = { in: "in", out: "out" };
    const results = scope(() => {
      const put = (t: typeof gate) => upload(referenceDevice, t, true);
      const [u, out] = [put(normals(3, [2, 5, 3])), put(normals(4, [3, 2]))];
      return [
        swiGluOfThree({ gate: "gate", up: "up", out: "out" }, sizes).forward({ gate: put(gate), up: put(up), out }, u).out,
        swiGlu(names, sizes).forward({ in: put(stacked(gate, up)), out }, u).out,
        swiGlu(names, sizes, { gateFirst: false }).forward({ in: put(stacked(up, gate)), out }, u).out,
      ];
    });
    const [apart, ...others] = await Promise.all(results.map((t) => t.read()));
    for (const other of others) expectClose(other, apart!, 1e-12, "SwiGLU");
    for (const t of results) t.dispose();
  });
});
