/** A model's numbers for a file, parameter by parameter: from tensors, or from a checkpoint of which one tensor at a time is in memory. */
import { allParameters } from "../checkpoint";
import type { Device } from "../device";
import { check } from "../errors";
import type { Parameters, SequenceModel } from "../model";
import { readSlice, type Safetensors } from "../safetensors";
import { quote } from "../strictJson";
import type { Tensor } from "../tensor";

/** Elements read at a time; even, as halves lie in pairs. */
const SLICE = 1 << 20;

/** The numbers of the parameter of that name, in order, in pieces. Throws `E_UNKNOWN_NAME` for a name that the model has not. */
export type ParameterNumbers = (name: string) => AsyncIterable<Float32Array>;

/** Those of parameters in memory, which must live until all are read. */
export function numbersOf(parameters: Parameters): ParameterNumbers {
  return (name) => {
    check(Object.hasOwn(parameters, name), "E_UNKNOWN_NAME", () => `parameters: there is none named ${quote(name)}`);
    return slices(parameters[name]!);
  };
}

/**
 * Those of a checkpoint, which is held against the model at once (`E_WEIGHTS`, as `loadParameters`). Each parameter is on the device while
 * it is read; half precision stays that.
 */
export function numbersIn(model: SequenceModel, weights: Safetensors, device: Device): ParameterNumbers {
  const { weights: file } = allParameters(model, weights);
  return async function* (name) {
    check(Object.hasOwn(file.tensors, name), "E_UNKNOWN_NAME", () => `weights: the model has no parameter named ${quote(name)}`);
    const half = file.tensors[name]!.dtype === "F16" && (model.halves?.(name) ?? true);
    const tensor = await file.load(name, device, half ? "f16" : "f32");
    try {
      yield* slices(tensor);
    } finally {
      tensor.dispose();
    }
  };
}

async function* slices(tensor: Tensor): AsyncIterable<Float32Array> {
  for (let start = 0; start < tensor.size; start += SLICE) {
    const values = await readSlice(tensor, start, Math.min(SLICE, tensor.size - start));
    yield values instanceof Float32Array ? values : Float32Array.from(values);
  }
}
