/** One training step: initial states, forward, loss, gradients, update, final states. Everything is queued, nothing awaited. */
import {
  addInto, type Batch, type BatchSource, check, countNonFinite, type Device, deviceOf, type DType, foldIn, globalNorm, type Key, keep,
  leaves, type Parameters, scope,
  type SequenceModel, tensor, type Tensor, tokenTensor, type Tree, unlessCounted, valueAndGradient, zipLeaves,
} from "@lenggen/kernels";
import type { InitialStates, StateRequest } from "./initialStates";
import type { Loss, LossBatch } from "./loss";
import type { Optimizer } from "./optimizer";
import { mapState } from "./sources/reset";

/** What the steps of a run share. */
export interface StepContext<State extends Tree> {
  readonly model: SequenceModel<State>;
  /** Updated in place. */
  readonly parameters: Parameters;
  readonly batches: BatchSource;
  readonly initialStates: InitialStates;
  readonly loss: Loss;
  /** Its memory is for these parameters: `init` or `restore` was called. */
  readonly optimizer: Optimizer;
  /** Micro-batches per step; their gradients add up. */
  readonly microBatches: number;
  /** A step whose loss or gradient is not finite changes nothing, and hands on no state. */
  readonly skipsNotFinite: boolean;
  /** Randomness of the initial states and of the model; the step and micro-batch are folded in. */
  readonly key: Key;
}

/** The numbers of a step, still on the device. */
export interface StepNumbers {
  /** What was minimised, over the whole step: one number. Of cross-entropy, the weighted mean over the step's targets, in nats. */
  readonly loss: Tensor;
  /** Before clipping: [1]. */
  readonly gradientNorm: Tensor;
  /** What the loss is the sum of, by name, where it says so. */
  readonly terms: Readonly<Record<string, Tensor>>;
}

/** A step that has been queued. */
export interface StepResult {
  /** The caller's, to dispose. */
  readonly numbers: StepNumbers;
  /** That it trained on. */
  readonly tokens: number;
}

/** What adds up over the micro-batches of a step. */
interface Sums {
  readonly loss: Tensor;
  readonly terms: Readonly<Record<string, Tensor>>;
  readonly gradients: Parameters;
}

/** What the model's own randomness is folded from: a number that no step has, so that it meets none of the initial states'. */
const MODEL_NOISE = 2 ** 32 - 1;

/**
 * Queues step number `step` (from 0): the batch's loss from the initial states that the source gives, its gradients, and the update. The
 * source sees the final states. Throws `E_ARGUMENT` for a batch that does not fit the model, or in which no target counts.
 */
export function trainStep<State extends Tree>(context: StepContext<State>, step: number, learningRate: number): StepResult {
  const { parameters, batches, microBatches, optimizer, skipsNotFinite } = context;
  const parts = Array.from({ length: microBatches }, (_, microBatch) => batches.at(step, microBatch));
  // One weight for the whole step, so that micro-batches add up to exactly the loss of one large batch.
  const weight = parts.reduce((total, part) => total + weightOf(part), 0);
  // Infinite ones make a loss that is no number: a step that is not finite, which may be skipped.
  check(!Number.isNaN(weight), "E_ARGUMENT", () =>
    `step ${step + 1}: the weights of the batch's targets add up to ${weight}; each must be a finite number`);
  check(weight > 0, "E_ARGUMENT", () => `step ${step + 1}: no target of the batch has a weight above 0`);
  const sequences = parts.reduce((total, part) => total + shapeOf(part, batches)[0], 0);
  const tokens = parts.reduce((total, part) => total + part.tokens.length, 0);
  const numbers = keep(scope(() => {
    let sums: Sums | undefined;
    parts.forEach((part, microBatch) => {
      const next = microBatchGradients(context, part, step, microBatch, { weight, sequences });
      if (sums === undefined) sums = next;
      else addUp(sums, next);
    });
    const { loss, terms, gradients } = sums!;
    const gradientNorm = globalNorm(gradients);
    const skip = skipsNotFinite ? countNonFinite([loss, gradientNorm]) : undefined;
    optimizer.update(parameters, gradients, { step: step + 1, learningRate, gradientNorm, skip });
    return { loss, gradientNorm, terms };
  }));
  return { numbers, tokens };
}

function microBatchGradients<State extends Tree>(
  { model, parameters, batches, initialStates, loss: minimised, key, skipsNotFinite }: StepContext<State>,
  part: Batch,
  step: number,
  microBatch: number,
  whole: LossBatch["whole"],
): Sums {
  const shape = shapeOf(part, batches);
  const [device, dtype] = [deviceOf(parameters), dtypeOf(parameters)];
  const own = (from: Key): Key => foldIn(foldIn(from, step), microBatch);
  return scope(() => {
    const request: StateRequest = {
      key: own(key), step, microBatch, batch: shape[0], fresh: part.fresh, device, dtype,
    };
    // Made outside the tape: the gradient stops here.
    const initial = initialStates.next(request) as State | undefined;
    const batch: LossBatch = {
      tokens: tokenTensor(device, part.tokens, shape, model.vocabulary),
      targets: targetTensor(device, part.targets, shape, model.vocabulary),
      weights: part.weights === undefined ? undefined : tensor(device, part.weights, shape, dtype),
      forward: { ends: part.ends, key: own(foldIn(key, MODEL_NOISE)) },
      whole,
    };
    const { loss, aux: { state, terms }, gradients } = valueAndGradient((p: Parameters) => {
      const { loss: value, state: final, terms: summands = {} } = minimised.evaluate(model, p, batch, initial);
      return { loss: value, aux: { state: final, terms: summands } };
    }, parameters);
    if (skipsNotFinite) observeFinite(initialStates, state, { loss, gradients }, request);
    else initialStates.observe(state, request);
    return { loss, terms, gradients };
  });
}

/** Shows the source a final state only where all is finite, else zeros, so that nothing bad is carried on. */
function observeFinite(
  initialStates: InitialStates, state: Tree, step: { loss: Tensor; gradients: Parameters }, request: StateRequest,
): void {
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

function addUp(sums: Sums, next: Sums): void {
  // A loss may name itself as its only term.
  const pairs = new Map(zipLeaves(sums, next).map(({ a, b }) => [a, b]));
  for (const [a, b] of pairs) {
    addInto(a, b);
    b.dispose();
  }
}

/** The type that a model's parameters share. */
function dtypeOf(parameters: Parameters): DType {
  return leaves(parameters)[0]?.tensor.dtype ?? "f32";
}
