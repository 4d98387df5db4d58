/** Drawing whole states leaf by leaf: what random and fitted noise share. */
import {
  check, type Device, dispose, type DType, flagSetting, foldIn, type Key, type SequenceModel, type Settings, type StateLeaf, type Tensor,
  type Tree, zeros,
} from "@lenggen/kernels";
import type { StateRequest } from "../initialStates";
import { checkWindows, drawResets, leavesByPath, mapState, type ResetOptions, resetSequences, resetSettings } from "./reset";

/** Options that both kinds of noise share. */
export interface NoiseOptions extends ResetOptions {
  /** Whether the last inputs of convolutions get noise too; otherwise those start from zero. */
  readonly noisyConvolution: boolean;
}

/**
 * Off by default: the paper defines noise on the recurrent state h, and a convolution's window holds the last few
 * inputs, which no independent Gaussian resembles.
 */
export function noiseSettings(): Settings<NoiseOptions> {
  return {
    ...resetSettings(0.1),
    noisyConvolution: flagSetting(false, "Give noise to the last inputs of convolutions too; they start from zero otherwise."),
  };
}

/** Whether a leaf gets noise. A memory and an angle never do: they stay as in the zero state. */
export function getsNoise(leaf: StateLeaf | undefined, { noisyConvolution }: NoiseOptions): leaf is StateLeaf {
  return leaf !== undefined && (leaf.kind === "recurrent" || (leaf.kind === "window" && noisyConvolution));
}

/**
 * Calls `draw` for every leaf that gets noise, with its shape and a key of its own; other leaves become zeros. Throws `E_CONFIG` for a
 * model without a leaf that gets noise, which would train as from zero, and for noise that an empty leaf would get.
 */
export function noisyStates(
  name: string,
  model: SequenceModel,
  options: NoiseOptions,
  draw: (leaf: { about: StateLeaf; shape: readonly number[]; key: Key; device: Device; dtype: DType }) => Tensor,
): (request: StateRequest) => Tree | undefined {
  check(model.stateLeaves.some((leaf) => getsNoise(leaf, options)), "E_CONFIG", () =>
    `${name}: a model of family ${model.family} has no recurrent state to give noise to; train it with zero`);
  checkWindows(name, model, !options.noisyConvolution, "noisyConvolution is true");
  const empty = model.stateLeaves.find((leaf) => leaf.grows === true && getsNoise(leaf, options));
  check(empty === undefined, "E_CONFIG", () =>
    `${name}: ${empty?.path} is empty at first, as the keys and values of attention are: noise can't stand for what was never read; `
      + "leave noisyConvolution false");
  const about = leavesByPath(model.stateLeaves);
  // One sequence's state, asked for once: only its nesting and shapes are used, so its memory is freed.
  let template: Tree | undefined;

  return ({ key, batch, device, dtype }) => {
    const resets = drawResets(foldIn(key, 0), batch, options);
    if (!resets.includes(false)) return undefined;
    if (template === undefined) dispose((template = model.initialState(1, device, dtype)));
    let leafNumber = 0;
    const state = mapState(template, (one, path) => {
      const shape = [batch, ...one.shape.slice(1)];
      const leaf = about.get(path);
      const leafKey = foldIn(foldIn(key, 1), leafNumber++);
      return getsNoise(leaf, options) ? draw({ about: leaf, shape, key: leafKey, device, dtype }) : zeros(device, shape, one.dtype);
    });
    return resetSequences(state, resets);
  };
}
