/** What a study of a checkpoint will take on this machine: one micro-batch and one pass of evaluation, timed and multiplied. */
import { effectiveRemembrance, stateStatistics } from "@lenggen/evals";
import { adamWOptimizer, crossEntropyLoss, trainStep, zero } from "@lenggen/interventions";
import {
  advance, crossEntropy, type Device, dispose, keep, key, type Parameters, scope, type SequenceModel, tokenTensor, withoutGradient,
} from "@lenggen/kernels";
import type { StudySettings } from "../unexploredStates/settings";

export interface Estimate {
  /** Seconds for the steps of one model that is trained on. */
  readonly training: number;
  /** Seconds to measure one model. */
  readonly measuring: number;
  /** Most bytes that tensors hold at once. */
  readonly bytes: number;
}

/**
 * Times the work on these parameters, which stay as they are. Each is done twice and the second time counts, as the first prepares (memory
 * from the system, shaders). Tokens are all 0: which they are changes no time.
 */
export async function estimate(device: Device, model: SequenceModel, parameters: Parameters, settings: StudySettings): Promise<Estimate> {
  const { trainLength, lengths, sequences, remembrance, states, chunk, postTraining: { batch, microBatches = 1, steps } } = settings;
  const step = await trainingSeconds(device, model, parameters, batch, trainLength);
  const pass = await readingSeconds(device, model, parameters, sequences, chunk);
  const longest = Math.max(...lengths);
  const [remembering, looking] = await momentSeconds(model, parameters, settings);
  // The loss reads each text once and its windows, which overlap by half; Effective Remembrance has some 20 starts, three quarters early.
  const tokens = 3 * sequences * longest + 14 * remembrance.sequences * remembrance.length + states.sequences * states.length;
  return {
    training: steps * microBatches * step,
    measuring: (tokens / (sequences * chunk)) * pass + STARTS * remembering + positionsTo(states.length) * looking,
    bytes: device.memory().peak,
  };
}

/** Starts of Effective Remembrance. */
const STARTS = 20;
/** Positions at which states are looked at: two in each octave. */
const positionsTo = (length: number): number => 2 * Math.log2(length) + 1;

/**
 * Seconds for what measures do beside reading, at each start or position: distributions over all tokens, which take most of the time where
 * a small model has a large vocabulary, and sums over the state.
 */
async function momentSeconds(model: SequenceModel, parameters: Parameters,
  { remembrance, states, chunk }: StudySettings): Promise<[remembering: number, looking: number]> {
  const zeros = (sequences: number, length: number) => Array.from({ length: sequences }, () => new Int32Array(length));
  const [length, t] = [16, 8];
  const both = await secondOf(() =>
    effectiveRemembrance(model, parameters, zeros(remembrance.sequences, length), { length, ts: [t], chunk }));
  return [both / 2, await secondOf(() => stateStatistics(model, parameters, zeros(states.sequences, 1), { length: 1, chunk }))];
}

async function trainingSeconds(device: Device, model: SequenceModel, parameters: Parameters, batch: number, context: number) {
  const tokens = new Int32Array(batch * context);
  const optimizer = adamWOptimizer.create(model, { weightDecay: 0 });
  const initialStates = zero.create(model);
  optimizer.init(parameters);
  try {
    return await secondOf(async () => {
      // A rate of 0 and no decay: an update that changes nothing.
      const { numbers } = trainStep({
        model, parameters, optimizer, initialStates, loss: crossEntropyLoss.create(model), microBatches: 1, skipsNotFinite: false,
        key: key(0), batches: { order: "independent", batch, context, settings: {}, at: () => ({ tokens, targets: tokens }) },
      }, 0, 0);
      await numbers.loss.item();
      dispose(numbers);
      await device.synchronize();
    });
  } finally {
    optimizer.dispose();
    initialStates.dispose();
  }
}

function readingSeconds(device: Device, model: SequenceModel, parameters: Parameters, sequences: number, chunk: number) {
  return secondOf(async () => {
    const tokens = keep(tokenTensor(device, new Int32Array(sequences * chunk), [sequences, chunk], model.vocabulary));
    const after = await advance(model, parameters, tokens);
    const losses = withoutGradient(() => keep(scope(() => crossEntropy(after.hidden, model.head(parameters), tokens))));
    await losses.read();
    dispose([tokens, after, losses]);
  });
}

async function secondOf(work: () => Promise<unknown>): Promise<number> {
  await work();
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}
