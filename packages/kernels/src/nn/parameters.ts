/**
 * Parameters by specification: each is described once (shape, starting values, weight decay, half precision, names in files), in a tree
 * that is shaped as the model is. From the tree follow the shapes, the draw of fresh parameters, what decays, what may be f16, the names in
 * the files of every layout, and the type that the model's code sees: `p.layers[i].mixer.outProj` is a tensor, and a wrong name no program.
 *
 * A model's parameters stay what the contract has, one flat record by published names. {@link ParameterSet.bind} gives the tree over it.
 *
 * The order of the tree (of properties, as they were written) is the order in files, and each parameter's key is folded from its place in
 * it.
 */
import type { Device } from "../device";
import { type DType, DTYPES } from "../dtype";
import { check } from "../errors";
import type { CheckpointForm, Parameters, Rearranged } from "../model";
import { nearest } from "../nearest";
import { foldIn, type Key } from "../random";
import { checkRoom } from "../room";
import { checkShape, type Shape, sizeOf } from "../shape";
import type { Tensor } from "../tensor";
import type { Init } from "./init";
import type { Form } from "./forms";

/**
 * A name in files: one for all layouts, or lenggen's own and those that other layouts have for it. `own` is also the name in
 * {@link Parameters}; it is that of the layout that the family's checkpoints were published in first. Where another layout's files hold
 * the same numbers in another shape or order, or those of several parameters in one tensor, its entry says how ({@link Form}).
 */
export type Names = string | { readonly own: string; readonly [layout: string]: string | StoredName };

/** A name in the files of a layout, and how the numbers stand there. */
export interface StoredName {
  readonly name: string;
  readonly form: Form;
}

/** What a parameter is, beside its names and shape. */
export interface ParameterOptions {
  readonly init: Init;
  /** Whether weight decay applies: to matrices, not to norms, biases and what sets how fast a state forgets. False unless given. */
  readonly decay?: boolean;
  /** Whether it may be kept as f16: what only `linear`, `embedding` and `crossEntropy` read. False unless given. */
  readonly half?: boolean;
  /** Where files hold the same numbers once more, e.g. the output matrix that is tied to an embedding. */
  readonly copies?: readonly Names[];
}

/** The description of one parameter; made by {@link parameter} and {@link matrix}. */
export class ParameterSpec {
  constructor(readonly names: Names, readonly shape: Shape, readonly options: ParameterOptions) {}
}

/** A parameter by its names behind those of its place (see {@link under}), its shape, and what else there is to say. */
export function parameter(names: Names, shape: Shape, options: ParameterOptions): ParameterSpec {
  return new ParameterSpec(names, shape, options);
}

/** A matrix [out, in] of `linear` or [rows, width] of `embedding`: it decays, and may be kept as f16. */
export function matrix(names: Names, shape: readonly [number, number], init: Init): ParameterSpec {
  return new ParameterSpec(names, shape, { init, decay: true, half: true });
}

/** Descriptions in nested records and lists; null for a parameter that this configuration has not (a bias, an output matrix of its own). */
export type Specs = ParameterSpec | null | readonly Specs[] | { readonly [name: string]: Specs };

/**
 * Descriptions of any form, where blocks of all kinds stand in one list: each is checked where it is made.
 */
export type AnySpecs = any; // oxlint-disable-line no-explicit-any -- Specs would make types of endless depth

/** The tree of tensors that a tree of descriptions stands for; anything for descriptions of any form. */
export type Bound<S> = 0 extends 1 & S ? AnySpecs
  : S extends ParameterSpec ? Tensor
  : S extends null ? null
  : { readonly [K in keyof S]: Bound<S[K]> };

/** The same parameters with a prefix before all their names: `under("mixer", { d: parameter("D", ...) })` has `mixer.D`. */
export function under<S extends Specs>(prefix: Names, specs: S): S {
  return mapSpecs(specs, ({ names, shape, options }) => new ParameterSpec(joined(prefix, names), shape, {
    ...options, ...(options.copies && { copies: options.copies.map((copy) => joined(prefix, copy)) }),
  })) as S;
}

/** One tree for each of `count` places in a row, with `prefix.0`, `prefix.1`, ... before its names. */
export function stack<S extends Specs>(prefix: Names, count: number, specsAt: (index: number) => S): readonly S[] {
  return Array.from({ length: count }, (_, index) => under(prefix, under(String(index), specsAt(index))));
}

function joined(prefix: Names, names: Names): Names {
  if (typeof prefix === "string" && typeof names === "string") return `${prefix}.${names}`;
  const layouts = new Set([prefix, names].flatMap((part) => (typeof part === "string" ? [] : Object.keys(part))));
  const entries = [...layouts].map((layout) => {
    const name = `${nameIn(prefix, layout)}.${nameIn(names, layout)}`;
    const form = formIn(names, layout);
    return [layout, form ? { name, form } : name];
  });
  return Object.fromEntries(entries) as { own: string };
}

/** The name in {@link Parameters}, without prefixes. */
export function ownName(names: Names): string {
  return nameIn(names, "own");
}

function nameIn(names: Names, layout: string): string {
  if (typeof names === "string") return names;
  const entry = Object.hasOwn(names, layout) ? names[layout]! : names.own;
  return typeof entry === "string" ? entry : entry.name;
}

function formIn(names: Names, layout: string): Form | undefined {
  const entry = typeof names === "string" || !Object.hasOwn(names, layout) ? undefined : names[layout];
  return typeof entry === "object" ? entry.form : undefined;
}

function mapSpecs(specs: Specs, f: (spec: ParameterSpec) => unknown): unknown {
  if (specs === null) return null;
  if (specs instanceof ParameterSpec) return f(specs);
  if (Array.isArray(specs)) return specs.map((part: Specs) => mapSpecs(part, f));
  return Object.fromEntries(Object.entries(specs).map(([name, part]) => [name, mapSpecs(part, f)]));
}

/** All that follows from a tree of descriptions; made by {@link parameterSet}. */
export interface ParameterSet<S extends Specs> {
  /** The shape of each by its own name, in the order of files. */
  readonly shapes: Readonly<Record<string, Shape>>;
  /** Whether weight decay applies. Throws `E_UNKNOWN_NAME` for a name that none has. */
  decays(name: string): boolean;
  /** Whether it may be kept as f16. Throws `E_UNKNOWN_NAME` for a name that none has. */
  halves(name: string): boolean;
  /** Fresh parameters, each from its own key. Throws `E_MEMORY` before any is made when they have no room together. */
  init(key: Key, device: Device, dtype?: DType): Parameters;
  /** The tree over some parameters. Throws `E_WEIGHTS` when one is missing. */
  bind(parameters: Parameters): Bound<S>;
  /** Names in the files of a layout: what is written (without copies where the layout has none), and what else can be read. */
  files(layout: string, options?: { copies?: boolean }): Omit<CheckpointForm, "config">;
}

/** Throws `E_ARGUMENT` when two parameters have one name, `E_SHAPE` for an impossible shape. */
export function parameterSet<S extends Specs>(specs: S): ParameterSet<S> {
  const byName = new Map<string, ParameterSpec>();
  mapSpecs(specs, (spec) => {
    const name = ownName(spec.names);
    check(!byName.has(name), "E_ARGUMENT", () =>
      `parameters: two are called ${name}; give one of them another name, or a prefix by under()`);
    checkShape(spec.shape, `parameter ${name}`);
    check(!spec.options.half || typeof spec.names === "string" || Object.values(spec.names).every((entry) => typeof entry === "string"),
      "E_ARGUMENT", () => `parameters: ${name} may be kept as f16, which no op rearranges, and so has one form in all files`);
    byName.set(name, spec);
  });
  const named = (name: string): ParameterSpec => {
    const spec = byName.get(name);
    check(spec, "E_UNKNOWN_NAME", () => `parameters: the model has none called ${name}${nearest(name, [...byName.keys()])}`);
    return spec;
  };
  return {
    shapes: Object.fromEntries(Array.from(byName, ([name, { shape }]) => [name, shape])),
    decays: (name) => named(name).options.decay ?? false,
    halves: (name) => named(name).options.half ?? false,
    init(key, device, dtype = "f32") {
      const count = [...byName.values()].reduce((sum, { shape }) => sum + sizeOf(shape), 0);
      checkRoom(device, count * DTYPES[dtype].bytes, `parameters: the model's ${count.toLocaleString("en")}`);
      return Object.fromEntries(Array.from(byName, ([name, { shape, options }], i) =>
        [name, options.init({ key: foldIn(key, i), device, shape, dtype })]));
    },
    bind: binderOf(specs) as (parameters: Parameters) => Bound<S>,
    files: (layout, { copies = true } = {}) => fileNames(byName, layout, copies),
  };
}

/** Builds the tree over parameters. Every pass does, so that what does not depend on them is done once. */
function binderOf(specs: Specs): (parameters: Parameters) => unknown {
  if (specs === null) return () => null;
  if (specs instanceof ParameterSpec) {
    const name = ownName(specs.names);
    return (parameters) => {
      const found = parameters[name];
      check(found, "E_WEIGHTS", () => `parameters: ${name} is missing; a pass takes all that init or loadParameters gave`);
      return found;
    };
  }
  const names = Object.keys(specs);
  const parts = Object.values(specs).map((part: Specs) => binderOf(part));
  if (Array.isArray(specs)) return (parameters) => parts.map((part) => part(parameters));
  return (parameters) => {
    const tree: Record<string, unknown> = {};
    for (let i = 0; i < names.length; i++) tree[names[i]!] = parts[i]!(parameters);
    return tree;
  };
}

function fileNames(byName: ReadonlyMap<string, ParameterSpec>, layout: string, copies: boolean): Omit<CheckpointForm, "config"> {
  const written: Record<string, string> = {};
  const copied: Record<string, string> = {};
  const read: Record<string, string> = {};
  const parts = new Map<string, { parameter: string; form: Form }[]>();
  const readAs = (names: Names, own: string) => {
    for (const name of typeof names === "string" ? [names] : Object.values(names)) {
      if (typeof name === "string" && name !== own) read[name] = own;
    }
  };
  for (const [own, { names, options }] of byName) {
    const [name, form] = [nameIn(names, layout), formIn(names, layout)];
    if (form) parts.set(name, [...(parts.get(name) ?? []), { parameter: own, form }]);
    else written[name] = own;
    readAs(names, own);
    for (const copy of options.copies ?? []) {
      if (copies) copied[nameIn(copy, layout)] = own;
      readAs(copy, own);
    }
  }
  const rearranged: Record<string, Rearranged> = Object.fromEntries(
    Array.from(parts, ([name, all]) => [name, all[0]!.form.join(name, all)]));
  return { written: { ...written, ...copied }, read, ...(parts.size > 0 && { rearranged }) };
}
