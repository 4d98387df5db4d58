/**
 * Composed forms: what an op is in terms of other ops. A backend that lacks an op's kernels runs and differentiates that, so that it may
 * begin with matrix products and element-wise functions and grow kernel by kernel; and tests hold the kernels against it, which shares
 * no arithmetic with the reference.
 *
 * A backend that has all kernels imports none of this: a device names its forms itself ({@link Device.composed}).
 */
import type { Device } from "../device";
import type { Fields } from "../fields";
import type { Op, Saved } from "../op";
import { activeTape, withoutGradient } from "../tape";
import { collect, scope, type Tensor, tensorsIn } from "../tensor";

/** An op's outputs by other ops; `recording`: whether a tape notes them. */
export type ComposedForm = (inputs: Fields, attributes: never, recording: boolean) => Fields;

/** A form, and the kernels in whose place it stands. */
export interface Composed {
  readonly op: { readonly name: string };
  readonly kernels: readonly string[];
  readonly form: ComposedForm;
}

/** The form of an op, with the types of its inputs and outputs. What it makes on the way is freed for it. */
export function composed<I extends Fields, O extends Fields, Attributes, S extends Saved>(
  op: Op<I, O, Attributes, S>, kernels: readonly string[], form: (inputs: I, attributes: Attributes) => O,
): Composed {
  return { op, kernels, form: (inputs, attributes, recording) => run(op.name, () => form(inputs as I, attributes), recording) };
}

/** What a form makes on the way goes with it, or while a tape records with the tape's walk. */
function run<O extends Fields>(op: string, form: () => O, recording: boolean): O {
  if (!recording) return withoutGradient(() => scope(form));
  const tape = activeTape()!;
  // First on the tape, so last in the walk: frees what the form's ops read and nobody tracks.
  const constants: Tensor[] = [];
  tape.note({ name: op, inputs: [], outputs: [], saved: constants, gradient: () => [] });
  const { result, made } = collect(form);
  const outputs = tensorsIn(result);
  constants.push(...made.filter((t) => !tape.tracks(t) && !outputs.has(t)));
  return result;
}

/** The forms that a device with these kernels needs, by their ops; undefined where it needs none. */
export function formsFor(kernels: Device["kernels"], forms: readonly Composed[]): ReadonlyMap<object, ComposedForm> | undefined {
  const missing = forms.filter((form) => form.kernels.some((name) => !(name in kernels)));
  return missing.length > 0 ? new Map(missing.map(({ op, form }) => [op, form])) : undefined;
}
