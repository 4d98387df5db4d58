/** What the tests of RWKV-6 and RWKV-7 share. */
import {
  dispose, keep, key, leaves, open, scope, type SequenceModel, tensor, type Tensor, type Tree, tokenTensor,
} from "@lenggen/kernels";
import { checkSequenceModel, SEQUENCE_MODEL_LAWS } from "@lenggen/kernels/laws";
import { describe, expect, it } from "vitest";
import { describeOnEachDevice, deviation } from "../golden.fixture";
import { mamba2 } from "../mamba2/model";
import { lossesOfTraining, stirred } from "../training.fixture";

/** A family, and a small model of it with a vocabulary of 30. */
export interface RwkvCase<State extends Tree> {
  readonly label: string;
  /** What a layer's state calls the sum over the past. */
  readonly sum: string;
  readonly config: { readonly vocab_size: number; readonly head_size: number };
  make(config: unknown): SequenceModel<State>;
}

/** Laws, weights as f16, and whether it learns, on each device. */
export function describeOnDevices<State extends Tree>({ label, config, make }: RwkvCase<State>): void {
  describeOnEachDevice(label, (on) => {
    const { dtype } = on;
    it.each(SEQUENCE_MODEL_LAWS)("keeps the law of %s", (law) =>
      checkSequenceModel(stirred(make(config)), { ...on, laws: [law] }));

    it.skipIf(dtype === "f64")("gives nearly the same with its matrices as f16, and those alone", async () => {
      const { device } = on;
      const model = stirred(make(config), 0.1);
      const parameters = keep(scope(() => model.init(key(3), device)));
      const halves: Record<string, Tensor> = {};
      for (const [parameter, t] of Object.entries(parameters)) {
        expect([parameter, model.halves!(parameter)]).toEqual([parameter, model.decays(parameter)]);
        halves[parameter] = tensor(device, await t.read(), t.shape, model.halves!(parameter) ? "f16" : "f32");
      }
      const tokens = tokenTensor(device, Array.from({ length: 20 }, (_, i) => (i * 7) % 30), [1, 20], 30);
      const [full, half] = [parameters, halves].map((p) => scope(() => model.forward(p, tokens).hidden));
      expect(await deviation(half!, await full!.read())).toBeLessThan(1e-2);
      dispose([parameters, halves, tokens, full, half]);
    });

    it.skipIf(dtype === "f64")("learns a text that repeats itself", async () => {
      const losses = await lossesOfTraining(make({ ...config, vocab_size: 13 }), on.device, 40);
      expect(losses[0]).toBeCloseTo(Math.log(13), 0);
      expect(losses.at(-1)).toBeLessThan(0.5 * losses[0]!);
    });
  });
}

/** What a model begins with, to be compared. */
export interface StartingValues {
  /** Each number by its place. */
  every(parameter: string, value: (n: number) => number): Promise<void>;
  /** Uniform within ±bound. */
  uniform(parameter: string, bound: number): Promise<void>;
  /** Orthogonal vectors, `short` of them, of length `gain`. */
  orthogonal(parameter: string, gain: number, short: number): Promise<void>;
}

/** Draws a model's parameters in float64 and hands out what compares them. */
export async function expectStartingValues(
  model: Pick<SequenceModel, "init">, compare: (values: StartingValues) => Promise<void>,
): Promise<void> {
  const device = await open("reference");
  const parameters = scope(() => model.init(key(1), device, "f64"));
  const read = async (parameter: string) => Array.from(await parameters[parameter]!.read());
  await compare({
    async every(parameter, value) {
      for (const [n, x] of (await read(parameter)).entries()) {
        expect([parameter, n, x]).toEqual([parameter, n, expect.closeTo(value(n), 12)]);
      }
    },
    async uniform(parameter, bound) {
      const values = await read(parameter);
      expect(Math.max(...values.map(Math.abs))).toBeLessThanOrEqual(bound);
      const variance = values.reduce((total, x) => total + x * x, 0) / values.length;
      expect(variance / (bound ** 2 / 3)).toBeCloseTo(1, 1);
    },
    async orthogonal(parameter, gain, short) {
      const values = await read(parameter);
      expect(values.reduce((total, x) => total + x * x, 0) / short).toBeCloseTo(gain ** 2, 10);
    },
  });
  for (const { tensor: t } of leaves({ ...parameters })) t.dispose();
  device.close();
}

/** What is decayed, which states there are, and that another family's are refused. */
export function describeParts<State extends Tree>({ label, sum, config, make }: RwkvCase<State>): void {
  describe(`parameters and states of ${label}`, () => {
    it("decay where the authors' do: in matrices called weight", () => {
      const model = make(config);
      for (const [name, shape] of Object.entries(model.parameterShapes())) {
        const is2d = shape.filter((size) => size > 1).length >= 2;
        expect([name, model.decays(name)]).toEqual([name, name.endsWith(".weight") && is2d]);
      }
      expect(model.tokenTables).toEqual(["emb.weight", "head.weight"]);
      expect(model.stateLeaves.slice(0, 3)).toEqual([
        { path: `layers.0.${sum}`, kind: "recurrent", layer: 0, headAxis: 1 },
        { path: "layers.0.attShift", kind: "window", layer: 0 },
        { path: "layers.0.ffnShift", kind: "window", layer: 0 },
      ]);
    });

    it("a state of another family, or of other sizes, is refused", async () => {
      const device = await open("reference");
      const other = mamba2({ d_model: 24, n_layer: 2, vocab_size: 30, ssm_cfg: { layer: "Mamba2", d_state: 8, headdim: 8 } });
      const model = make(config);
      scope(() => {
        const [parameters, tokens] = [model.init(key(1), device), tokenTensor(device, [1, 2, 3], [1, 3], 30)];
        expect(() => model.forward(parameters, tokens, other.initialState(1, device) as never))
          .toThrow(expect.objectContaining({ code: "E_ARGUMENT", message: expect.stringContaining(`layers.0.${sum} is missing`) }));
        const smaller = make({ ...config, head_size: config.head_size / 2 }).initialState(1, device);
        expect(() => model.forward(parameters, tokens, smaller)).toThrow(expect.objectContaining({ code: "E_SHAPE" }));
      });
      device.close();
    });
  });
}
