/**
 * The contract of a loss: one number that a training step makes smaller, from the model's forward pass over a micro-batch. It runs while
 * a tape records, so it is made of ops and no more is said about its gradient.
 */
import type { ForwardOptions, Parameters, SequenceModel, Settings, Tensor, Tree } from "@lenggen/kernels";
import type { JsonRecord } from "./json";

/** A micro-batch on the device. */
export interface LossBatch {
  /** [B,T] i32 */
  readonly tokens: Tensor;
  /** [B,T] i32: what follows each token; a negative target is left out. */
  readonly targets: Tensor;
  /** [B,T]: how much each target counts; absent: 1. */
  readonly weights?: Tensor;
  /** For the model's forward pass: where segments end, and its own randomness. */
  readonly forward: ForwardOptions;
  /** What all micro-batches of the step hold together: a mean over the step divides by it, so that they add up to one large batch. */
  readonly whole: {
    /** Sum of the weights of the targets that count. */
    readonly weight: number;
    /** Number of sequences. */
    readonly sequences: number;
  };
}

/** What a loss gives. */
export interface LossResult<State> {
  /** One number: this micro-batch's part of the step's loss. */
  readonly loss: Tensor;
  /** In which the model's pass ended, for the source of initial states. */
  readonly state: State;
  /** What the loss is the sum of, each one number, by the names that metrics give them; absent for a loss of one term. */
  readonly terms?: Readonly<Record<string, Tensor>>;
}

/** What a training run minimises. */
export interface Loss {
  readonly name: string;
  /** All options with their values, as recorded with a run. */
  readonly settings: JsonRecord;
  /** Runs the model over a micro-batch from a state (zeros where there is none) and gives its part of the step's loss. */
  evaluate<State extends Tree>(
    model: SequenceModel<State>, parameters: Parameters, batch: LossBatch, state: State | undefined,
  ): LossResult<State>;
}

/** One line of the table of losses. */
export interface LossFamily<Options extends object> {
  /** One sentence for help texts. */
  readonly summary: string;
  readonly options: Settings<Options>;
  /** Throws `E_CONFIG` for an unknown option, a value out of range, or a model that the loss says nothing of. */
  create(model: SequenceModel, options?: Partial<Options>): Loss;
}
