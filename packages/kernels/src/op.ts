/**
 * What an op is: one object with a shape rule, a forward and a gradient. `apply` runs it and, while a tape
 * records and one of its inputs is tracked, leaves a note on the tape (tape.ts).
 */
import type { DType } from "./dtype";
import { check } from "./errors";
import { type Shape, showShape } from "./shape";
import { activeTape } from "./tape";
import { Tensor } from "./tensor";

/** An input that may be left out (a bias, an initial state) is null. */
export type OpInput = Tensor | null;

/** Shape and dtype of an output, for its allocation. */
export interface OutputSpec {
  readonly shape: Shape;
  readonly dtype: DType;
}

/** What `forward` leaves for `gradient`. */
export interface OpContext {
  /** False when no gradient will be asked for: then nothing needs to be saved. */
  readonly recording: boolean;
  /** Temporaries for `gradient`. They live as long as the tape's note; inputs and outputs are kept anyway. */
  readonly saved: Tensor[];
}

/** A call of an op as the tape keeps it. */
export interface OpRecord<Attributes> {
  readonly inputs: readonly OpInput[];
  readonly outputs: readonly Tensor[];
  readonly saved: readonly Tensor[];
  readonly attributes: Attributes;
  /** Which inputs a gradient is wanted for. */
  readonly wanted: readonly boolean[];
}

/** A differentiable operation: shape rule, forward and gradient in one object. */
export interface Op<Attributes> {
  readonly name: string;
  /** Which inputs may be f16: weights, through which no gradient is taken. None unless given. */
  readonly halves?: readonly number[];
  /** Shape rule: checks inputs and attributes (throws `E_SHAPE`, `E_DTYPE`, `E_ARGUMENT`) and says what comes out. */
  outputs(inputs: readonly OpInput[], attributes: Attributes): readonly OutputSpec[];
  /**
   * Launches kernels that write all of `outputs`. What is spread into their arguments stands last: an object literal that goes on behind a
   * spread gets a hidden class of its own at each call (V8 of Node 20), which stays until the next full collection.
   */
  forward(inputs: readonly OpInput[], outputs: readonly Tensor[], attributes: Attributes, context: OpContext): void;
  /**
   * Gradients of the inputs from those of the outputs (null: that output's gradient is zero; never all null).
   * Returns a fresh tensor for each wanted input, null for the others. One with fewer rows than its input (along the first axis) is the
   * gradient of the first ones; that of the others is zero. Never writes into its arguments.
   */
  gradient(record: OpRecord<Attributes>, gradients: readonly (Tensor | null)[]): readonly (Tensor | null)[];
}

/** Runs an op. Inputs must share one device. */
export function apply<Attributes>(op: Op<Attributes>, inputs: readonly OpInput[], attributes: Attributes): Tensor[] {
  const device = inputs.find((t) => t !== null)?.device;
  check(device, "E_ARGUMENT", () => `${op.name}: needs at least one tensor`);
  for (const t of inputs) {
    check(t === null || t.device === device, "E_DEVICE", () =>
      `${op.name}: one input is on ${device.kind}, another on ${t?.device.kind === device.kind ? `another device ${device.kind}` : t?.device.kind}; move them to one device first`);
    check(t === null || !t.disposed, "E_DISPOSED", () => `${op.name}: input ${showShape(t!.shape)} has been freed`);
  }
  const tape = activeTape();
  const recording = tape !== undefined && inputs.some((t) => t !== null && tape.tracks(t));
  inputs.forEach((t, i) => {
    if (t?.dtype !== "f16") return;
    check(op.halves?.includes(i), "E_DTYPE", () => `${op.name}: input ${showShape(t.shape)} is f16, a type for weights that linear, embedding and crossEntropy read; this op takes f32`);
    check(!recording, "E_DTYPE", () => `${op.name}: weight ${showShape(t.shape)} is f16, through which no gradient is taken; load the model as f32 to train it`);
  });
  const outputs = op.outputs(inputs, attributes).map(({ shape, dtype }) => Tensor.empty(device, shape, dtype));
  const saved: Tensor[] = [];
  op.forward(inputs, outputs, attributes, { recording, saved });
  if (recording) tape.note(op, inputs, outputs, saved, attributes);
  else for (const t of saved) t.dispose();
  return outputs;
}
