/**
 * How a published checkpoint is measured and trained on. 500 steps, sequences of 2,048 tokens and lengths of up to 256k are the paper's
 * (Buitrago Ruiz & Gu 2025); batch, learning rate and text are not given there, and are ours.
 */
import type { Method } from "@lenggen/evals";
import type { StudySettings } from "../unexploredStates/settings";

/** A preset: everything but what follows from the training length. */
export interface PublishedPreset extends Omit<StudySettings, "lengths" | "trainLength" | "remembrance" | "states" | "compared"> {
  /** Of the models that the paper is about. */
  readonly trainLength: number;
  /** How far the loss is measured, as a multiple of the training length. */
  readonly reach: number;
  readonly compared: readonly Method[];
}

const shared = {
  trainingText: "sotu",
  heldOutText: "moby-dick",
  trainLength: 2048,
  methods: {},
  measuredNoise: true,
  joinDocuments: true,
  recall: { tasks: [], lengths: [], samples: 0 },
  compared: ["state-passing"],
} as const;

export const PUBLISHED_PRESETS: Readonly<Record<string, PublishedPreset>> = {
  /** A few seconds with a tiny model: shows that all parts work together, and nothing else. */
  smoke: {
    ...shared, trial: true, trainLength: 32, reach: 4, sequences: 2, chunk: 64,
    postTraining: { batch: 2, microBatches: 2, steps: 3, learningRate: 1e-4, schedule: "constant", warmup: 0, weightDecay: 0.1 },
  },
  /** A tenth of the steps, to 16 times the training length. */
  quick: {
    ...shared, reach: 16, sequences: 2, chunk: 1024,
    postTraining: { batch: 1, microBatches: 4, steps: 50, learningRate: 1e-4, schedule: "cosine", warmup: 5, weightDecay: 0.1 },
  },
  /** The paper's. */
  full: {
    ...shared, reach: 128, sequences: 4, chunk: 1024,
    postTraining: { batch: 1, microBatches: 16, steps: 500, learningRate: 1e-4, schedule: "cosine", warmup: 20, weightDecay: 0.1 },
  },
};

/** What the user chose in the place of a preset's. */
export interface PublishedChoices {
  readonly text?: string;
  readonly heldOut?: string;
  readonly trainLength?: number;
  readonly methods?: readonly Method[];
}

/** A preset with the user's choices, as a study takes it: lengths are the training length doubled and halved. */
export function publishedSettings(preset: PublishedPreset, choices: PublishedChoices): StudySettings {
  const { reach, compared, ...rest } = preset;
  const { text = rest.trainingText, heldOut = rest.heldOutText, trainLength = rest.trainLength, methods = compared } = choices;
  const lengths: number[] = [];
  for (let length = Math.max(1, Math.floor(trainLength / 4)); length <= trainLength * reach; length *= 2) lengths.push(length);
  return {
    ...rest, trainingText: text, heldOutText: heldOut, trainLength, compared: methods, lengths,
    remembrance: { length: trainLength * Math.min(4, reach), sequences: rest.sequences },
    states: { length: trainLength * Math.min(32, reach), sequences: Math.min(2, rest.sequences) },
  };
}
