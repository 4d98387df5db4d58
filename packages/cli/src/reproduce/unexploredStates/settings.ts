/**
 * The settings of "unexplored states", all in one place. Nothing here is a result: what the runs show is measured
 * when they run.
 */
import type { Method } from "@lenggen/evals";
import type { JsonRecord } from "@lenggen/interventions";
import type { SequenceModel } from "@lenggen/kernels";
import { MAMBA2_PRESETS } from "@lenggen/recurrent";

/** What `config.json` of a model holds. */
export type ModelConfig = SequenceModel["config"];

export interface TrainingSettings {
  /** Sequences per batch. */
  readonly batch: number;
  /** Batches whose gradients add up to a step's; 1 unless given. */
  readonly microBatches?: number;
  readonly steps: number;
  readonly learningRate: number;
  readonly schedule: "constant" | "cosine";
  readonly warmup: number;
  readonly weightDecay: number;
}

/** Models of their own that learn to recall a planted key; see recall.ts. */
export interface RecallTraining {
  readonly model: ModelConfig;
  /** Bytes per training sequence. */
  readonly trainLength: number;
  readonly base: TrainingSettings;
  readonly postTraining: TrainingSettings;
  readonly methods: Readonly<Partial<Record<Method, JsonRecord>>>;
  /** Lengths of the prompts to ask at, and samples at each. */
  readonly lengths: readonly number[];
  readonly samples: number;
}

/** How models other than the one that the settings were searched for are trained. */
export interface OtherModels {
  readonly base: TrainingSettings;
  readonly postTraining: TrainingSettings;
  /** Whether they learn recall too, which takes as long again as all the rest. */
  readonly recall: boolean;
}

/** What is measured of a base model and of those trained on from it, and how they are. */
export interface StudySettings {
  /** Whether it shows no more than that all parts work. */
  readonly trial?: true;
  readonly trainingText: string;
  readonly heldOutText: string;
  /** Tokens per training sequence. */
  readonly trainLength: number;
  /** The control and all interventions. */
  readonly postTraining: TrainingSettings;
  /** Which models there are beside the base; all unless given. */
  readonly compared?: readonly Method[];
  /** Options of the interventions; the documented defaults where one is absent. */
  readonly methods: Readonly<Partial<Record<Method, JsonRecord>>>;
  /** Random noise has the spread that the base model's own states have after a training sequence. */
  readonly measuredNoise?: boolean;
  /** Whether the streams of tbtt run on over the ends of documents. */
  readonly joinDocuments: boolean;
  /** Lengths to evaluate the loss at. */
  readonly lengths: readonly number[];
  /** Held-out sequences for the loss. */
  readonly sequences: number;
  /** T of Effective Remembrance, and sequences for it. */
  readonly remembrance: { readonly length: number; readonly sequences: number };
  /** How far state statistics go, and sequences for them. */
  readonly states: { readonly length: number; readonly sequences: number };
  /** Recall by models of their own; left out where absent. */
  readonly recallTraining?: RecallTraining;
  /** Recall tasks on the same models, which never saw such a task. */
  readonly recall: { readonly tasks: readonly string[]; readonly lengths: readonly number[]; readonly samples: number };
  /** Tokens per forward pass of the evaluations. */
  readonly chunk: number;
}

/** The same from a model that is trained here. */
export interface ReproductionSettings extends StudySettings {
  readonly model: ModelConfig;
  readonly base: TrainingSettings;
  /** What holds for a model that the user names. */
  readonly others: OtherModels;
}

const shared = {
  model: MAMBA2_PRESETS["tiny-byte"],
  trainingText: "sotu",
  heldOutText: "moby-dick",
  trainLength: 256,
  chunk: 1024,
} as const;

/**
 * How the models of `full` are trained; found by the search in results/collapse-search.md. A state that is passed on grows
 * older with each step, and the models must meet old states to learn to live with them. So passed states are seldom reset: after 100
 * batches of 256 bytes on average (67 for tbtt), where the default of state passing is after 10; and the streams of tbtt run on from
 * speech to speech.
 */
const trained = {
  base: { batch: 8, steps: 4000, learningRate: 3e-3, schedule: "cosine", warmup: 50, weightDecay: 0.1 },
  postTraining: { batch: 16, steps: 300, learningRate: 3e-4, schedule: "cosine", warmup: 10, weightDecay: 0.1 },
  methods: {
    "state-passing": { resetProbability: 0.01 },
    tbtt: { resetProbability: 0.015 },
    // About the spread of the base model's own states after a training sequence; 1, the default, is ten times that.
    "random-noise": { std: 0.1 },
  },
  joinDocuments: true,
} as const;

/** Larger models than that of `quick`, and slower ones: with half of its bytes, which show the same. */
const othersQuickly: OtherModels = {
  base: { ...trained.base, steps: 1500 },
  postTraining: { ...trained.postTraining, batch: 8 },
  recall: false,
};

/**
 * `quick`: a smaller model that collapses the more, so that its first figure stands soon after a clone.
 * Everything else is as in `full`.
 */
const trainedQuickly = {
  ...trained,
  model: { ...MAMBA2_PRESETS["tiny-byte"], d_model: 96, n_layer: 3 },
  base: { ...trained.base, steps: 2500 },
} as const;

/** Small enough to learn recall within 1,000 steps; it is lost beyond a few times the training length. */
const recallTraining = {
  model: { ...MAMBA2_PRESETS["tiny-byte"], d_model: 96, n_layer: 3 },
  trainLength: 160,
  base: { batch: 16, steps: 1500, learningRate: 3e-3, schedule: "cosine", warmup: 50, weightDecay: 0.1 },
  postTraining: { batch: 16, steps: 200, learningRate: 1e-3, schedule: "cosine", warmup: 10, weightDecay: 0.1 },
  methods: { "random-noise": { std: 0.1 } },
  lengths: [80, 160, 320, 640, 1280, 2560, 5120, 12800],
  samples: 32,
} as const satisfies RecallTraining;

const smoke = {
  base: { batch: 4, steps: 6, learningRate: 1e-3, schedule: "constant", warmup: 0, weightDecay: 0.1 },
  postTraining: { batch: 4, steps: 2, learningRate: 1e-3, schedule: "constant", warmup: 0, weightDecay: 0.1 },
} as const;

export const PRESETS: Readonly<Record<string, ReproductionSettings>> = {
  /** A few seconds: shows that all parts work together, and nothing else. */
  smoke: {
    ...shared,
    trial: true,
    methods: {},
    joinDocuments: false,
    ...smoke,
    others: { ...smoke, recall: true },
    model: { ...shared.model, d_model: 16, n_layer: 1, ssm_cfg: { ...shared.model.ssm_cfg, d_state: 8, headdim: 8 } },
    trainLength: 32,
    lengths: [32, 256],
    sequences: 2,
    remembrance: { length: 128, sequences: 2 },
    states: { length: 256, sequences: 2 },
    recall: { tasks: ["copying"], lengths: [64], samples: 2 },
    recallTraining: {
      ...recallTraining,
      model: { ...recallTraining.model, d_model: 16, n_layer: 1, ssm_cfg: { ...recallTraining.model.ssm_cfg, d_state: 8, headdim: 8 } },
      trainLength: 32,
      base: { ...recallTraining.base, steps: 4, warmup: 0 },
      postTraining: { ...recallTraining.postTraining, steps: 2, warmup: 0 },
      lengths: [32, 128],
      samples: 2,
    },
  },
  /** The main job, to 64k bytes. */
  quick: {
    ...shared,
    ...trainedQuickly,
    others: othersQuickly,
    lengths: [128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536],
    sequences: 4,
    remembrance: { length: 2048, sequences: 4 },
    states: { length: 65536, sequences: 2 },
    recallTraining,
    recall: { tasks: ["passkey", "passkey-text", "copying"], lengths: [192, 1024, 4096], samples: 16 },
  },
  /** Larger models, measured with more text and to a million bytes. */
  full: {
    ...shared,
    ...trained,
    others: { base: trained.base, postTraining: trained.postTraining, recall: true },
    lengths: [128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072, 262144, 524288, 1048576],
    sequences: 4,
    remembrance: { length: 8192, sequences: 4 },
    states: { length: 262144, sequences: 2 },
    recallTraining: { ...recallTraining, samples: 100 },
    recall: { tasks: ["passkey", "passkey-text", "copying"], lengths: [192, 1024, 4096, 16384], samples: 32 },
  },
};

/**
 * The same experiment with another model, of the size that it has. Only Mamba-2 was searched for the settings above; other families take
 * them over, except for the size of the noise, which is measured: their states are of another one. Where parts of the state are empty at
 * first, sequences start anew together (the sources see to that), and so documents are joined: else they would all the time.
 */
export function withModel(settings: ReproductionSettings, { config: model, stateLeaves }: SequenceModel): ReproductionSettings {
  const { recallTraining, ...rest } = settings;
  const { base, postTraining, recall } = settings.others;
  const together = stateLeaves.some(({ grows }) => grows === true);
  const own = (methods: ReproductionSettings["methods"]): ReproductionSettings["methods"] => {
    const { "random-noise": _std, ...others } = methods;
    return others;
  };
  return {
    ...rest, base, postTraining, model, methods: own(settings.methods), measuredNoise: true,
    joinDocuments: together || settings.joinDocuments,
    ...(recallTraining && recall && { recallTraining: { ...recallTraining, model, methods: own(recallTraining.methods) } }),
  };
}

/** The settings with random noise of that standard deviation, where its size is to be measured. */
export function withNoise<S extends StudySettings>(settings: S, std: number): S {
  if (!settings.measuredNoise) return settings;
  const { recallTraining } = settings;
  const sized = (methods: ReproductionSettings["methods"]): ReproductionSettings["methods"] => ({ ...methods, "random-noise": { std } });
  return {
    ...settings, methods: sized(settings.methods),
    ...(recallTraining && { recallTraining: { ...recallTraining, methods: sized(recallTraining.methods) } }),
  };
}

/** The source of initial states behind a model of the report: the base and the control start from zeros. */
export function initialStatesOf(method: Method): string {
  return method === "base" || method === "control" ? "zero" : method;
}
