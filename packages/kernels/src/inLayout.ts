/** A checkpoint as another program of its family's has it: other names, and the same numbers where and how those have them. */
import { allParameters } from "./checkpoint";
import type { Device } from "./device";
import { check } from "./errors";
import { encode, isFileDType, type WritableDType } from "./fileDtype";
import type { SequenceModel } from "./model";
import { sameShape, showShape } from "./shape";
import { keep, scope, type Tensor } from "./tensor";
import { readSlice } from "./safetensors";
import { type FileTensor, SLICE, tensorFile, type TensorFile } from "./tensorFile";

interface Entry extends FileTensor {
  bytes(): AsyncIterable<Uint8Array>;
}

/**
 * A file that holds a model's checkpoint in the layout of `target`, which is the same model saved otherwise. Types of numbers are kept.
 * What only has another name is read as it is asked for, in slices; what has another form (of which no tensor is large) is put together on
 * `device`. Throws `E_WEIGHTS` where the file does not fit the model, or the two models are not the same.
 */
export function inLayout(model: SequenceModel, file: TensorFile, target: SequenceModel, device: Device): TensorFile {
  const { weights, names, plain } = allParameters(model, file);
  const shapes = target.parameterShapes();
  for (const [name, shape] of Object.entries(shapes)) {
    const found = Object.hasOwn(weights.tensors, name) ? weights.tensors[name]!.shape : undefined;
    check(found && sameShape(found, shape), "E_WEIGHTS", () => `weights: the other layout's model has ${name} as ${showShape(shape)}, this `
      + `checkpoint ${found ? showShape(found) : "has none"}`);
  }
  const load = async (name: string): Promise<Tensor> => {
    const wide = weights.tensors[name]!.dtype === "F64" && device.dtypes.includes("f64") ? "f64" : "f32";
    return weights.load(name, device, wide);
  };
  const alone = (name: string): Entry => ({
    dtype: weights.tensors[name]!.dtype,
    shape: shapes[name]!,
    bytes: () => (plain.has(name) ? file.bytes(names.get(name)!) : bytesOf(load(name), weights.tensors[name]!.dtype, name)),
  });
  const { written = Object.fromEntries(Object.keys(shapes).map((name) => [name, name])), rearranged = {} } = target.checkpoint ?? {};
  const tensors = Object.create(null) as Record<string, Entry>;
  for (const [stored, name] of Object.entries(written)) tensors[stored] = alone(name);
  for (const [stored, { shape, parameters, join, older }] of Object.entries(rearranged)) {
    if (older) continue;
    const dtype = commonType(parameters.map((name) => weights.tensors[name]!.dtype));
    const joined = async (): Promise<Tensor> => {
      const parts: Tensor[] = [];
      try {
        for (const name of parameters) parts.push(await load(name));
        return keep(scope(() => join(parts)));
      } finally {
        for (const part of parts) part.dispose();
      }
    };
    tensors[stored] = { dtype, shape, bytes: () => bytesOf(joined(), dtype, stored) };
  }
  return tensorFile({ file: "the checkpoint in its new layout", tensors, metadata: {}, stream: (entry) => entry.bytes() });
}

/** The type of numbers that stand in one tensor: what holds them all. */
function commonType(types: readonly string[]): string {
  const [first] = types;
  if (types.every((type) => type === first)) return first!;
  return types.includes("F64") ? "F64" : "F32";
}

async function* bytesOf(made: Promise<Tensor>, dtype: string, what: string): AsyncIterable<Uint8Array> {
  const tensor = await made;
  try {
    check(isFileDType(dtype), "E_DTYPE", () => `tensor ${what} can't be written as ${dtype}`);
    for (let start = 0; start < tensor.size; start += SLICE) {
      const values = await readSlice(tensor, start, Math.min(SLICE, tensor.size - start));
      yield encode(values, tensor.dtype, dtype as WritableDType, `tensor ${what}`);
    }
  } finally {
    tensor.dispose();
  }
}
