/** One training step: initial states, forward, loss, gradients, update, final states. Everything is queued, nothing awaited. */
import {
  check, countNonFinite, crossEntropy, type Device, type DType, foldIn, type Key, keep, leaves, mul, type Parameters, scale, scope,
  type SequenceModel, sum, tensor, type Tensor, tokenTensor, type Tree, unlessCounted, valueAndGradient, zipLeaves,
} from "@lenggen/kernels";
import type { Batch, BatchSource } from "./data";
import type { InitialStates, StateRequest } from "./initialStates";
import { type Moments, type OptimizerOptions, update } from "./optimizer";
import { mapState } from "./sources/reset";

export interface StepContext<State extends Tree> {
  readonly model: SequenceModel<State>;
  readonly device: Device;
  readonly dtype: DType;
  readonly parameters: Parameters;
  readonly moments: Moments;
  readonly batches: BatchSource;
  readonly initialStates: InitialStates;
  readonly microBatches: number;
  readonly optimizer: OptimizerOptions;
  /** A step whose loss or gradient is not finite changes nothing, and hands on no state. */
  readonly skipsNotFinite: boolean;
  /** Randomness of the initial states and of the model; the step and micro-batch are folded in. */
  readonly key: Key;
}

export interface StepResult {
  /** Weighted mean over the step's targets, in nats: one number. */
  readonly loss: Tensor;
  /** Before clipping: [1]. */
  readonly gradientNorm: Tensor;
}

/** What the model's own randomness is folded from: a number that no step has, so that it meets none of the initial states'. */
const MODEL_NOISE = 2 ** 32 - 1;

/** Runs step number `step` (from 0) on so many tokens. The caller disposes the result. */
export function trainingStep<State extends Tree>(context: StepContext<State>, step: number, learningRate: number): { result: StepResult; tokens: number } {
  const { model, parameters, moments, batches, microBatches, optimizer, skipsNotFinite } = context;
  const parts = Array.from({ length: microBatches }, (_, microBatch) => batches.at(step, microBatch));
  // One weight for the whole step, so that micro-batches add up to exactly the loss of one large batch.
  const weight = parts.reduce((total, part) => total + weightOf(part), 0);
  // Infinite ones make a loss that is no number: a step that is not finite, which may be skipped.
  check(!Number.isNaN(weight), "E_ARGUMENT", () => `step ${step + 1}: the weights of the batch's targets add up to ${weight}; each must be a finite number`);
  check(weight > 0, "E_ARGUMENT", () => `step ${step + 1}: no target of the batch has a weight above 0`);
  const tokens = parts.reduce((total, part) => total + part.tokens.length, 0);
  const stepped = keep(scope(() => {
    let result: { loss: Tensor; gradients: Parameters } | undefined;
    parts.forEach((part, microBatch) => {
      const next = microBatchGradients(context, part, step, microBatch, weight);
      if (result === undefined) result = next;
      else addInPlace(result, next);
    });
    const { loss, gradients } = result!;
    const gradientNorm = update(model, parameters, gradients, moments, {
      ...optimizer, learningRate, step: step + 1, ...(skipsNotFinite && { unlessFinite: loss }),
    });
    return { loss, gradientNorm };
  }));
  return { result: stepped, tokens };
}

function microBatchGradients<State extends Tree>(
  { model, device, dtype, parameters, batches, initialStates, key, skipsNotFinite }: StepContext<State>,
  part: Batch,
  step: number,
  microBatch: number,
  weight: number,
): { loss: Tensor; gradients: Parameters } {
  const shape = shapeOf(part, batches);
  const own = (from: Key): Key => foldIn(foldIn(from, step), microBatch);
  return scope(() => {
    const request: StateRequest = {
      key: own(key), step, microBatch, batch: shape[0], fresh: part.fresh, device, dtype,
    };
    // Made outside the tape: the gradient stops here.
    const initial = initialStates.next(request) as State | undefined;
    const tokens = tokenTensor(device, part.tokens, shape, model.vocabulary);
    const targets = targetTensor(device, part.targets, shape, model.vocabulary);
    const weights = part.weights === undefined ? undefined : tensor(device, part.weights, shape, dtype);
    const { loss, aux, gradients } = valueAndGradient((p: Parameters) => {
      const { hidden, state } = model.forward(p, tokens, initial, { ends: part.ends, key: own(foldIn(key, MODEL_NOISE)) });
      const losses = crossEntropy(hidden, model.head(p), targets); // [B, T]
      return { loss: scale(sum(weights === undefined ? losses : mul(losses, weights)), 1 / weight), aux: state };
    }, parameters);
    if (skipsNotFinite) observeFinite(initialStates, aux, { loss, gradients }, request);
    else initialStates.observe(aux, request);
    return { loss, gradients };
  });
}

/** Shows the source a final state only where all is finite, else zeros, so that nothing bad is carried on. */
function observeFinite(initialStates: InitialStates, state: Tree, step: { loss: Tensor; gradients: Parameters }, request: StateRequest): void {
  const numbers = leaves([step, state]).map(({ tensor }) => tensor).filter(({ dtype }) => dtype === request.dtype);
  const notFinite = countNonFinite(numbers);
  initialStates.observe(mapState(state, (leaf) => unlessCounted(notFinite, leaf)), { ...request, notFinite });
}

function targetTensor(device: Device, targets: Int32Array, shape: readonly number[], vocabulary: number): Tensor {
  const wrong = targets.find((target) => target >= vocabulary);
  check(wrong === undefined, "E_ARGUMENT", () => `target ${wrong} is outside the vocabulary of ${vocabulary}`);
  return tensor(device, targets, shape, "i32");
}

/** [B, T] of a batch. */
function shapeOf({ tokens, context }: Batch, source: BatchSource): readonly [batch: number, context: number] {
  if (context === undefined) return [source.batch, source.context];
  check(Number.isSafeInteger(context) && context >= 1 && tokens.length > 0 && tokens.length % context === 0, "E_ARGUMENT", () =>
    `a batch of ${tokens.length} tokens says that its sequences have ${context}; they must fill it`);
  return [tokens.length / context, context];
}

/** Sum of the weights of the targets that count. */
function weightOf({ targets, weights }: Batch): number {
  let total = 0;
  for (let i = 0; i < targets.length; i++) if (targets[i]! >= 0) total += weights === undefined ? 1 : weights[i]!;
  return total;
}

function addInPlace(sums: { loss: Tensor; gradients: Parameters }, next: { loss: Tensor; gradients: Parameters }): void {
  for (const { a, b } of zipLeaves(sums, next)) {
    a.device.kernels.accumulate({ out: a, x: b, scale: 1 });
    b.dispose();
  }
}

/** The type that a model's parameters share. */
export function dtypeOf(parameters: Parameters): DType {
  return leaves(parameters)[0]?.tensor.dtype ?? "f32";
}
