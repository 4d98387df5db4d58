/**
 * What an op is: one object with a shape rule, a forward and a gradient. `apply` runs it and, while a tape
 * records and one of its inputs is tracked, leaves a note on the tape (tape.ts).
 *
 * Inputs and outputs have names. One of them may be a list of tensors.
 */
import type { Device } from "./device";
import type { DType } from "./dtype";
import { check, type ErrorCode, LenggenError } from "./errors";
import { type Fields, isList, mapFields } from "./fields";
import { type Shape, showShape } from "./shape";
import { activeTape } from "./tape";
import { Tensor } from "./tensor";

/** Shape and dtype of an output, for its allocation. */
export interface OutputSpec {
  readonly shape: Shape;
  readonly dtype: DType;
}

/** For each field, one value of its own: a list of them where the field is a list. */
type Each<F, Value> = { readonly [N in keyof F]: F[N] extends readonly unknown[] ? readonly Value[] : Value };

/** Whether a record has one name alone. */
type IsOnly<Name, All = Name> = Name extends unknown ? ([All] extends [Name] ? true : false) : never;

/** Gradients of outputs: null is zero, and never all are null. */
type Gradients<O> = IsOnly<keyof O> extends true
  ? { readonly [N in keyof O]: O[N] extends readonly unknown[] ? readonly (Tensor | null)[] : Tensor }
  : Each<O, Tensor | null>;

/** What a forward pass leaves for the gradient beside inputs and outputs. */
export type Saved = Readonly<Record<string, Tensor>>;

/** What `forward` is given beside its tensors and attributes. */
export interface OpContext {
  /** False when no gradient will be asked for: then nothing needs to be saved. */
  readonly recording: boolean;
}

/** A call of an op as its gradient sees it. */
export interface OpRecord<I, O, Attributes, S> {
  readonly inputs: I;
  readonly outputs: O;
  /** What `forward` returned. */
  readonly saved: S;
  readonly attributes: Attributes;
  /** Which inputs a gradient is wanted for. */
  readonly wanted: Each<I, boolean>;
}

/** A differentiable operation: shape rule, forward and gradient in one object. */
export interface Op<I extends Fields, O extends Fields, Attributes = undefined, S extends Saved = Readonly<Record<never, never>>> {
  readonly name: string;
  /** Which inputs may be f16: weights, through which no gradient is taken. None unless given. */
  readonly halves?: readonly (keyof I & string)[];
  /** Which inputs may be null. None unless given. */
  readonly optional?: readonly { [N in keyof I]: null extends I[N] ? N : never }[keyof I][];
  /** Shape rule: checks inputs and attributes (throws `E_SHAPE`, `E_DTYPE`, `E_ARGUMENT`) and says what comes out. */
  outputs(inputs: I, attributes: Attributes): Each<O, OutputSpec>;
  /**
   * Launches kernels that write all of `outputs`; returns what the gradient needs beside inputs and outputs, which lives as long as the
   * tape's note. What is spread into the kernels' arguments stands last: an object literal that goes on behind a
   * spread gets a hidden class of its own at each call (V8 of Node 20), which stays until the next full collection.
   */
  forward(inputs: I, outputs: O, attributes: Attributes, context: OpContext): { readonly [N in keyof S]?: Tensor } | void;
  /**
   * Gradients of the inputs from those of the outputs (null: that output's gradient is zero; never all null).
   * Returns a fresh tensor for each wanted input; others may be left out or null. One with fewer rows than its input (along the first axis)
   * is the gradient of the first ones; that of the others is zero. Never writes into its arguments.
   */
  gradient(record: OpRecord<I, O, Attributes, S>, gradients: Gradients<O>): { readonly [N in keyof I]?: Tensor | null
    | readonly (Tensor | null)[] };
}

/** Runs an op. Inputs must share one device. Returns the outputs by name. */
export function apply<I extends Fields, O extends Fields, Attributes,
  S extends Saved>(op: Op<I, O, Attributes, S>, inputs: I, attributes: Attributes): O {
  const device = commonDevice(op, inputs);
  check(device, "E_ARGUMENT", () => `${op.name}: needs at least one tensor`);
  const tape = activeTape();
  const recording = tape?.tracksAny(op.name, inputs) ?? false;
  const specs: Readonly<Record<string, OutputSpec | readonly OutputSpec[]>> = op.outputs(inputs, attributes);
  const form = device.composed?.get(op);
  if (form) return form(inputs as never, attributes as never, recording) as O;
  const outputs = mapFields(specs, ({ shape, dtype }) => Tensor.empty(device, shape, dtype)) as Fields as O;
  let saved: Partial<Saved>;
  try {
    saved = op.forward(inputs, outputs, attributes, { recording }) ?? {};
  } catch (error) {
    for (const t of Object.values(outputs).flat()) t?.dispose(); // nobody else could
    throw error;
  }
  const kept = Object.values(saved).filter((t) => t !== undefined);
  if (tape && recording) {
    tape.record({
      name: op.name, inputs, outputs, saved: kept,
      gradient: (gradients, wanted) =>
        op.gradient({ inputs, outputs, saved: saved as S, attributes, wanted: wanted as Each<I, boolean> }, gradients as Gradients<O>),
    });
  } else for (const t of kept) t.dispose();
  return outputs;
}

/**
 * Refuses inputs that are no tensors, as numbers, arrays and what was left out are where JavaScript calls (`E_ARGUMENT`), and what
 * {@link apply} refuses beside. Public functions that look into an input before that call this first.
 */
export function checkTensors(op: string, inputs: Fields, optional: readonly PropertyKey[] = []): void {
  commonDevice({ name: op, optional, halves: Object.keys(inputs) }, inputs);
}

/** What of an op decides which inputs it takes. */
interface Taking {
  readonly name: string;
  readonly halves?: readonly string[];
  readonly optional?: readonly PropertyKey[];
}

/** The device of all inputs, if there are any. Refuses by its name what is no tensor, elsewhere, freed, or f16 where the op reads f32. */
function commonDevice(op: Taking, inputs: Fields): Device | undefined {
  let first: { readonly name: string; readonly device: Device } | undefined;
  for (const name in inputs) {
    const field: unknown = inputs[name];
    for (const t of isList(field) ? field : [field]) {
      if (t === null && field === t && op.optional?.includes(name)) continue;
      let fault: readonly [ErrorCode, string];
      if (!(t instanceof Tensor)) {
        const given = t && typeof t === "object" ? "an object" : String(t);
        fault = ["E_ARGUMENT", `is ${isList(field) ? `a list with ${given} in it` : given}, where a tensor must be; `
          + (typeof field === "number" ? "addScalar and scale take plain numbers" : "tensor(device, values, shape) makes one")];
      } else if (t.device !== (first ??= { name, device: t.device }).device) {
        const { kind } = first.device;
        fault = ["E_DEVICE", `is on ${t.device.kind}, ${first.name} on ${kind === t.device.kind ? "another " : ""}${kind}; `
          + "move them to one device first"];
      } else if (t.disposed) fault = ["E_DISPOSED", `${showShape(t.shape)} was used after it had been freed`];
      else if (t.dtype === "f16" && !op.halves?.includes(name)) {
        fault = ["E_DTYPE", `${showShape(t.shape)} is f16, a type for weights that linear, embedding and crossEntropy read; `
          + "this op takes f32"];
      } else continue;
      throw new LenggenError(fault[0], `${op.name}: ${name} ${fault[1]}`);
    }
  }
  return first?.device;
}

/** A tensor like another, for its gradient. */
export function like(t: Tensor): Tensor;
export function like(t: Tensor | null): Tensor | null;
export function like(t: Tensor | null): Tensor | null {
  return t && Tensor.empty(t.device, t.shape, t.dtype);
}
