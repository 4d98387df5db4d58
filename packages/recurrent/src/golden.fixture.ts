/**
 * What the tests of models on every device share: the devices, and whole models with golden values (data/goldens of the project's shared
 * data, whose README says what they were computed with). The values lie beside the repository, being too large for it; where they are
 * missing, their tests are skipped with the reason.
 */
/// <reference types="vite/types/importMeta.d.ts" />
import {
  crossEntropy, type Device, type DeviceKind, devices, type DType, leaves, linear, type LoadedModel, mean, memorySource, open,
  openSafetensors, type Parameters, type Safetensors, tensor, type Tensor, tokenTensor, valueAndGradient,
} from "@lenggen/kernels";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const listings = await devices({ fallback: true });
for (const { name, available, reason } of listings) if (!available) console.warn(`tests on device ${name} do not run: ${reason}`);

/** The devices of this machine, with the widest type of each and the deviation that it may show. */
export const deviceCases: readonly { name: DeviceKind; dtype: DType; tolerance: number }[] =
  listings.filter(({ available }) => available).map(({ name }) =>
    (name === "reference" ? { name, dtype: "f64", tolerance: 1e-9 } : { name, dtype: "f32", tolerance: 1e-4 }));

/** Options of `checkSequenceModel` on a device, which is open while tests run. */
export interface OnDevice {
  readonly device: Device;
  readonly name: DeviceKind;
  readonly dtype: DType;
  readonly tolerance: number;
  /** Around the borders of a scan's chunks; fewer where every launch is slow. */
  readonly cuts: readonly (readonly number[])[];
}

/** A block of tests for each device. What it is given has no `device` before a test runs. */
export function describeOnEachDevice(label: string, tests: (on: OnDevice) => void): void {
  describe.each(deviceCases)(`${label} on $name`, (given) => {
    let device: Device;
    beforeAll(async () => {
      device = await open(given.name, { fallback: true });
    });
    afterAll(() => device.close());

    const cuts = given.name === "webgpu" ? [[1, 2, 31, 33], Array<number>(6).fill(1)]
      : [[1, 2, 3, 15, 16, 33], [64, 1, 66], Array<number>(40).fill(1)];
    tests({
      ...given, cuts,
      get device() {
        return device;
      },
    });
  });
}

/** Largest deviation, as a share of the largest number that is expected. */
export async function deviation(actual: Tensor, expected: ArrayLike<number>): Promise<number> {
  const values = await actual.read();
  expect(values.length).toBe(expected.length);
  let [scale, worst] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    scale = Math.max(scale, Math.abs(expected[i]!));
    worst = Math.max(worst, Math.abs(values[i]! - expected[i]!));
  }
  return worst / (scale || 1);
}

/** The golden values of one part of a state: their name behind `state.<layer>.`, and how they become what the model has. */
export interface GoldenState {
  readonly name: string;
  readonly as?: (values: ArrayLike<number>, shape: readonly number[]) => ArrayLike<number>;
}

/** A convolution's inputs [B, channels, K] of which the model keeps the last K - 1, time first. */
export function lastInputs(values: ArrayLike<number>, [batch, channels, kernel]: readonly number[]): number[] {
  return Array.from({ length: batch! * (kernel! - 1) * channels! }, (_, i) => {
    const [c, t, b] = [i % channels!, Math.floor(i / channels!) % (kernel! - 1), Math.floor(i / (channels! * (kernel! - 1)))];
    return values[(b * channels! + c) * kernel! + t + 1]!;
  });
}

/** How a family loads a golden model, and what its states are called. */
export interface GoldenModelOptions {
  load(config: object, weights: Safetensors, device: Device, dtype: DType): Promise<LoadedModel>;
  /** By the name of a part of a layer's state; none where there are no golden ones. */
  readonly states?: Readonly<Record<string, GoldenState>>;
  /** How far the golden values may be off themselves, where the other implementation rounds numbers on the way; 0 unless given. */
  readonly rounded?: number;
  /** The list of the layers' states in the model's; `layers` unless given. */
  readonly stateName?: string;
}

// As data URLs, which Node and browsers can read.
const FILES = import.meta.glob<string>("../../../../shared/data/goldens/*-tiny/*", { query: "?url&inline", import: "default" });

/** Opens a file of a golden model. */
async function fileOf(path: string): Promise<Uint8Array> {
  return new Uint8Array(await (await fetch(await FILES[path]!())).arrayBuffer());
}

/** Tests of a family against one golden model on every device: logits, states, loss, and the gradient of every parameter. */
export function describeGolden(folder: string, { load, states = {}, rounded = 0, stateName = "layers" }: GoldenModelOptions): void {
  const prefix = `../../../../shared/data/goldens/${folder}`;
  const missing = !Object.hasOwn(FILES, `${prefix}/expected.safetensors`);
  if (missing) console.warn(`tests against golden values do not run: the shared data (data/goldens) does not lie beside the repository`);

  describe.skipIf(missing).each(deviceCases)(`golden values of ${folder} on $name ($dtype)`, ({ name, dtype, tolerance }) => {
    let device: Device;
    let reference: Device;
    let model: LoadedModel["model"];
    let parameters: Parameters;
    let expected: Safetensors;
    const read = async (tensorName: string) =>
      (await expected.load(tensorName, reference, tensorName === "tokens" ? "i32" : "f64")).read();

    let config: object;
    const opened = async (file: string) => openSafetensors(memorySource(await fileOf(`${prefix}/${file}`), file));

    beforeAll(async () => {
      [device, reference] = [await open(name, { fallback: true }), await open("reference")];
      config = JSON.parse(new TextDecoder().decode(await fileOf(`${prefix}/config.json`))) as object;
      ({ model, parameters } = await load(config, await opened("model.safetensors"), device, dtype));
      expected = await opened("expected.safetensors");
    });
    afterAll(() => {
      device.close();
      reference.close();
    });

    /** The tokens [B,T+1] as what is read and what is predicted, [B,T] each. */
    async function tokens() {
      const ids = await read("tokens");
      const [rows, length] = expected.tensors["tokens"]!.shape as [number, number];
      const cut = (from: number, to: number) =>
        Array.from({ length: rows }, (_, row) => [...ids.subarray(row * length + from, row * length + to)]).flat();
      return {
        inputs: tokenTensor(device, cut(0, length - 1), [rows, length - 1], model.vocabulary),
        targets: tensor(device, cut(1, length), [rows, length - 1], "i32"),
      };
    }
    const limit = Math.max(tolerance, rounded);
    const expectWithin = (name: string, off: number) =>
      expect([name, off]).toEqual([name, expect.toSatisfy((d: number) => d < limit, `below ${limit}`)]);

    it("gives the logits and states", async () => {
      const { inputs } = await tokens();
      const { hidden, state } = model.forward(parameters, inputs);
      expectWithin("logits", await deviation(linear(hidden, model.head(parameters)), await read("logits")));
      const found = new Map(leaves(state).map(({ path, tensor }) => [path, tensor]));
      const parts = Object.entries(states);
      const layers = parts.length === 0 ? 0 : found.size / parts.length;
      expect(Number.isInteger(layers)).toBe(true);
      for (let layer = 0; layer < layers; layer++) {
        for (const [part, { name, as }] of parts) {
          const golden = `state.${layer}.${name}`;
          const values = await read(golden);
          expectWithin(golden, await deviation(found.get(`${stateName}.${layer}.${part}`)!,
            as ? as(values, expected.tensors[golden]!.shape) : values));
        }
      }
    });

    it("gives the loss and the gradient of every parameter", async () => {
      const { inputs, targets } = await tokens();
      const { loss, gradients } = valueAndGradient((p: Parameters) =>
        ({ loss: mean(crossEntropy(model.forward(p, inputs).hidden, model.head(p), targets)) }), parameters);
      expectWithin("loss", await deviation(loss, await read("loss")));
      for (const { path, tensor: gradient } of leaves(gradients)) expectWithin(path, await deviation(gradient, await read(`grad.${path}`)));
    });

    it.skipIf(name === "reference")("computes with its matrices as f16 what it computes with their rounded values", async () => {
      const half = await load(config, await opened("model.safetensors"), device, "f16");
      const { inputs } = await tokens();
      const logitsOf = (given: Parameters) => linear(model.forward(given, inputs).hidden, model.head(given));
      const rounded: Record<string, Tensor> = {};
      for (const [path, matrix] of Object.entries(half.parameters)) {
        expect([path, matrix.dtype]).toEqual([path, model.halves?.(path) ?? true ? "f16" : "f32"]);
        rounded[path] = tensor(device, await matrix.read(), matrix.shape, "f32");
      }
      const logits = await logitsOf(half.parameters).read();
      expect(await deviation(logitsOf(rounded), logits)).toBeLessThan(tolerance);
      expect(await deviation(logitsOf(parameters), logits)).toBeGreaterThan(tolerance); // so they are rounded
    });
  });
}
