/** Carrying states from one batch to the next: what state passing and truncated backpropagation through time share. */
import {
  check, dispose, disposeExcept, flagSetting, foldIn, keep, leaves, resolveSettings, sameShape, scope, type SequenceModel, type Settings,
  type Tensor, type TokenOrder, type Tree,
} from "@lenggen/kernels";
import type { InitialStates, SavedStates, StateRequest } from "../initialStates";
import {
  batchOf, checkWindows, drawResets, leavesByPath, mapState, type ResetOptions, resetSequences, resetSettings, withoutWindows, zeroShapes,
} from "./reset";

/** Options of state passing and truncated backpropagation through time. */
export interface CarryOptions extends ResetOptions {
  /** Whether the last inputs of convolutions are carried too; otherwise those start from zero. */
  readonly carryConvolution: boolean;
}

/**
 * The paper does not say whether the convolution's state is carried. Both known re-implementations carry it, and only
 * with it is the next chunk's start the same as in one long sequence.
 */
export function carrySettings(resetProbability: number): Settings<CarryOptions> {
  return {
    ...resetSettings(resetProbability),
    carryConvolution: flagSetting(true, "Carry the last inputs of convolutions along with the recurrent state."),
  };
}

/** Whether all sequences of a batch have to start together: a window that is empty at first has one length for all of them. */
const startsTogether = (model: SequenceModel): boolean => model.stateLeaves.some(({ grows }) => grows === true);

/** Options with what holds unless given: sequences are reset together where the model's can't be otherwise. */
export const carryOptions = (
  name: string, settings: Settings<CarryOptions>, model: SequenceModel, options: Partial<CarryOptions> = {},
): CarryOptions => resolveSettings(name, settings, { ...(startsTogether(model) && { resetPer: "batch" as const }), ...options });

const notApart = (name: string, path: string): string =>
  `${name}: ${path} is empty at first, so that single sequences can't start from zero beside others that do not; `
    + "resetPer must be batch";

/**
 * Throws `E_CONFIG` for a model with a memory that grows with the stream: carried from batch to batch it would grow with the run;
 * and where single sequences are to be reset and parts of the state are empty at first.
 * A source that gives back the final state it saw last; where sequences start together, one that starts anew (a text that begins) takes
 * the others along. Under gradient accumulation each micro-batch has a slot of
 * its own, so that a step's micro-batches together carry as many states as one large batch would.
 */
export function carriedStates(name: string, order: TokenOrder, model: SequenceModel, options: CarryOptions): InitialStates {
  const growing = model.stateLeaves.find((leaf) => leaf.kind === "memory");
  check(growing === undefined, "E_CONFIG", () =>
    `${name}: the state of a model of family ${model.family} grows with the stream (${growing?.path}) and can't be carried from batch `
    + "to batch; "
    + "train it with zero");
  checkWindows(name, model, options.carryConvolution, "carryConvolution is false");
  const apart = options.resetPer === "sample" && options.resetProbability > 0;
  const empty = model.stateLeaves.find((leaf) => leaf.grows === true);
  const together = startsTogether(model);
  check(empty === undefined || !apart, "E_CONFIG", () => notApart(name, empty!.path));
  const about = leavesByPath(model.stateLeaves);
  const zero = zeroShapes(model);
  const slots = new Map<number, Tree>();

  const put = (microBatch: number, state: Tree): void => {
    disposeExcept(slots.get(microBatch), state);
    slots.set(microBatch, keep(state));
  };

  return {
    name,
    order,
    settings: { ...options },
    next({ key, microBatch, batch, fresh, device, dtype }: StateRequest) {
      const carried = slots.get(microBatch);
      if (carried === undefined) return undefined;
      check(batchOf(carried) === batch, "E_ARGUMENT", () =>
        `${name}: the batch has ${batch} sequences but ${batchOf(carried)} states were carried; the batch size must not change`);
      const resets = drawResets(foldIn(key, 0), batch, options).map((reset, i) => reset || fresh?.[i] === true);
      if (together && resets.includes(true)) return undefined;
      if (resets.includes(true) && resets.includes(false)) {
        const shapes = zero(device, dtype);
        const other = leaves(carried).find(({ path, tensor }) => !sameShape(tensor.shape.slice(1), shapes.get(path)!.slice(1)));
        check(other === undefined, "E_CONFIG", () => notApart(name, other!.path));
      }
      const state = resetSequences(carried, resets);
      return state === undefined || options.carryConvolution ? state : withoutWindows(state, about, zero(device, dtype));
    },
    observe(finalState, { microBatch }) {
      put(microBatch, finalState);
    },
    save() {
      const tensors: Record<string, Tensor> = {};
      for (const [slot, state] of slots) {
        for (const { path, tensor } of leaves(state)) tensors[`${slot}.${path}`] = tensor;
      }
      return { tensors, values: { slots: [...slots.keys()] } };
    },
    restore({ tensors, values }: SavedStates) {
      const saved = (values as { slots?: unknown } | null)?.slots;
      check(Array.isArray(saved) && saved.every((slot) => Number.isSafeInteger(slot)), "E_FORMAT", () =>
        `${name}: the checkpoint must hold a list of slots, not ${JSON.stringify(saved)}`);
      const device = Object.values(tensors)[0]?.device;
      for (const slot of saved as number[]) {
        const state = scope(() => {
          check(device, "E_FORMAT", () => `${name}: the checkpoint names slot ${slot} but holds no states`);
          return mapState(model.initialState(1, device), (_, path) => {
            const found = tensors[`${slot}.${path}`];
            check(found, "E_FORMAT", () => `${name}: the checkpoint lacks the state ${slot}.${path}`);
            return found;
          });
        });
        put(slot, state);
      }
    },
    dispose() {
      for (const state of slots.values()) dispose(state);
      slots.clear();
    },
  };
}
