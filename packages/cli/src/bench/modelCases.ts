/** Whole training steps of byte-level Mamba-2 models, and streaming evaluation with the state carried over. */
import {
  adamW, adamWMoments, clipFactor, crossEntropy, type Device, dispose, foldIn, globalNorm, hostRandom, keep, key, mean, scope, ssdOperations, type Tensor,
  tokenTensor, valueAndGradient, withoutGradient,
} from "@lenggen/kernels";
import { type Mamba2, mamba2, MAMBA2_PRESETS } from "@lenggen/recurrent";
import type { BenchCase } from "./case";

interface ModelSizes {
  readonly layers: number;
  readonly stateSize: number;
  readonly context: number;
  readonly batch: number;
}

const BYTES = 256;
/** Sequences side by side in the streaming evaluation, and tokens per forward pass of each. */
const STREAMS = 4;
const STREAM_CHUNK = 1024;

function byteModel({ layers, stateSize }: ModelSizes): Mamba2 {
  const base = MAMBA2_PRESETS["tiny-byte"];
  return mamba2({ ...base, n_layer: layers, ssm_cfg: { ...base.ssm_cfg, d_state: stateSize } });
}

/**
 * Operations of one forward pass and of its gradient, for a loss that does not see the final state: matrix products and
 * scans; the rest is counted as nothing. With `fromZero` no state comes in.
 */
function operationsOf(model: Mamba2, batch: number, steps: number, fromZero: boolean): { forward: number; gradient: number } {
  const { layers, heads, headSize, groups, stateSize, tieEmbeddings } = model.settings;
  const weights = Object.entries(model.parameterShapes())
    .filter(([name, shape]) => shape.length === 2 && (tieEmbeddings || !name.includes("embedding")))
    .reduce((sum, [, [rows, columns]]) => sum + rows! * columns!, 0);
  const scan = ssdOperations({ batch, steps, heads, headSize, groups, stateSize, chunk: model.settings.chunk, fromZero, finalUnused: true });
  const products = 2 * weights * batch * steps;
  return { forward: products + layers * scan.forward, gradient: 2 * products + layers * scan.gradient };
}

function randomTokens(device: Device, seed: number, shape: [number, number]): Tensor {
  const draw = hostRandom(foldIn(key(seed), 7));
  // Bytes, whatever the vocabulary: which tokens they are changes no time.
  return tokenTensor(device, Int32Array.from({ length: shape[0] * shape[1] }, () => draw.integer(BYTES)), shape, BYTES);
}

function describe(model: Mamba2): string {
  const { width, layers, stateSize, headSize } = model.settings;
  return `d=${width} layers=${layers} N=${stateSize} P=${headSize}`;
}

/** Forward, gradient, clipping and AdamW; with `passed` from a state that an earlier batch left, as interventions do, else from zero. */
function trainingCase(model: Mamba2, { batch, context }: Pick<ModelSizes, "batch" | "context">, passed: boolean): BenchCase {
  const { forward, gradient } = operationsOf(model, batch, context, !passed);
  return {
    kernel: "training step", shape: `${describe(model)} T=${context} batch=${batch}${passed ? " state passed on" : ""}`, pass: "step",
    operations: forward + gradient, bytes: 0, tokens: batch * context,
    prepare(device, seed) {
      const parameters = keep(model.init(key(seed), device));
      const moments = keep(adamWMoments(parameters));
      const tokens = keep(randomTokens(device, seed, [batch, context]));
      const state = passed ? keep(model.initialState(batch, device)) : undefined;
      let step = 0;
      return {
        body() {
          const { loss, gradients } = valueAndGradient(
            (p: typeof parameters) => ({ loss: mean(crossEntropy(model.forward(p, tokens, state).hidden, model.head(p), tokens)) }),
            parameters,
          );
          const factor = clipFactor(globalNorm(gradients), 1);
          adamW(parameters, gradients, moments, { learningRate: 1e-3, step: ++step, decays: (name) => model.decays(name) }, factor);
          return loss;
        },
        dispose: () => dispose([parameters, moments, tokens, state]),
      };
    },
  };
}

/** No gradients; the state goes from one chunk to the next. */
function streamingCase(sizes: ModelSizes): BenchCase {
  const model = byteModel(sizes);
  const { forward } = operationsOf(model, STREAMS, STREAM_CHUNK, false);
  return {
    kernel: "streaming evaluation", shape: `${describe(model)} T=${STREAM_CHUNK} batch=${STREAMS}`, pass: "forward",
    operations: forward, bytes: 0, tokens: STREAMS * STREAM_CHUNK,
    prepare(device, seed) {
      const parameters = keep(model.init(key(seed), device));
      const tokens = keep(randomTokens(device, seed, [STREAMS, STREAM_CHUNK]));
      let state = keep(model.initialState(STREAMS, device));
      return {
        body() {
          const before = state;
          const { losses, next } = withoutGradient(() =>
            scope(() => {
              const result = model.forward(parameters, tokens, before);
              return { losses: crossEntropy(result.hidden, model.head(parameters), tokens), next: result.state };
            }),
          );
          state = keep(next);
          dispose(before);
          return losses;
        },
        dispose: () => dispose([parameters, tokens, state]),
      };
    },
  };
}

const MODELS: readonly ModelSizes[] = [
  { layers: 3, stateSize: 64, context: 128, batch: 16 },
  { layers: 4, stateSize: 256, context: 64, batch: 32 },
];

export const MODEL_CASES: readonly BenchCase[] = MODELS.flatMap((sizes) => [
  trainingCase(byteModel(sizes), sizes, false),
  trainingCase(byteModel(sizes), sizes, true),
  streamingCase(sizes),
]);

/** A size at which a GPU is busy. */
export const GPU_MODEL_CASES: readonly BenchCase[] = [trainingCase(mamba2(MAMBA2_PRESETS["130m"]), { batch: 4, context: 2048 }, false)];
