/**
 * Trees: plain nested records and arrays with tensors as leaves. Parameters, gradients, optimiser moments and
 * states are trees, so that one set of functions maps, names, saves and frees all of them.
 */
import { check } from "./errors";
import { Tensor } from "./tensor";

/** Tensors in nested plain records and arrays: parameters, states, gradients. A single tensor is a tree too. */
export type Tree<Leaf = Tensor> = Leaf | readonly Tree<Leaf>[] | { readonly [key: string]: Tree<Leaf> };

/** The same nesting as `T`, with every tensor replaced by `Leaf`. */
export type TreeLike<T, Leaf> = T extends Tensor ? Leaf : { readonly [K in keyof T]: TreeLike<T[K], Leaf> };

/** Leaves with their path, e.g. `layers.0.mixer.D`, in insertion order. */
export function leaves(tree: unknown, prefix = ""): { path: string; tensor: Tensor }[] {
  if (tree instanceof Tensor) return [{ path: prefix, tensor: tree }];
  if (tree === null || typeof tree !== "object") return [];
  return Object.entries(tree).flatMap(([key, child]) => leaves(child, prefix === "" ? key : `${prefix}.${key}`));
}

/** A tree of the same nesting whose leaves are `f(leaf, path)`. */
export function mapTree<T, Leaf = Tensor>(tree: T, f: (leaf: Tensor, path: string) => Leaf, prefix = ""): TreeLike<T, Leaf> {
  const visit = (node: unknown, path: string): unknown => {
    if (node instanceof Tensor) return f(node, path);
    const at = (key: string | number) => (path === "" ? String(key) : `${path}.${key}`);
    if (Array.isArray(node)) return node.map((child, i) => visit(child, at(i)));
    if (node !== null && typeof node === "object") {
      return Object.fromEntries(Object.entries(node).map(([key, child]) => [key, visit(child, at(key))]));
    }
    return node;
  };
  return visit(tree, prefix) as TreeLike<T, Leaf>;
}

/** Pairs up the leaves of two trees of one nesting; throws `E_ARGUMENT` naming the first path that differs. */
export function zipLeaves(a: unknown, b: unknown): { path: string; a: Tensor; b: Tensor }[] {
  const left = leaves(a);
  const right = leaves(b);
  return Array.from({ length: Math.max(left.length, right.length) }, (_, i) => {
    const l = left[i];
    const r = right[i];
    check(l && r && l.path === r.path, "E_ARGUMENT", () =>
      `trees differ at leaf ${i}: ${l?.path ?? "(none)"} against ${r?.path ?? "(none)"}`);
    return { path: l.path, a: l.tensor, b: r.tensor };
  });
}

/** Number of scalar values in a tree. */
export function countElements(tree: unknown): number {
  return leaves(tree).reduce((total, { tensor }) => total + tensor.size, 0);
}
