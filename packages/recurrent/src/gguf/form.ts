/** How a model stands in a GGUF file: the values that describe it, and of which parameters each tensor is made. */
import { check, type SequenceModel, type Shape, sizeOf } from "@lenggen/kernels";
import type { GgufDType, GgufMetadata, GgufTensor, ParameterNumbers } from "@lenggen/kernels/gguf";

/** What becomes of numbers on their way into the file. */
export type Change =
  /** The last two axes exchanged. */
  | "transposed"
  /** -exp(x): files hold A, checkpoints A_log. */
  | "negativeExp";

/** A tensor of the file. */
export interface GgufPart {
  /** Of which parameters it is made, one behind the other. */
  readonly from: readonly string[];
  /** Its shape, the slowest axis first. Where one parameter has more numbers, these are the first. */
  readonly shape: Shape;
  readonly change?: Change;
}

/** A model in the form of llama.cpp. */
export interface GgufForm {
  readonly metadata: GgufMetadata;
  /** By name, in the order of the file. */
  readonly parts: Readonly<Record<string, GgufPart>>;
}

/**
 * How many tokens a context is said to have, which llama.cpp has to know and these families have no limit for: as in the files that its own
 * program makes.
 */
const CONTEXT = 2 ** 20;

/** The values that llama.cpp reads of any family. It asks for heads of attention too, and has no use for them. */
export function commonMetadata(family: string, { width, layers, innerWidth }: { width: number; layers: number; innerWidth: number }) {
  return {
    "general.architecture": ["string", family],
    [`${family}.context_length`]: ["u32", CONTEXT],
    [`${family}.embedding_length`]: ["u32", width],
    [`${family}.feed_forward_length`]: ["u32", innerWidth],
    [`${family}.block_count`]: ["u32", layers],
    [`${family}.attention.head_count`]: ["u32", 0],
  } satisfies GgufMetadata as GgufMetadata;
}

/** A table of a row for each token, without the rows of padding. */
export function tokenTable(name: string, { vocabulary, width }: { vocabulary: number; width: number }): GgufPart {
  return { from: [name], shape: [vocabulary, width] };
}

/**
 * The tensors of a file. With f16 those parts are it whose parameters may be; llama.cpp wants the others in f32. What has to be changed is
 * taken into memory whole, which never is a model's largest tensor.
 */
export function ggufTensors(model: SequenceModel, { parts }: GgufForm, numbers: ParameterNumbers, dtype: "f32" | "f16"): GgufTensor[] {
  const halves = (name: string): boolean => model.halves?.(name) ?? false;
  return Object.entries(parts).map(([name, part]) => {
    const type: GgufDType = dtype === "f16" && part.from.every(halves) ? "F16" : "F32";
    return { name, shape: part.shape, dtype: type, numbers: () => numbersFor(part, numbers) };
  });
}

async function* numbersFor({ from, shape, change }: GgufPart, numbers: ParameterNumbers): AsyncIterable<Float32Array> {
  for (const name of from) {
    const most = sizeOf(shape) / from.length;
    const taken = first(numbers(name), most);
    if (change === "transposed") yield transposed(await whole(taken, most, name), shape);
    else if (change === "negativeExp") for await (const values of taken) yield values.map((x) => -Math.exp(x));
    else yield* taken;
  }
}

/** The first numbers, so many of them. */
async function* first(pieces: AsyncIterable<Float32Array>, count: number): AsyncIterable<Float32Array> {
  let left = count;
  for await (const values of pieces) {
    yield values.length <= left ? values : values.subarray(0, left);
    left -= values.length;
    if (left <= 0) return;
  }
}

async function whole(pieces: AsyncIterable<Float32Array>, size: number, name: string): Promise<Float32Array> {
  const all = new Float32Array(size);
  let at = 0;
  for await (const values of pieces) {
    all.set(values, at);
    at += values.length;
  }
  check(at === size, "E_SHAPE", () => `gguf: ${name} has ${at} numbers, and not ${size}`);
  return all;
}

/** Numbers [..., C, R] as [..., R, C], which is `shape`. */
function transposed(values: Float32Array, shape: Shape): Float32Array {
  const [rows, columns] = shape.slice(-2) as [number, number];
  const out = new Float32Array(values.length);
  for (let from = 0; from < values.length; from += rows * columns) {
    for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[from + i * columns + j] = values[from + j * rows + i]!;
  }
  return out;
}
