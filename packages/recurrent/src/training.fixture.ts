/** What the tests of several families share: models that begin with noise, and a short training. */
import {
  add, adamW, adamWMoments, crossEntropy, type Device, dispose, foldIn, keep, key, mean, normal, type Parameters, scope,
  type SequenceModel, type Tree, tokenTensor, valueAndGradient,
} from "@lenggen/kernels";

/** The model with noise on all that it starts with: output matrices begin as zeros, behind which no law says anything. */
export function stirred<M extends Pick<SequenceModel, "init">>(model: M, std = 0.3): M {
  const init: SequenceModel["init"] = (from, device, dtype) => Object.fromEntries(
    Object.entries(model.init(from, device, dtype)).map(([name, t], i) =>
      [name, add(t, normal(foldIn(from, 10_000 + i), device, t.shape, { std, dtype: dtype === "f64" ? "f64" : "f32" }))]));
  return { ...model, init };
}

/** The losses of a few steps of AdamW on one text of 64 tokens that repeats itself. */
export async function lossesOfTraining<State extends Tree>(model: SequenceModel<State>, device: Device, steps: number): Promise<number[]> {
  const [parameters, moments] = keep(scope(() => {
    const fresh = model.init(key(1), device);
    return [fresh, adamWMoments({ ...fresh })] as const;
  }));
  const text = Array.from({ length: 65 }, (_, i) => (i * i) % 13);
  const losses: number[] = [];
  for (let step = 1; step <= steps; step++) {
    const loss = keep(scope(() => {
      const [inputs, targets] = [text.slice(0, 64), text.slice(1)].map((ids) => tokenTensor(device, ids, [1, 64], 13));
      const { loss: value, gradients } = valueAndGradient((p: Parameters) =>
        ({ loss: mean(crossEntropy(model.forward(p, inputs!).hidden, model.head(p), targets!)) }), parameters);
      adamW({ ...parameters }, gradients, moments, { learningRate: 5e-3, step, decays: (name) => model.decays(name) });
      return value;
    }));
    losses.push(await loss.item());
    loss.dispose();
  }
  dispose([parameters, moments]);
  return losses;
}
