/** What a newcomer can set, and what becomes of it: the model, and the trainer's options for one phase. */
import { GLA_PRESETS, MAMBA2_PRESETS, RWKV6_PRESETS } from "@lenggen/recurrent";
import type { AdamWOptimizerOptions, InterventionName, JsonRecord, ScheduleOptions } from "@lenggen/interventions";

/** Families to choose from, with what tells each from the others; all have kernels of their own on GPUs. */
export const FAMILY_WORDS = {
  mamba2: { label: "Mamba-2", note: "A state-space model: each head forgets at one rate, which depends on the text." },
  gla: { label: "GLA", note: "Gated linear attention: each channel of a head forgets at a rate of its own." },
  rwkv6: { label: "RWKV-6", note: "Each channel forgets at a rate of its own, and each layer sees the byte before as well." },
} as const;

export type Family = keyof typeof FAMILY_WORDS;

/**
 * Models that a tab can train: of each family one of the size of the full experiment, and a small one for devices without a GPU. The names
 * stand in saved runs; the command line has presets of the same names for the former.
 */
export const MODELS = {
  "tiny-byte": { family: "mamba2", size: "half a million numbers", config: MAMBA2_PRESETS["tiny-byte"] },
  "mini-byte": {
    family: "mamba2", size: "24,000 numbers",
    config: { ...MAMBA2_PRESETS["tiny-byte"], d_model: 32, n_layer: 2,
      ssm_cfg: { ...MAMBA2_PRESETS["tiny-byte"].ssm_cfg, d_state: 16, headdim: 16, chunk_size: 32 } },
  },
  "gla-tiny-byte": { family: "gla", size: "half a million numbers", config: GLA_PRESETS["gla-tiny-byte"] },
  "gla-mini-byte": {
    family: "gla", size: "25,000 numbers",
    config: { ...GLA_PRESETS["gla-tiny-byte"], hidden_size: 32, num_hidden_layers: 2, intermediate_size: 32 },
  },
  "rwkv6-tiny-byte": { family: "rwkv6", size: "half a million numbers", config: RWKV6_PRESETS["rwkv6-tiny-byte"] },
  "rwkv6-mini-byte": {
    family: "rwkv6", size: "46,000 numbers",
    config: { ...RWKV6_PRESETS["rwkv6-tiny-byte"], n_embd: 32, n_layer: 2, head_size: 16, dim_ffn: 96, d_mix_lora: 4, d_decay_lora: 8 },
  },
} as const satisfies Record<string, { family: Family; size: string; config: object }>;

export type ModelName = keyof typeof MODELS;

/** How a phase of this page starts its sequences; the docs' figures know all interventions. */
export type Method = Extract<InterventionName, "zero" | "state-passing">;

/** All settings of a project. */
export interface Plan {
  readonly model: ModelName;
  /** Bytes per sequence: the training length. */
  readonly context: number;
  /** Sequences per step. */
  readonly batch: number;
  /** Updates of the first phase. */
  readonly steps: number;
  readonly learningRate: number;
  /** Updates of each later phase, which goes on from the weights that are there. */
  readonly laterSteps: number;
  readonly laterRate: number;
  /** State passing: how often a sequence starts from zero all the same. */
  readonly resetProbability: number;
  readonly seed: number;
}

/** The name, meaning and range of a setting, for the form. */
export interface Field {
  readonly label: string;
  readonly hint: string;
  readonly from: number;
  readonly to: number;
  /** `any` for numbers that need not be whole. */
  readonly step: number | "any";
}

export const FIELDS: Readonly<Record<Exclude<keyof Plan, "model">, Field>> = {
  context: { label: "Training length", hint: "Bytes per sequence. Beyond it, the model is on its own.", from: 16, to: 4096, step: 1 },
  batch: { label: "Batch", hint: "Sequences per step.", from: 1, to: 256, step: 1 },
  steps: { label: "Steps", hint: "Updates in all.", from: 1, to: 1_000_000, step: 1 },
  learningRate: { label: "Learning rate", hint: "The highest; it falls along half a cosine.", from: 0, to: 1, step: "any" },
  laterSteps: { label: "Steps", hint: "Updates after each turn of the switch.", from: 1, to: 1_000_000, step: 1 },
  laterRate: { label: "Learning rate", hint: "A tenth of the first is gentle enough.", from: 0, to: 1, step: "any" },
  resetProbability: { label: "Reset probability", hint: "How often a sequence starts from zero all the same.", from: 0, to: 1,
    step: "any" },
  seed: { label: "Seed", hint: "The same seed gives the same run.", from: 0, to: 2 ** 31 - 1, step: 1 },
};

/** Found by trying: a tenth of the bytes of the full experiment, and collapse and recovery still show. */
export const FAST_PLAN: Plan = {
  model: "tiny-byte", context: 256, batch: 8, steps: 800, learningRate: 3e-3, laterSteps: 150, laterRate: 3e-4,
  resetProbability: 0.01, seed: 0,
};

/** For the reference device, which computes in plain JavaScript. */
export const SLOW_PLAN: Plan = {
  ...FAST_PLAN, model: "mini-byte", context: 64, batch: 4, steps: 400, laterSteps: 100,
};

/** A plan with the model of another family that is of the same size. */
export function withFamily(plan: Plan, family: Family): Plan {
  const small = isSmall(plan.model);
  const model = (Object.keys(MODELS) as ModelName[]).find((name) => MODELS[name].family === family && isSmall(name) === small)!;
  return { ...plan, model };
}

/** Whether a model is one for devices without a GPU, which the command line has no preset of. */
export function isSmall(model: ModelName): boolean {
  return model.endsWith("mini-byte");
}

/** What is wrong with a plan, by setting; empty when nothing is. */
export function problemsOf(plan: Plan): Partial<Record<keyof Plan, string>> {
  const problems: Partial<Record<keyof Plan, string>> = {};
  if (!Object.hasOwn(MODELS, plan.model)) problems.model = `There is no model ${plan.model}.`;
  for (const [name, { from, to, step }] of Object.entries(FIELDS) as [keyof typeof FIELDS, Field][]) {
    const value: unknown = plan[name];
    if (typeof value !== "number" || !Number.isFinite(value) || value < from || value > to || (step === 1 && !Number.isInteger(value))) {
      problems[name] = `${step === 1 ? "A whole number" : "A number"} from ${from} to ${to.toLocaleString("en")}.`;
    }
  }
  return problems;
}

/** The trainer's options for one phase. All of them stand in run.json, and each is a flag of the command line. */
export interface PhaseOptions {
  readonly steps: number;
  readonly batch: number;
  readonly context: number;
  readonly seed: number;
  readonly schedule: Omit<ScheduleOptions, "scheduleSteps">;
  readonly optimizer: Partial<AdamWOptimizerOptions>;
  readonly methodOptions: JsonRecord;
  /** Steps between measurements of the loss by position, each followed by a checkpoint. */
  readonly measureEvery: number;
}

/** Measurements of the loss by position in a phase. */
const MEASUREMENTS = 10;

export function phaseOptions(plan: Plan, method: InterventionName, first: boolean): PhaseOptions {
  const steps = first ? plan.steps : plan.laterSteps;
  return {
    steps,
    batch: plan.batch,
    context: plan.context,
    seed: plan.seed,
    schedule: {
      schedule: "cosine",
      learningRate: first ? plan.learningRate : plan.laterRate,
      warmup: Math.min(first ? 50 : 10, Math.floor(steps / 10)),
      finalShare: 0.1,
    },
    optimizer: { weightDecay: 0.1 },
    methodOptions: methodOptions(plan, method),
    measureEvery: Math.max(1, Math.ceil(steps / MEASUREMENTS)),
  };
}

/** As in "unexplored states": passed states are to grow old, and noise is as wide as the states are. */
function methodOptions({ resetProbability }: Plan, method: InterventionName): JsonRecord {
  if (method === "state-passing" || method === "tbtt") return { resetProbability };
  return method === "random-noise" ? { std: 0.1 } : {};
}
