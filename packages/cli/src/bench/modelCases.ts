/** Whole training steps of byte-level Mamba-2 models, and streaming evaluation with the state carried over. */
import {
  crossEntropy, dispose, foldIn, hostRandom, keep, key, scope, ssdOperations, tokenTensor, withoutGradient,
} from "@lenggen/kernels";
import { adamWOptimizer, crossEntropyLoss, statePassing, type StepContext, trainStep, zero } from "@lenggen/interventions";
import { type Mamba2, mamba2, MAMBA2_PRESETS, type Mamba2State } from "@lenggen/recurrent";
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
function operationsOf(model: Mamba2, batch: number, time: number, fromZero: boolean): { forward: number; gradient: number } {
  const { layers, heads, headSize, groups, stateSize, tieEmbeddings } = model.settings;
  const weights = Object.entries(model.parameterShapes())
    .filter(([name, shape]) => shape.length === 2 && (tieEmbeddings || !name.includes("embedding")))
    .reduce((sum, [, [rows, columns]]) => sum + rows! * columns!, 0);
  const scan = ssdOperations({ batch, time, heads, headSize, groups, stateSize, chunk: model.settings.chunk, fromZero,
    finalUnused: true });
  const products = 2 * weights * batch * time;
  return { forward: products + layers * scan.forward, gradient: 2 * products + layers * scan.gradient };
}

/** Bytes, whatever the vocabulary: which tokens they are changes no time. */
function randomBytes(seed: number, count: number): Int32Array {
  const draw = hostRandom(foldIn(key(seed), 7));
  return Int32Array.from({ length: count }, () => draw.integer(BYTES));
}

function describe(model: Mamba2): string {
  const { width, layers, stateSize, headSize } = model.settings;
  return `d=${width} layers=${layers} N=${stateSize} P=${headSize}`;
}

/** A step of the trainer with its defaults; with `passed` from the state that the step before left, else from zero. */
function trainingCase(
  model: Mamba2, { batch, context }: Pick<ModelSizes, "batch" | "context">, passed: boolean, kernel = "training step",
): BenchCase {
  const { forward, gradient } = operationsOf(model, batch, context, !passed);
  return {
    kernel, shape: `${describe(model)} T=${context} batch=${batch}${passed ? " state passed on" : ""}`, pass: "step",
    operations: forward + gradient, bytes: 0, tokens: batch * context,
    prepare(device, seed) {
      const parameters = keep(model.init(key(seed), device));
      const tokens = randomBytes(seed, batch * context);
      const initialStates = passed ? statePassing.create(model, { resetProbability: 0 }) : zero.create(model);
      const optimizer = adamWOptimizer.create(model);
      optimizer.init(parameters);
      const run: StepContext<Mamba2State> = {
        model, parameters, initialStates, optimizer, loss: crossEntropyLoss.create(model), microBatches: 1, skipsNotFinite: false,
        key: key(seed), batches: { order: "independent", batch, context, settings: {}, at: () => ({ tokens, targets: tokens }) },
      };
      let step = 0;
      return {
        body: () => trainStep(run, step++, 1e-3).numbers,
        dispose() {
          dispose(parameters);
          optimizer.dispose();
          initialStates.dispose();
        },
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
      const tokens = keep(tokenTensor(device, randomBytes(seed, STREAMS * STREAM_CHUNK), [STREAMS, STREAM_CHUNK], BYTES));
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

/** A published size, a minute a step on a processor: timed only where it is asked for. */
export const LARGE_CASES: readonly BenchCase[] = [
  trainingCase(mamba2(MAMBA2_PRESETS["130m"]), { batch: 1, context: 2048 }, false, "large training step"),
];

/** A size at which a GPU is busy. */
export const GPU_MODEL_CASES: readonly BenchCase[] = [trainingCase(mamba2(MAMBA2_PRESETS["130m"]), { batch: 4, context: 2048 }, false)];
