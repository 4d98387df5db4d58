/**
 * How another layout's files hold a parameter's numbers: in another shape, with axes turned, or beside other parameters in one tensor. A
 * form is a pair of functions that move numbers and change none, so that what is loaded and saved again is the same to the bit. They run as
 * ops, on the device; what is moved so is small (vectors, low-rank matrices), and never kept as f16, which such ops do not read.
 */
import { check } from "../errors";
import type { Rearranged } from "../model";
import { concat, reshape, slice, transpose } from "../ops/view";
import { type Shape, showShape } from "../shape";
import type { Tensor } from "../tensor";

/** See the file's head. */
export interface Form {
  /** The shape of the file's tensor; with others in it, without the axis that counts them. */
  readonly shape: Shape;
  /** Which of how many parameters it is that stand in the file's tensor, counted by its first axis. Alone there unless given. */
  readonly part?: { readonly index: number; readonly of: number };
  /** The numbers as the file has them. */
  write(own: Tensor): Tensor;
  /** The numbers as the model has them. */
  read(stored: Tensor): Tensor;
  /** Makes a tensor of the parameters in it. It stands in each form, so that a bundle of models without any carries none of this. */
  readonly join: typeof joinForms;
}

/** A form by its shape in files and the two functions. */
export function form(parts: Pick<Form, "shape" | "write" | "read">): Form {
  return { ...parts, join: joinForms };
}

/** The same numbers in the same order: a vector that the model keeps as [1,1,D]. */
export function reshaped(shape: Shape, own: Shape): Form {
  return form({ shape, write: (t) => reshape(t, shape), read: (t) => reshape(t, own) });
}

/** A matrix [a,b] that files hold as [b,a]. */
export function transposed([rows, columns]: readonly [number, number]): Form {
  return form({ shape: [columns, rows], write: (t) => transpose(t, [1, 0]), read: (t) => transpose(t, [1, 0]) });
}

/** One of several parameters that files hold in one tensor. */
export function partOfTensor(index: number, of: number, whole: Form): Form {
  return { ...whole, part: { index, of } };
}

/** The file's tensor that is made of these. Throws `E_ARGUMENT` when they do not fill it. */
export function joinForms(name: string, parts: readonly { readonly parameter: string; readonly form: Form }[]): Rearranged {
  const { shape, part } = parts[0]!.form;
  const count = part?.of ?? 1;
  const inOrder = Array.from({ length: count }, (_, index) => parts.find(({ form }) => (form.part?.index ?? 0) === index)!);
  check(parts.length === count && inOrder.every(Boolean), "E_ARGUMENT", () =>
    `parameters: ${name} holds ${count} of ${showShape(shape)}, but ${parts.map(({ parameter }) => parameter).join(", ")} are said to be `
      + "in it");
  const forms = inOrder.map(({ form }) => form);
  return {
    shape: part ? [count, ...shape] : shape,
    parameters: inOrder.map(({ parameter }) => parameter),
    join: (own) => {
      const stored = own.map((t, i) => forms[i]!.write(t));
      return part ? concat(stored.map((t) => reshape(t, [1, ...shape])), 0) : stored[0]!;
    },
    part: (stored, index) => forms[index]!.read(part ? reshape(slice(stored, 0, index, index + 1), shape) : stored),
  };
}
