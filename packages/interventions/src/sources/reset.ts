/** Starting some sequences from zero although there is a state to start from. */
import {
  check, choiceSetting, type Device, dispose, type DType, hostRandom, type Key, leaves, mapTree, mul, numberSetting, type SequenceModel,
  type Settings, type StateLeaf, tensor, type Tensor, type Tree, zeros,
} from "@lenggen/kernels";

/** When a sequence starts from the zero state all the same. */
export interface ResetOptions {
  /** Probability that a sequence starts from zero all the same. */
  readonly resetProbability: number;
  /** Whether each sequence draws for itself (`sample`), or one draw holds for the batch (`batch`). */
  readonly resetPer: "sample" | "batch";
}

/**
 * The paper does not say how often states are reset. Two independent re-implementations (StateX and PFN) use
 * 0.1, one draw per batch; a draw per sample has the same mean and less spread, and keeps every batch mixed.
 */
export function resetSettings(resetProbability: number): Settings<ResetOptions> {
  return {
    resetProbability: numberSetting(
      resetProbability, "Probability that a sequence starts from the zero state all the same.", { from: 0, to: 1 },
    ),
    resetPer: choiceSetting(
      ["sample", "batch"], "sample", "Whether each sequence draws for itself, or one draw holds for the whole batch.",
    ),
  };
}

/** Which of `batch` sequences are reset. */
export function drawResets(key: Key, batch: number, { resetProbability, resetPer }: ResetOptions): boolean[] {
  const random = hostRandom(key);
  if (resetPer === "batch") return Array<boolean>(batch).fill(random.uniform() < resetProbability);
  return Array.from({ length: batch }, () => random.uniform() < resetProbability);
}

/** {@link mapTree} for a state of any model: the exact type of an unknown nesting would be endless. */
export const mapState = mapTree as unknown as (state: Tree, f: (leaf: Tensor, path: string) => Tensor) => Tree;

/** The state with the given sequences set to zero: itself when there are none, undefined when all are. */
export function resetSequences(state: Tree, resets: readonly boolean[]): Tree | undefined {
  if (!resets.includes(true)) return state;
  if (!resets.includes(false)) return undefined;
  const kept = resets.map((reset) => (reset ? 0 : 1));
  return mapState(state, (leaf) => {
    const mask = tensor(leaf.device, kept, [kept.length, ...leaf.shape.slice(1).map(() => 1)], leaf.dtype);
    return mul(leaf, mask);
  });
}

/** Shapes of the zero state's leaves, by path; the model is asked once and the memory freed. */
export function zeroShapes(model: SequenceModel): (device: Device, dtype: DType) => ReadonlyMap<string, readonly number[]> {
  let shapes: Map<string, readonly number[]> | undefined;
  return (device, dtype) => {
    if (shapes === undefined) {
      const zero = model.initialState(1, device, dtype);
      shapes = new Map(leaves(zero).map(({ path, tensor: leaf }) => [path, leaf.shape]));
      dispose(zero);
    }
    return shapes;
  };
}

/** The state with its windows (a convolution's last inputs) as in the zero state, whose shapes are given. */
export function withoutWindows(state: Tree, about: ReadonlyMap<string, StateLeaf>, zero: ReadonlyMap<string, readonly number[]>): Tree {
  return mapState(state, (leaf, path) => {
    if (about.get(path)?.kind !== "window") return leaf;
    return zeros(leaf.device, [leaf.shape[0]!, ...zero.get(path)!.slice(1)], leaf.dtype);
  });
}

/** Refuses a setting of windows, other than what holds unless given, of a model that has none: it would say nothing. `E_CONFIG`. */
export function checkWindows(name: string, { family, stateLeaves }: SequenceModel, usual: boolean, given: string): void {
  check(usual || stateLeaves.some(({ kind }) => kind === "window"), "E_CONFIG", () =>
    `${name}: ${given}, but this model of family ${family} has no convolution, nor another window of last inputs; leave it out`);
}

/** What a model says about its state's leaves, by path. */
export function leavesByPath(stateLeaves: readonly StateLeaf[]): ReadonlyMap<string, StateLeaf> {
  return new Map(stateLeaves.map((leaf) => [leaf.path, leaf]));
}

/** Number of sequences in a state. */
export function batchOf(state: Tree): number {
  return leaves(state)[0]?.tensor.shape[0] ?? 0;
}
