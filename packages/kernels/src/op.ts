/**
 * What an op is: one object with a shape rule, a forward and a gradient. `apply` runs it and, while a tape
 * records and one of its inputs is tracked, leaves a note on the tape (tape.ts).
 *
 * Inputs and outputs have names. One of them may be a list of tensors.
 */
import type { Device } from "./device";
import type { DType } from "./dtype";
import { check, LenggenError } from "./errors";
import { type Shape, showShape } from "./shape";
import { activeTape, type NoteInput } from "./tape";
import { Tensor } from "./tensor";

/** A tensor, null where it may be left out (a bias, an initial state), or a list. */
export type Field = Tensor | null | readonly Tensor[];

/** Named tensors. */
export type Fields = Readonly<Record<string, Field>>;

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

const NOTHING: Saved = {};

const isList = (field: unknown): field is readonly Tensor[] => Array.isArray(field);

/** All tensors of named fields in order, with null for what is absent. */
function flat(fields: Fields): NoteInput[] {
  const list: NoteInput[] = [];
  for (const name of Object.keys(fields)) {
    const field = fields[name]!;
    if (isList(field)) list.push(...field);
    else list.push(field);
  }
  return list;
}

/** The same names with the next values of a list. */
function named<Value>(fields: Fields, values: readonly Value[]): Record<string, Value | Value[]> {
  let at = 0;
  const result: Record<string, Value | Value[]> = {};
  for (const name of Object.keys(fields)) {
    const field = fields[name]!;
    result[name] = isList(field) ? field.map((): Value => values[at++]!) : values[at++]!;
  }
  return result;
}

/** Runs an op. Inputs must share one device. Returns the outputs by name. */
export function apply<I extends Fields, O extends Fields, Attributes,
  S extends Saved>(op: Op<I, O, Attributes, S>, inputs: I, attributes: Attributes): O {
  checkTensors(op.name, inputs, op.optional);
  const list = flat(inputs);
  const device = commonDevice(op.name, list);
  const tape = activeTape();
  const recording = tape !== undefined && list.some((t) => t !== null && tape.tracks(t));
  if (list.some((t) => t?.dtype === "f16")) refuseHalves(op.name, inputs, op.halves ?? [], recording);
  const specs = op.outputs(inputs, attributes);
  const form = device.composed?.get(op);
  if (form) return form(inputs as never, attributes as never, recording) as O;
  const outputs = emptied(device, specs) as O;
  let saved: Partial<Saved>;
  try {
    saved = op.forward(inputs, outputs, attributes, { recording }) ?? NOTHING;
  } catch (error) {
    for (const t of flat(outputs)) t?.dispose(); // nobody else could
    throw error;
  }
  const kept = saved === NOTHING ? [] : Object.values(saved).filter((t) => t !== undefined);
  if (!recording) {
    for (const t of kept) t.dispose();
    return outputs;
  }
  const needsGradient = list.map((t) => t !== null && tape.tracks(t));
  tape.note({
    name: op.name, inputs: list, outputs: flat(outputs) as Tensor[], saved: kept,
    gradient(gradients) {
      const record = { inputs, outputs, saved: saved as S, attributes, wanted: named(inputs, needsGradient) as Each<I, boolean> };
      const results = op.gradient(record, named(outputs, gradients) as Gradients<O>) as Readonly<Record<string, unknown>>;
      for (const name in results) {
        check(Object.hasOwn(inputs, name), "E_ARGUMENT", () =>
          `${op.name}: its gradient gave ${name}, which is none of its inputs; they are ${Object.keys(inputs).join(", ")}`);
      }
      const ordered: (Tensor | null)[] = [];
      for (const name of Object.keys(inputs)) {
        const [field, result] = [inputs[name], results[name]];
        if (isList(field)) field.forEach((_, i) => ordered.push((result as readonly (Tensor | null)[] | null | undefined)?.[i] ?? null));
        else ordered.push((result as Tensor | null | undefined) ?? null);
      }
      return ordered.map((gradient, i) => {
        if (needsGradient[i]) return gradient;
        gradient?.dispose();
        return null;
      });
    },
  });
  return outputs;
}

function commonDevice(op: string, list: readonly NoteInput[]): Device {
  const device = list.find((t) => t !== null)?.device;
  check(device, "E_ARGUMENT", () => `${op}: needs at least one tensor`);
  for (const t of list) {
    if (t === null || (t.device === device && !t.disposed)) continue;
    check(t.device === device, "E_DEVICE", () =>
      `${op}: one input is on ${device.kind}, another on `
        + `${t.device.kind === device.kind ? `another device ${device.kind}` : t.device.kind}; move them to one device first`);
    check(!t.disposed, "E_DISPOSED", () => `${op}: input ${showShape(t.shape)} has been freed`);
  }
  return device;
}

/**
 * Refuses inputs that are no tensors, as numbers, arrays and what was left out are where JavaScript calls (`E_ARGUMENT`). Public functions
 * that look into an input before {@link apply} does call it first.
 */
export function checkTensors(op: string, inputs: Fields, optional: readonly PropertyKey[] = []): void {
  for (const name in inputs) {
    const field = inputs[name]!;
    for (const t of isList(field) ? field : [field]) {
      if (t instanceof Tensor || (t === null && field === t && optional.includes(name))) continue;
      const given = t && typeof t === "object" ? "an object" : String(t);
      const instead = typeof field === "number" ? "addScalar and scale take plain numbers" : "tensor(device, values, shape) makes one";
      throw new LenggenError("E_ARGUMENT",
        `${op}: ${name} is ${isList(field) ? `a list with ${given} in it` : given}, where a tensor must be; ${instead}`);
    }
  }
}

function refuseHalves(op: string, inputs: Fields, halves: readonly string[], recording: boolean): void {
  for (const [name, field] of Object.entries(inputs)) {
    for (const t of isList(field) ? field : [field]) {
      if (t?.dtype !== "f16") continue;
      check(halves.includes(name), "E_DTYPE",
        () => `${op}: input ${showShape(t.shape)} is f16, a type for weights that linear, embedding and crossEntropy read; `
          + "this op takes f32");
      check(!recording, "E_DTYPE",
        () => `${op}: weight ${showShape(t.shape)} is f16, through which no gradient is taken; load the model as f32 to train it`);
    }
  }
}

function emptied(device: Device, specs: Readonly<Record<string, OutputSpec | readonly OutputSpec[]>>): Record<string, Tensor | Tensor[]> {
  const make = ({ shape, dtype }: OutputSpec) => Tensor.empty(device, shape, dtype);
  const result: Record<string, Tensor | Tensor[]> = {};
  for (const name of Object.keys(specs)) {
    const spec = specs[name]!;
    result[name] = isSpecs(spec) ? spec.map(make) : make(spec);
  }
  return result;
}

const isSpecs = (spec: OutputSpec | readonly OutputSpec[]): spec is readonly OutputSpec[] => Array.isArray(spec);

/** A tensor like another, for its gradient. */
export function like(t: Tensor): Tensor;
export function like(t: Tensor | null): Tensor | null;
export function like(t: Tensor | null): Tensor | null {
  return t && Tensor.empty(t.device, t.shape, t.dtype);
}
