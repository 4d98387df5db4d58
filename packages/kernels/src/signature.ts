/**
 * Kernels as data: what a kernel takes and gives, declared once beside its op. From the declaration come the TypeScript type of every
 * backend's implementation (here), what is passed to native code (backends/cpu/pack.ts), the C++ struct that it arrives in and the
 * checks of its bounds (scripts/signatures.mjs).
 *
 * A tensor is `TYPE[sizes]`:
 *  * TYPE is nothing for the device's real type (f32; f64 on `reference` where asked), `i32`, `weight` (real, or f16) or `any`.
 *  * A size is a name among the kernel's numbers, `name-1`, `name+1`, a whole number, or `a/b` for the quotient rounded up. `[*]` is
 *    for any
 *    number of elements.
 *  * A `?` behind it: may be null. A `...` behind it: a list of tensors, whose i-th sees the i-th of numbers that are a list; `...?`: a
 *    list
 *    of which each may be null.
 */
import type { Layout } from "./ops/layout";
import type { Key } from "./random";
import type { Tensor } from "./tensor";

/**
 * A number that goes with a launch: a whole one of at least 0 (`size`), any whole one (`int`), one that kernels take as f32 (`real`, where
 * a subnormal number may be 0) or as it is (`number`), a flag, or one of the given names. The others are lists, of which a kernel has at
 * most one, its last number: `sizes`, `reals`, the two words of a random `key` (`key?`: none where it is null), a loop nest.
 */
export type NumberKind = "size" | "int" | "real" | "number" | "flag" | readonly string[] | "sizes" | "reals" | "key" | "key?" | "nest";

/** What a kernel takes and gives; the order of names is the order in which native code gets them. */
export interface Signature {
  readonly numbers: Readonly<Record<string, NumberKind>>;
  readonly reads: Readonly<Record<string, string>>;
  /** Of a gradient: what its forward kernel saved. */
  readonly saved?: Readonly<Record<string, string>>;
  /** Written whole, unless the kernel says that it accumulates. */
  readonly writes: Readonly<Record<string, string>>;
  /**
   * What a forward kernel leaves for its gradient, in the form that the native kernels have. Another backend may save less, or in other
   * shapes under these names: only its own gradient looks.
   */
  readonly saves?: Readonly<Record<string, string>>;
}

/** The kernels of one family by name. */
export type Family = Readonly<Record<string, Signature>>;

type TensorOf<S extends string> =
  S extends `${string}]...?` ? readonly (Tensor | null)[] :
  S extends `${string}]...` ? readonly Tensor[] :
  S extends `${string}]?` ? Tensor | null : Tensor;

type NumberOf<K extends NumberKind> =
  K extends "flag" ? boolean :
  K extends "nest" ? Layout :
  K extends "sizes" | "reals" ? readonly number[] :
  K extends "key" ? Key :
  K extends "key?" ? Key | null :
  K extends readonly (infer Name)[] ? Name : number;

type Tensors<T> = { readonly [N in keyof T]: T[N] extends string ? TensorOf<T[N]> : never };

/** What a kernel is called with. `recording`: whether a gradient will be asked for, so that something must be saved. */
export type ArgumentsOf<S extends Signature> = Tensors<S["reads"]> & Tensors<S["writes"]> &
  { readonly [N in keyof S["numbers"]]: NumberOf<S["numbers"][N]> } &
  (S["saves"] extends object ? { readonly recording: boolean } : unknown) &
  (S["saved"] extends object ? { readonly saved: Tensors<S["saved"]> } : unknown);

/** What a gradient kernel gets of its forward kernel. */
export type SavedFor<S extends Signature> = S["saved"] extends object ? Tensors<S["saved"]> : never;

/** What a forward kernel gives back: what it saved. Its caller frees that. */
export type SavedBy<S extends Signature> = S["saves"] extends object ? { readonly [N in keyof S["saves"]]?: Tensor } : void;

/** The functions that a backend has for a family: each checks nothing (the op's shape rule has) and returns at once. */
export type KernelsOf<F extends Family> = { readonly [N in keyof F]: (args: ArgumentsOf<F[N]>) => SavedBy<F[N]> };

/** A size as numbers make it: a name or a whole number, or two of them with a sign, of which `/` rounds up. */
export interface SizeForm {
  readonly left: string | number;
  readonly sign?: "-" | "+" | "/";
  readonly right?: string | number;
}

/** The parts of a tensor's declaration. */
export interface TensorForm {
  readonly type: "real" | "i32" | "weight" | "any";
  /** Undefined for any number of elements. */
  readonly sizes: readonly SizeForm[] | undefined;
  readonly optional: boolean;
  readonly list: boolean;
}

/** Reads a tensor's declaration. */
export function tensorForm(text: string): TensorForm {
  const [, type, sizes, list, optional] = /^(|i32|weight|any)\[([^\]]*)\](\.\.\.)?(\?)?$/.exec(text) ?? [];
  if (type === undefined || sizes === undefined) throw new Error(`"${text}" declares no tensor`);
  return {
    type: (type || "real") as TensorForm["type"],
    sizes: sizes === "*" ? undefined : sizes.split(",").filter(Boolean).map(sizeForm),
    optional: optional !== undefined,
    list: list !== undefined,
  };
}

/** Reads `rows`, `width-1`, `steps/chunk`, `4`. */
function sizeForm(text: string): SizeForm {
  const [, left, sign, right] = /^(\w+)(?:([-+/])(\w+))?$/.exec(text) ?? [];
  if (left === undefined) throw new Error(`"${text}" is no size`);
  const term = (word: string) => (/^\d+$/.test(word) ? Number(word) : word);
  return right === undefined ? { left: term(left) } : { left: term(left), sign: sign as "-" | "+" | "/", right: term(right) };
}

/** What a size is for these numbers. */
export function sizeFrom({ left, sign, right }: SizeForm, numbers: Readonly<Record<string, unknown>>): number {
  const value = (term: string | number) => (typeof term === "number" ? term : (numbers[term] as number));
  if (sign === undefined) return value(left);
  const [a, b] = [value(left), value(right!)];
  return sign === "/" ? Math.ceil(a / b) : sign === "-" ? a - b : a + b;
}

/** Whether a kind is a list, which stands last among the numbers. */
export function isList(kind: NumberKind): boolean {
  return kind === "sizes" || kind === "reals" || kind === "key" || kind === "key?" || kind === "nest";
}
