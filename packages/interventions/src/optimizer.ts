/**
 * The contract of an optimiser: it turns the gradients of a step into new parameters, in place, and remembers from step to step what it
 * needs for that (moments, momentum). All of it is queued on the device and nothing is read back.
 */
import type { Parameters, SequenceModel, Settings, Tensor } from "@lenggen/kernels";
import type { JsonRecord } from "./json";

/** What an optimiser learns of the update that it is to make. */
export interface UpdateRequest {
  /** Number of the update, from 1. */
  readonly step: number;
  /** What the schedule says for it. */
  readonly learningRate: number;
  /** Norm of the gradients over all parameters: [1]. For clipping, which is the optimiser's. */
  readonly gradientNorm: Tensor;
  /** [1] i32; where it is above 0, parameters and memory must stay as they are, to the bit. Absent: they change. */
  readonly skip?: Tensor;
}

/** What a checkpoint holds of an optimiser. */
export interface SavedOptimizer {
  /** Tensors by the names that `save` gave them; all that is in the file and not another's. */
  readonly tensors: Readonly<Record<string, Tensor>>;
  /** The file, for messages. */
  readonly where: string;
}

/** An optimiser with its memory of one run. */
export interface Optimizer {
  readonly name: string;
  /** All options with their values, as recorded with a run. */
  readonly settings: JsonRecord;
  /** The learning rate where a run's schedule names none; 0.001 unless given. */
  readonly learningRate?: number;
  /** How many numbers it remembers of each parameter, at least: what can't fit is refused before it is made. 0 unless given. */
  readonly remembers?: number;
  /** Starts with an empty memory for these parameters. */
  init(parameters: Parameters): void;
  /** Changes `parameters` in place. `gradients` is a tree like them, and stays as it is. */
  update(parameters: Parameters, gradients: Parameters, request: UpdateRequest): void;
  /** The memory, by the names that `optimizer.safetensors` gives it; none begins with `states.`. The tensors stay the optimiser's. */
  save(): Readonly<Record<string, Tensor>>;
  /** Goes on where `save` was called. The tensors become the optimiser's. Throws `E_WEIGHTS` when one is missing or does not fit. */
  restore(saved: SavedOptimizer, parameters: Parameters): void;
  dispose(): void;
}

/** One line of the table of optimisers. */
export interface OptimizerFamily<Options extends object> {
  /** One sentence for help texts. */
  readonly summary: string;
  /** A learning rate that suits a small model from its beginning, where none is asked for. */
  readonly learningRate: number;
  readonly options: Settings<Options>;
  /** Throws `E_CONFIG` for an unknown option or a value out of range. */
  create(model: SequenceModel, options?: Partial<Options>): Optimizer;
}
