/**
 * Reverse-mode gradients by a tape over ops.
 *
 * `vjp(f, inputs)` runs f, noting every op that a tracked tensor flows through; `pullback(cotangents)` walks the
 * notes backwards. A note's outputs and temporaries are freed as soon as the walk has passed it, so that
 * the memory of a training step peaks at the start of the walk. Tensors that f returns are never freed.
 */
import type { DeviceBuffer } from "./device";
import { check } from "./errors";
import { type Fields, isList, mapFields } from "./fields";
import { kernelsOf } from "./kernels";
import type { viewKernels } from "./ops/copy";
import type { memoryKernels } from "./ops/memory";
import { sameShape, type Shape, showShape } from "./shape";
import { dispose, scope, Tensor, tensorsIn, withWindow } from "./tensor";
import { zeros } from "./ops/memory";
import { mapTree, type TreeLike } from "./tree";

const kernels = kernelsOf<typeof memoryKernels & typeof viewKernels>;

/** A call of an op as the tape keeps it. */
export interface Note {
  readonly name: string;
  /** Null where one was left out. */
  readonly inputs: readonly (Tensor | null)[];
  readonly outputs: readonly Tensor[];
  /** Temporaries for `gradient`. They live as long as the note; inputs and outputs are kept anyway. */
  readonly saved: readonly Tensor[];
  /** Gradients of the inputs from those of the outputs, null for zero. */
  gradient(gradients: readonly (Tensor | null)[]): readonly (Tensor | null)[];
}

/** A call of an op, with its tensors by name. */
export interface Call {
  readonly name: string;
  readonly inputs: Fields;
  readonly outputs: Fields;
  readonly saved: readonly Tensor[];
  /** Gradients of the inputs by name, from those of the outputs and whether one is wanted of each input. */
  gradient(
    gradients: Readonly<Record<string, unknown>>, wanted: Readonly<Record<string, unknown>>,
  ): Readonly<Record<string, Gradient | readonly Gradient[]>>;
}

type Gradient = Tensor | null | undefined;

/** All tensors of named fields in order, with null for what is absent. */
function flat(fields: Fields): (Tensor | null)[] {
  const list: (Tensor | null)[] = [];
  for (const name in fields) {
    const field = fields[name]!;
    if (isList(field)) list.push(...field);
    else list.push(field);
  }
  return list;
}

/** The same names with the next values of a list. */
function named<Value>(fields: Fields, values: readonly Value[]): Record<string, Value | Value[]> {
  let at = 0;
  return mapFields(fields, () => values[at++]!);
}

/** Gradients by name in the order of the inputs, with null for what was left out. */
function inOrder(inputs: Fields, gradients: Readonly<Record<string, Gradient | readonly Gradient[]>>): (Tensor | null)[] {
  const ordered: (Tensor | null)[] = [];
  for (const name in inputs) {
    const [field, given] = [inputs[name], gradients[name]];
    if (isList(field)) field.forEach((_, i) => ordered.push((given as readonly Gradient[] | null | undefined)?.[i] ?? null));
    else ordered.push((given as Gradient) ?? null);
  }
  return ordered;
}

/** What is recorded: notes in order, and which tensors a gradient flows through. */
class Tape {
  readonly notes: Note[] = [];
  /** How many {@link withoutGradient} run inside one another: above 0 nothing is recorded. */
  pauses = 0;
  readonly #tracked = new Set<number>();
  constructor(inputs: Iterable<Tensor>) {
    for (const t of inputs) this.#tracked.add(t.id);
  }
  tracks(t: Tensor): boolean {
    return this.#tracked.has(t.id);
  }
  /** Whether a gradient flows through any input of an op; then none may be f16 (`E_DTYPE`). */
  tracksAny(op: string, inputs: Fields): boolean {
    const list = flat(inputs);
    if (!list.some((t) => t !== null && this.tracks(t))) return false;
    const half = list.find((t) => t?.dtype === "f16");
    check(!half, "E_DTYPE", () => `${op}: ${Object.keys(inputs).find((name) => [inputs[name]].flat().includes(half))} `
      + `${showShape(half!.shape)} is f16, through which no gradient is taken; load the model as f32 to train it`);
    return true;
  }
  note(note: Note): void {
    for (const t of note.outputs) this.#tracked.add(t.id);
    this.notes.push(note);
  }
  /** Notes an op's call. All that recording takes is here, so that bundles without gradients go without it. */
  record({ name, inputs, outputs, saved, gradient }: Call): void {
    const list = flat(inputs);
    const needsGradient = list.map((t) => t !== null && this.tracks(t));
    this.note({
      name, inputs: list, outputs: flat(outputs) as Tensor[], saved,
      gradient(gradients) {
        const results = gradient(named(outputs, gradients), named(inputs, needsGradient));
        for (const result in results) {
          check(Object.hasOwn(inputs, result), "E_ARGUMENT", () =>
            `${name}: its gradient gave ${result}, which is none of its inputs; they are ${Object.keys(inputs).join(", ")}`);
        }
        return inOrder(inputs, results).map((gradient, i) => {
          if (needsGradient[i]) return gradient;
          gradient?.dispose();
          return null;
        });
      },
    });
  }
}

/** Written by {@link vjp} alone: bundles without that drop all that is done with a tape. */
let active: Tape | undefined;

/** The tape that records now, if any; for ops. */
export function activeTape(): Tape | undefined {
  return active?.pauses ? undefined : active;
}

/** Whether a tape is recording what becomes of any of these: then nothing that they are computed into may be changed in place. */
export function isRecorded(...tensors: readonly Tensor[]): boolean {
  const tape = activeTape();
  return tape !== undefined && tensors.some((t) => tape.tracks(t));
}

/** Runs `body` without recording: what it computes is a constant for gradients. */
export function withoutGradient<R>(body: () => R): R {
  const tape = active;
  if (tape) tape.pauses++;
  try {
    return body();
  } finally {
    if (tape) tape.pauses--;
  }
}

/**
 * Runs a step of a model, such as a layer, and frees what it made and does not return, as {@link scope} does: a pass then holds what lies
 * inside one step, not inside all. While a tape records nothing is freed: the way back needs what lies in between, and frees it itself.
 */
export function scopeUnlessRecording<R>(body: () => R): R {
  return activeTape() ? body() : scope(body);
}

/** The same values, cut off from the tape: the gradient stops here. Shares memory with its input. */
export function detach(t: Tensor): Tensor {
  return t.window(t.shape);
}

/** What {@link vjp} gives: outputs, and the way back from their gradients to those of the inputs. */
export interface Vjp<I, O> {
  readonly outputs: O;
  /**
   * Gradients of `inputs` given those of `outputs` (a tree of the same nesting, null for zero; gradients may be
   * null anywhere). Inputs that the outputs do not depend on get zeros. May be called once.
   */
  pullback(cotangents: TreeLike<O, Tensor | null>): TreeLike<I, Tensor>;
}

/** Vector-Jacobian product of `f` at `inputs`, both trees of tensors. */
export function vjp<I, O>(f: (inputs: I) => O, inputs: I): Vjp<I, O> {
  check(!activeTape(), "E_SCOPE", () => "vjp: another tape is recording; gradients of gradients are not supported");
  const [outer, tape] = [active, new Tape(tensorsIn(inputs))];
  active = tape;
  let outputs: O;
  try {
    outputs = f(inputs);
    check(!(outputs instanceof Promise), "E_SCOPE", () =>
      "vjp: the function returned a promise; record in synchronous code, and await reads outside of it");
  } finally {
    active = outer;
  }
  let spent = false;
  return {
    outputs,
    pullback(cotangents) {
      check(!spent, "E_SCOPE", () => "pullback: already called; its tape is spent");
      spent = true;
      return scope(() => walkBack(tape, inputs, outputs, cotangents));
    },
  };
}

/** Value and gradient of a scalar function; `aux` passes anything else through (its tensors are not differentiated). */
export function valueAndGradient<P, A = undefined>(
  f: (parameters: P) => { readonly loss: Tensor; readonly aux?: A },
  parameters: P,
): { readonly loss: Tensor; readonly aux: A; readonly gradients: TreeLike<P, Tensor> } {
  const { outputs, pullback } = vjp(f, parameters);
  const { loss, aux } = outputs;
  check(loss instanceof Tensor, "E_ARGUMENT", () => "valueAndGradient: the function must return { loss, aux }, and loss must be a tensor");
  check(loss.size === 1, "E_SHAPE", () => `valueAndGradient: the loss must be one number, not ${showShape(loss.shape)}`);
  const one = Tensor.empty(loss.device, loss.shape, loss.dtype);
  kernels(one).fill({ out: one, value: 1 });
  const cotangents = { loss: one, aux: mapTree(aux, () => null) } as unknown as TreeLike<typeof outputs, Tensor | null>;
  const gradients = pullback(cotangents);
  one.dispose();
  return { loss, aux: aux as A, gradients };
}

function walkBack<I, O>(tape: Tape, inputs: I, outputs: O, cotangents: TreeLike<O, Tensor | null>): TreeLike<I, Tensor> {
  const gradients = new Gradients();
  const escaped = new Set<number>([...tensorsIn(inputs), ...tensorsIn(outputs)].map((t) => t.id));
  seed(gradients, outputs, cotangents);
  for (let note = tape.notes.pop(); note; note = tape.notes.pop()) {
    const incoming = note.outputs.map((t) => gradients.of(t));
    if (incoming.some((g) => g !== null)) {
      const results = note.gradient(incoming);
      note.inputs.forEach((input, i) => {
        const g = results[i];
        if (input && g) gradients.add(input, g, note.name);
      });
    }
    dispose(note.saved);
    for (const t of note.outputs) {
      if (escaped.has(t.id)) continue;
      gradients.drop(t);
      t.dispose();
    }
  }
  return mapTree(inputs, (t) => gradients.own(t));
}

/** What has arrived for each tensor so far. */
class Gradients {
  readonly #byTensor = new Map<number, Tensor>();
  /** Buffers of the cotangents: the caller keeps them, so nothing is added to them in place. */
  readonly #borrowed = new Set<DeviceBuffer>();

  of(t: Tensor): Tensor | null {
    const part = this.#byTensor.get(t.id);
    if (!part || part.size === t.size) return part ?? null;
    const whole = this.#withRoom(part, t);
    withWindow(whole, [t.size - part.size], part.size, (rest) => kernels(t).fill({ out: rest, value: 0 }));
    part.dispose();
    this.#byTensor.set(t.id, whole);
    return whole;
  }

  /** Adds a gradient, or that of the first rows alone, in place, and takes it over. `from`: the op that gave it. */
  add(t: Tensor, gradient: Tensor, from: string): void {
    check(fits(gradient.shape, t.shape), "E_SHAPE", () =>
      `${from}: its gradient gave ${showShape(gradient.shape)} for an input ${showShape(t.shape)}`);
    const before = this.#byTensor.get(t.id);
    if (!before) {
      this.#byTensor.set(t.id, gradient);
      return;
    }
    const [longer, shorter] = before.size < gradient.size ? [gradient, before] : [before, gradient];
    const sum = this.#borrowed.has(longer.buffer) ? copied(longer) : longer;
    withWindow(sum, shorter.shape, 0, (start) => kernels(t).accumulate({ out: start, x: shorter, scale: 1 }));
    for (const part of [before, gradient]) if (part !== sum) part.dispose();
    this.#byTensor.set(t.id, sum);
  }

  /** Adds a cotangent, which stays the caller's. */
  borrow(t: Tensor, cotangent: Tensor): void {
    check(sameShape(t.shape, cotangent.shape), "E_SHAPE", () =>
      `pullback: a cotangent ${showShape(cotangent.shape)} does not fit its output ${showShape(t.shape)}`);
    this.#borrowed.add(cotangent.buffer);
    this.add(t, cotangent.window(cotangent.shape), "pullback");
  }

  drop(t: Tensor): void {
    this.of(t)?.dispose();
    this.#byTensor.delete(t.id);
  }

  /** A gradient for the caller to keep: zeros where nothing arrived. */
  own(t: Tensor): Tensor {
    const gradient = this.of(t);
    if (!gradient) return zeros(t.device, t.shape, t.dtype);
    return this.#borrowed.has(gradient.buffer) ? copied(gradient) : gradient;
  }

  /** The gradient of a tensor's first rows with room for the others behind it: in the same memory where the device can make it longer. */
  #withRoom(part: Tensor, { device, shape, dtype }: Tensor): Tensor {
    const longer = this.#borrowed.has(part.buffer) ? null : part.lengthened(shape);
    if (longer) return longer;
    const copy = Tensor.empty(device, shape, dtype);
    kernels(part).copyStrided({ x: part, out: copy, xOffset: 0, outOffset: 0, layout: { sizes: [part.size], strides: [[1], [1]] } });
    return copy;
  }
}

/** Whether a gradient is one of the tensor, or of its first rows. */
function fits(gradient: Shape, tensor: Shape): boolean {
  return sameShape(gradient, tensor) ||
    (gradient.length === tensor.length && gradient[0]! < tensor[0]! && sameShape(gradient.slice(1), tensor.slice(1)));
}

function copied(t: Tensor): Tensor {
  const copy = zeros(t.device, t.shape, t.dtype);
  kernels(t).accumulate({ out: copy, x: t, scale: 1 });
  return copy;
}

function seed(gradients: Gradients, outputs: unknown, cotangents: unknown): void {
  if (outputs instanceof Tensor) {
    if (cotangents instanceof Tensor) gradients.borrow(outputs, cotangents);
  } else if (outputs !== null && typeof outputs === "object" && cotangents !== null && typeof cotangents === "object") {
    for (const [key, child] of Object.entries(outputs)) seed(gradients, child, (cotangents as Record<string, unknown>)[key]);
  }
}
