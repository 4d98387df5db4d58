/** What a study of a checkpoint will take on this machine: one micro-batch and one pass of evaluation, timed and multiplied. */
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
  // The loss reads each text once and its windows, which overlap by half; Effective Remembrance has some 20 starts, three quarters early.
  const tokens = 3 * sequences * longest + 14 * remembrance.sequences * remembrance.length + states.sequences * states.length;
  return {
    training: steps * microBatches * step,
    measuring: (tokens / (sequences * chunk)) * pass,
    bytes: device.memory().peak,
  };
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

async function secondOf(work: () => Promise<void>): Promise<number> {
  await work();
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}
