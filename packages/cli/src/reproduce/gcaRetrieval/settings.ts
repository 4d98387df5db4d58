/**
 * The settings of "gca-retrieval", all in one place. Nothing here is a result: what the runs show is measured when they run.
 */
import type { Retriever, TaskName, TaskOptions } from "@lenggen/evals";
import { DRT_PRESETS, type DrtJson, TRANSFORMER_PRESETS, type TransformerJson } from "@lenggen/gca";

/** Options of tasks that are settings, and not what is drawn or read. */
export type TaskSettings = Pick<TaskOptions, "keyLength" | "nameLength" | "nameLetters" | "keys" | "filler" | "instructions">;

/** A part of the training, with sequences of one length and a schedule of its own; the next one goes on with its parameters. */
export interface TrainingStage {
  readonly steps: number;
  /** Tokens per sequence, at most. */
  readonly length: number;
  /** Sequences per batch. */
  readonly batch: number;
  /** Each batch draws its length from here to `length`, so that questions stand anywhere in a chunk; half of `length` unless given. */
  readonly shortest?: number;
  /** What is otherwise than in the model; its parameters depend on none of these. Baselines take the window. */
  readonly model?: Partial<Pick<DrtJson, "chunk_size" | "window" | "top_k" | "gumbel_noise">>;
  /** Constant unless given. */
  readonly schedule?: "constant" | "cosine";
  /** The training's unless given. */
  readonly learningRate?: number;
  /** What this stage trains on; the training's tasks unless given. */
  readonly tasks?: readonly TrainedTask[];
}

/** A task among the training batches. */
export interface TrainedTask {
  readonly task: TaskName;
  /** Of the batches, relative to the other tasks' shares. */
  readonly share: number;
  /** Segments that end before the question's last token; 1 unless given. */
  readonly ends?: number;
  /** Asked one after the other at the end of each sequence; 1 unless given. */
  readonly questions?: number;
  readonly options?: TaskSettings;
}

export interface RetrievalTraining {
  /** One after the other; the last one trains the model as it is. */
  readonly stages: readonly TrainingStage[];
  readonly tasks: readonly TrainedTask[];
  /** Share of the loss that is the answer's; the rest is the text's. */
  readonly answerShare: number;
  /** Of each stage, unless it has its own. */
  readonly learningRate: number;
  readonly warmup: number;
  readonly weightDecay: number;
}

/** A model with its training. */
export interface RetrieverSettings {
  readonly method: Retriever;
  readonly model: DrtJson | TransformerJson;
  /** What is otherwise than for the others. */
  readonly training?: Partial<RetrievalTraining>;
  /**
   * Committed checkpoints: a folder of the package, with that of seed N, where there is one, in `seed-N/<method>`; and the time that
   * training takes on two cores.
   */
  readonly checkpoints?: { readonly folder: string; readonly fromScratch: string };
}

/** Questions to put to some models. */
export interface Questions {
  readonly task: TaskName;
  readonly methods: readonly Retriever[];
  /** Tokens of the prompts. */
  readonly lengths: readonly number[];
  /** How many depths, evenly spaced, and samples at each. */
  readonly depths: number;
  readonly samples: number;
  /**
   * The questions of a length are put to so many streams, from the states that they end in; keys need names then. Each has a text of its
   * own unless given.
   */
  readonly streams?: number;
  /** Models with chunks are asked again with the question at a chunk's border; false unless given. */
  readonly aligned?: boolean;
  /** As in training. */
  readonly ends?: number;
  readonly options?: TaskSettings;
}

/** Where the loss is measured: by position up to the longest of these, on so many stretches of the held-out text. */
export interface TextLoss {
  readonly lengths: readonly number[];
  readonly sequences: number;
}

export interface GcaRetrievalSettings {
  readonly trainingText: string;
  readonly heldOutText: string;
  readonly models: readonly RetrieverSettings[];
  readonly training: RetrievalTraining;
  readonly questions: readonly Questions[];
  /** At how many different places of a chunk unaligned questions stand. */
  readonly places: number;
  /** Tokens per forward pass of the evaluations. */
  readonly pass: number;
  /** Prompts run side by side while they have at most so many tokens together, and at most 16. */
  readonly sideBySide: number;
  /** From this length on the chunks of a prompt live on disk. */
  readonly diskFrom: number;
  /** Loss on held-out text. */
  readonly loss?: TextLoss;
  /**
   * Language modelling at equal cost: each model anew, trained on text alone for its number of steps (cosine, with warm-up and weight decay
   * as in the other training), then its loss on held-out text. Steps are chosen so that all models train equally long; the report says
   * how long.
   */
  readonly reading?: TextLoss & {
    readonly steps: Readonly<Record<Retriever, number>>;
    /** Tokens per sequence, and sequences per batch. */
    readonly length: number;
    readonly batch: number;
    readonly learningRate: number;
  };
  /** Training speed: lengths, tokens of a batch, steps that are timed at each. */
  readonly speed?: { readonly lengths: readonly number[]; readonly tokens: number; readonly steps: number };
  /** One long stream on disk, with questions at its end; `marks` are the lengths on the way at which speed and memory are noted. */
  readonly streaming?: {
    readonly method: Retriever;
    readonly task: TaskName;
    readonly length: number;
    readonly marks: readonly number[];
    /** Length of a stream that is read before, so that what a process makes ready once does not count as growth. */
    readonly warmUp: number;
    readonly depths: number;
    readonly samples: number;
    readonly ends?: number;
    readonly options?: TaskSettings;
  };
}

const DRT: readonly Retriever[] = ["drt-1", "drt-2"];
const ALL: readonly Retriever[] = [...DRT, "sliding-window", "full-attention"];

/** 1024, 2048 ... up to a length. */
const doublings = (from: number, to: number): number[] => Array.from({ length: Math.log2(to / from) + 1 }, (_, i) => from * 2 ** i);
const [K, M] = [1024, 1024 ** 2];

/**
 * Checkpoints that `lenggen reproduce gca-retrieval --from-scratch` makes. npm's package brings seed 0's, a clone those of further seeds
 * too.
 */
const committed = (fromScratch: string) => ({ folder: "checkpoints/gca-retrieval", fromScratch });

/** Names are first told apart when they are long: landmarks match them by many letters, which is learnt far sooner than a match of one. */
const longNamed = { nameLength: 8 } as const;
const named = { nameLength: 5 } as const;
/** Names of so few letters that each letter counts. */
const alike = (nameLetters: number) => ({ ...named, nameLetters });
type Named = typeof longNamed | typeof named | ReturnType<typeof alike>;
const nameless = { task: "key-retrieval", share: 1, options: { keyLength: 12 } } as const;
const oneNamed = { task: "key-retrieval", share: 2, ends: 2, options: named } as const;
/** So many named keys in each sequence, all asked for. */
const manyNamed = (questions: number, share: number, options: TaskSettings,
  ends?: number) => ({ task: "many-key", share, questions, ends, options }) as const;
/** Some keys have one letter, so that only the name leads to them. */
const manyLongNamed = (questions: number) => [manyNamed(questions, 1, { ...longNamed, keyLength: 1 }),
  manyNamed(questions, 2, longNamed)] as const;
/** Keys so long that many are cut by a chunk's border. */
const longKeyed = (keyLength: number) => ({ ...named, keyLength });
const chained = (questions: number, share: number, options: Named) => ({ task: "two-hop", share, ends: 2, questions, options }) as const;

const copying = { steps: 3500, length: 160, shortest: 120, batch: 12, model: { chunk_size: 16, window: 33, gumbel_noise: true },
  tasks: [nameless] } as const;
const naming = { steps: 3500, length: 320, shortest: 240, batch: 8, model: { chunk_size: 32, window: 40 },
  tasks: manyLongNamed(5) } as const;
const whole = { steps: 3500, length: 2048, shortest: 1500, batch: 4, learningRate: 1e-3, schedule: "cosine" } as const;

/**
 * From easy to hard; each stage begins where the one before has learnt its part.
 * 1. A nameless key is found in a few small chunks, and a long key is copied: the sooner, the more letters it has.
 * 2. Names are told apart among the chunks that were retrieved.
 * 3. Names are told apart by retrieval: there are more keys than chunks that may be retrieved.
 * 4. A name leads to a second name: at first where nearly all chunks may be retrieved.
 * 5. The same with whole chunks and the whole window.
 * 6. The second name is found by retrieval too: there are more pieces than chunks that may be retrieved, and at a lower rate it is not
 *    learnt.
 * 7. and 8. All of it at the full length, the second time from a high rate again. Questions end two segments: a landmark retrieves earlier
 *    chunks alone, so that the first can't find a key in the question's own chunk, and the second can; and it is the second that knows
 *    what the first hop has found.
 * 9. to 12. A key that a border cuts is read on in the next chunk. The encoder of a chunk does not see the letter before its first one: the
 *    lower layers must tell, which is learnt in the smallest chunks alone, where every key is cut, and then stays.
 * 13. All of it at the full length.
 * 14. Names that are alike. Of names from all letters most differ in most places, and who compares a few letters is nearly always right.
 */
const training = {
  stages: [
    copying,
    naming,
    { steps: 2500, length: 640, shortest: 580, batch: 8, learningRate: 1e-3, model: { chunk_size: 32, window: 40, top_k: 4 },
      tasks: manyLongNamed(12) },
    { steps: 3000, length: 320, shortest: 280, batch: 8, model: { chunk_size: 32, window: 40 },
      tasks: [chained(4, 3, longNamed), manyNamed(6, 1, longNamed, 2)] },
    { steps: 2500, length: 640, shortest: 560, batch: 8, learningRate: 1.5e-3, tasks: [chained(6, 2, named), manyNamed(12, 1, named, 2)] },
    { steps: 2500, length: 320, shortest: 280, batch: 12, model: { chunk_size: 32, window: 40, top_k: 3 },
      tasks: [chained(4, 3, named), manyNamed(8, 1, named, 2)] },
    whole,
    whole,
    { steps: 2400, length: 160, shortest: 130, batch: 8, model: { chunk_size: 8, window: 40, top_k: 20 },
      tasks: [manyNamed(3, 3, longKeyed(12), 2), manyNamed(3, 1, named, 2)] },
    { steps: 1200, length: 240, shortest: 190, batch: 8, learningRate: 1.5e-3, model: { chunk_size: 16, window: 40, top_k: 16 },
      tasks: [manyNamed(4, 3, longKeyed(12), 2), manyNamed(4, 1, named, 2)] },
    {
      steps: 1800, length: 320, shortest: 280, batch: 8, learningRate: 1.5e-3, model: { chunk_size: 32, window: 40 },
      tasks: [manyNamed(5, 3, longKeyed(12), 2), manyNamed(5, 1, named, 2), chained(4, 1, named)],
    },
    {
      steps: 2000, length: 640, shortest: 560, batch: 8, learningRate: 1e-3, model: { chunk_size: 32, window: 40, top_k: 4 },
      tasks: [manyNamed(10, 2, longKeyed(12), 2), manyNamed(12, 1, named, 2), chained(6, 1, named)],
    },
    {
      ...whole, steps: 3000,
      tasks: [oneNamed, { ...oneNamed, options: longKeyed(8) }, manyNamed(50, 3, named, 2), manyNamed(36, 2, longKeyed(8), 2),
        chained(20, 5, named)],
    },
    {
      ...whole, steps: 1400,
      tasks: [
        oneNamed, manyNamed(50, 2, named, 2), manyNamed(50, 3, alike(4), 2), manyNamed(12, 1, alike(3), 2),
        manyNamed(30, 3, { ...longKeyed(12), nameLetters: 8 }, 2),
        chained(20, 3, named), chained(20, 2, alike(6)),
      ],
    },
  ],
  tasks: [oneNamed, manyNamed(30, 2, named, 2), chained(20, 3, named)],
  answerShare: 0.8, learningRate: 2e-3, warmup: 50, weightDecay: 0.01,
} as const satisfies RetrievalTraining;

/** Noise helps to find where keys are, and hides the small differences of scores that tell keys apart. */
const quiet = { gumbel_noise: false } as const;

/** Baselines have nothing to retrieve: from names they go to the full length at once, with fewer tokens in all. */
const direct = { stages: [copying, naming, { ...whole, steps: 2000 }] };

const models = [
  { method: "drt-1", model: { ...DRT_PRESETS["drt-tiny"], ...quiet }, checkpoints: committed("90 minutes") },
  { method: "drt-2", model: { ...DRT_PRESETS["drt-tiny-2"], ...quiet }, checkpoints: committed("90 minutes") },
  { method: "sliding-window", model: TRANSFORMER_PRESETS["sliding-window-tiny"], training: direct, checkpoints: committed("15 minutes") },
  { method: "full-attention", model: TRANSFORMER_PRESETS["full-attention-tiny"], training: direct, checkpoints: committed("15 minutes") },
] as const satisfies readonly RetrieverSettings[];

const shared = {
  trainingText: "sotu",
  heldOutText: "moby-dick",
  models,
  training,
  places: 4,
  pass: 1024,
  sideBySide: 2 ** 17,
  diskFrom: 2 ** 18,
} as const;

/** One key, named as in training. */
const oneKey = { task: "key-retrieval", ends: 2, options: named } as const;
/** Keys that share a stream: each is one of as many as are asked for there. */
const shareStream = { task: "many-key", ends: 2, options: named } as const;
/** More pieces than chunks that may be retrieved at once, so that only a name leads to its key. */
const manyKeys = { task: "many-key", ends: 2, options: { ...named, keys: 16 } } as const;
const twoHops = { task: "two-hop", ends: 2, options: { ...named, keys: 24 } } as const;

const smallDrt = {
  ...DRT_PRESETS["drt-tiny"], hidden_size: 16, intermediate_size: 16, lower_layers: 1, upper_groups: [1], chunk_size: 8,
  window: 9, top_k: 2,
} as const satisfies DrtJson;
const smallTransformer = { ...TRANSFORMER_PRESETS["sliding-window-tiny"], hidden_size: 16, intermediate_size: 16, num_hidden_layers: 2,
  window: 9 } as const satisfies TransformerJson;

export const PRESETS: Readonly<Record<string, GcaRetrievalSettings>> = {
  /** A few seconds: shows that all parts work together, and nothing else. */
  smoke: {
    ...shared,
    models: [
      { method: "drt-1", model: smallDrt },
      { method: "drt-2", model: { ...smallDrt, upper_groups: [1, 1] } },
      { method: "sliding-window", model: smallTransformer },
      { method: "full-attention", model: { ...smallTransformer, window: null, position: "rope" } },
    ],
    training: {
      ...training, warmup: 0, tasks: [oneNamed],
      stages: [
        { steps: 1, length: 64, batch: 2, model: { chunk_size: 4, window: 5 }, tasks: [{ ...nameless, options: {} }] },
        { steps: 1, length: 64, batch: 2, model: { top_k: 1 } },
        { steps: 2, length: 96, shortest: 90, batch: 2 },
      ],
    },
    questions: [
      { ...oneKey, methods: ALL, lengths: [64, 96], depths: 2, samples: 2, aligned: true },
      { ...twoHops, methods: DRT, lengths: [64], depths: 1, samples: 2, options: { nameLength: 1 } },
      { ...shareStream, methods: ["drt-2"], lengths: [512], depths: 2, samples: 2, streams: 2 },
    ],
    places: 2,
    pass: 64,
    diskFrom: 512,
    loss: { lengths: [64, 128], sequences: 2 },
    reading: { steps: { "drt-1": 2, "drt-2": 2, "sliding-window": 3, "full-attention": 1 }, length: 64, batch: 2, learningRate: 2e-3,
      lengths: [64, 128], sequences: 2 },
    speed: { lengths: [32, 64], tokens: 64, steps: 1 },
    streaming: { method: "drt-1", ...shareStream, length: 1024, marks: [256, 512, 1024], warmUp: 256, depths: 2, samples: 1 },
  },
  /** At most fifteen minutes on two cores, to a million bytes. */
  quick: {
    ...shared,
    questions: [
      { ...oneKey, methods: DRT, lengths: doublings(K, 64 * K), depths: 5, samples: 4, aligned: true },
      { ...oneKey, methods: ["drt-1"], lengths: [256 * K, M], depths: 5, samples: 1 },
      { ...shareStream, methods: ["drt-2"], lengths: [M], depths: 5, samples: 4, streams: 1 },
      { ...oneKey, methods: ["sliding-window"], lengths: doublings(K, 16 * K), depths: 5, samples: 2 },
      { ...oneKey, methods: ["full-attention"], lengths: doublings(K, 4 * K), depths: 5, samples: 2 },
      { ...twoHops, methods: ALL, lengths: doublings(K, 4 * K), depths: 5, samples: 4 },
      { ...twoHops, methods: DRT, lengths: doublings(8 * K, 32 * K), depths: 5, samples: 2 },
      { ...manyKeys, methods: ALL, lengths: doublings(K, 4 * K), depths: 5, samples: 2 },
    ],
    loss: { lengths: doublings(K, 16 * K), sequences: 2 },
    speed: { lengths: [2 * K, 4 * K, 8 * K, 16 * K], tokens: 16 * K, steps: 2 },
    streaming: { method: "drt-1", ...shareStream, length: M, marks: doublings(16 * K, M), warmUp: 256 * K, depths: 5, samples: 4 },
  },
  /** The same models, measured with more samples and to sixteen million bytes. */
  full: {
    ...shared,
    pass: 2048,
    questions: [
      { ...oneKey, methods: DRT, lengths: doublings(K, 64 * K), depths: 10, samples: 10, aligned: true },
      { ...shareStream, methods: DRT, lengths: doublings(128 * K, M), depths: 10, samples: 10, streams: 5 },
      { ...shareStream, methods: ["drt-2"], lengths: [16 * M], depths: 10, samples: 2, streams: 1 },
      { ...oneKey, methods: ["sliding-window"], lengths: doublings(K, 64 * K), depths: 10, samples: 10 },
      { ...oneKey, methods: ["full-attention"], lengths: doublings(K, 16 * K), depths: 10, samples: 10 },
      { ...twoHops, methods: DRT, lengths: doublings(K, 64 * K), depths: 10, samples: 10 },
      { ...twoHops, methods: ["sliding-window", "full-attention"], lengths: doublings(K, 8 * K), depths: 10, samples: 10 },
      { ...manyKeys, methods: DRT, lengths: doublings(K, 64 * K), depths: 10, samples: 10 },
      { ...manyKeys, methods: ["sliding-window", "full-attention"], lengths: doublings(K, 8 * K), depths: 10, samples: 10 },
      { ...oneKey, methods: ["drt-2"], lengths: doublings(128 * K, M), depths: 10, samples: 10 },
    ],
    loss: { lengths: doublings(K, 16 * K), sequences: 8 },
    reading: {
      steps: { "drt-1": 1000, "drt-2": 960, "sliding-window": 1080, "full-attention": 460 }, length: 2 * K, batch: 4, learningRate: 2e-3,
      lengths: doublings(K, 32 * K), sequences: 16,
    },
    speed: { lengths: [2 * K, 4 * K, 8 * K, 16 * K], tokens: 16 * K, steps: 4 },
    streaming: { method: "drt-1", ...shareStream, length: 16 * M, marks: doublings(16 * K, 16 * M), warmUp: 512 * K,
      depths: 10, samples: 2 },
  },
};

/** How a model is trained: as all are, but for what it says itself. */
export function trainingOf(settings: GcaRetrievalSettings, { training: own }: RetrieverSettings): RetrievalTraining {
  return { ...settings.training, ...own };
}

/** The longest sequences of training. */
export function trainLengthOf(settings: GcaRetrievalSettings): number {
  return Math.max(...settings.models.flatMap((model) => trainingOf(settings, model).stages.map(({ length }) => length)));
}
