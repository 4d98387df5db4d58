/** Ops by the places of their inputs: what families that are not converted yet use. */
import type { DType } from "./dtype";
import { apply, type Fields, type Op } from "./op";
import type { Shape } from "./shape";
import type { Tensor } from "./tensor";

export type OpInput = Tensor | null;

export interface ListOp<Attributes> {
  readonly name: string;
  readonly halves?: readonly number[];
  outputs(inputs: readonly OpInput[], attributes: Attributes): readonly { readonly shape: Shape; readonly dtype: DType }[];
  forward(inputs: readonly OpInput[], outputs: readonly Tensor[], attributes: Attributes, context: { readonly recording: boolean; readonly saved: Tensor[] }): void;
  gradient(record: {
    readonly inputs: readonly OpInput[]; readonly outputs: readonly Tensor[]; readonly saved: readonly Tensor[];
    readonly attributes: Attributes; readonly wanted: readonly boolean[];
  }, gradients: readonly (Tensor | null)[]): readonly (Tensor | null)[];
}

const names = (count: number) => Array.from({ length: count }, (_, i) => `input${i}`);

export function applyList<Attributes>(op: ListOp<Attributes>, inputs: readonly OpInput[], attributes: Attributes): Tensor[] {
  const place = Object.fromEntries(names(inputs.length).map((name, i) => [name, inputs[i]!]));
  const list = <T>(fields: Readonly<Record<string, T>>): T[] => Object.values<T>(fields);
  const wrapped: Op<Fields, { readonly all: readonly Tensor[] }, Attributes> = {
    name: op.name,
    halves: op.halves?.map((i) => `input${i}`) ?? [],
    outputs: (given, a) => ({ all: op.outputs(list(given) as OpInput[], a) }),
    forward(given, { all }, a, { recording }) {
      const saved: Tensor[] = [];
      op.forward(list(given) as OpInput[], all, a, { recording, saved });
      return Object.fromEntries(saved.map((t, i) => [`saved${i}`, t]));
    },
    gradient({ inputs: given, outputs: { all }, saved, attributes: a, wanted }, gradients) {
      const results = op.gradient({ inputs: list(given) as OpInput[], outputs: all, saved: list<Tensor>(saved), attributes: a, wanted: list(wanted) as boolean[] }, gradients.all);
      return Object.fromEntries(results.map((t, i) => [`input${i}`, t]));
    },
  };
  return apply(wrapped, place, attributes).all as Tensor[];
}
