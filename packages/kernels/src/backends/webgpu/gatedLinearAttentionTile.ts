/**
 * What the programs of linear attention with a decay per channel share. They work on chunks of 64 steps, with the tiles of ssdTile.ts, and
 * on one head in one chunk at a time, a "row": (batch · chunks + chunk) · heads + head.
 *
 * With D(t,u) = exp(a_{u+1} + ... + a_t), a vector over the channels of the key, `work` holds sections of
 *   queries [rows,64,K]  scale q_t D(t,0), or D(t-1,0) where the state is read before the step
 *   keys    [rows,64,K]  k_u D(last,u)
 *   scores  [rows,64,64] A[t,u] = Σ scale q_t D(t,u) k_u for u <= t (before: D(t-1,u) for u < t, and the bonus at u = t), zeros above
 *   total   [rows,K]     D(last,0)
 * from which all products with states and values are plain ones. No exponent is above 0.
 */
import type { BindingType } from "./program";

/** Sizes that all programs take. */
export const SIZES = { time: "u32", chunks: "u32", heads: "u32", keySize: "u32", valueSize: "u32" } as const;

/** The view of tensors whose rows are all whole quads, or not. */
export const view = (quads: boolean): BindingType => (quads ? "vec4f" : "f32");

/** One head in one chunk, and helpers for tails. */
export const ROWS = `
struct Place {
  head: u32,
  row: u32,
  first: u32,  // the chunk's first step, counted through the batch
  length: u32, // its steps, at most 64
}
fn place(row: u32) -> Place {
  let batch_chunk = row / params.heads;
  let start = batch_chunk % params.chunks * 64u;
  return Place(row % params.heads, row, batch_chunk / params.chunks * params.time + start, min(64u, params.time - start));
}
fn left_of(valid: bool, size: u32, at: u32) -> u32 { return select(0u, size - at, valid && at < size); }
fn tiles_of(size: u32) -> u32 { return (size + 63u) / 64u; }
fn key_of(at: Place, t: u32) -> u32 { return ((at.first + t) * params.heads + at.head) * params.keySize; }
fn value_of(at: Place, t: u32) -> u32 { return ((at.first + t) * params.heads + at.head) * params.valueSize; }
`;

/** `NAME_at(at, t, i)` of tensors [B,T,H,K]: four neighbours along K, zeros beyond the chunk or K. */
export const keys = (...names: string[]): string => names.map((name) => `
fn ${name}_at(at: Place, t: u32, i: u32) -> vec4f {
  return get_${name}(key_of(at, t) + i, left_of(t < at.length, params.keySize, i));
}`).join("");

/** The same of tensors [B,T,H,V]. */
export const values = (...names: string[]): string => names.map((name) => `
fn ${name}_at(at: Place, t: u32, j: u32) -> vec4f {
  return get_${name}(value_of(at, t) + j, left_of(t < at.length, params.valueSize, j));
}`).join("");

/** `NAME_at(at, i, j)` of states [rows,K,V]: four neighbours along V. */
export const states = (...names: string[]): string => names.map((name) => `
fn ${name}_at(at: Place, i: u32, j: u32) -> vec4f {
  return get_${name}((at.row * params.keySize + i) * params.valueSize + j, left_of(i < params.keySize, params.valueSize, j));
}`).join("");

/** `rows_at(section, at, t, i)` of sections [rows,64,K] of work, `square_at(section, at, t, u)` of sections [rows,64,64]. */
export const WORK = `
fn rows_at(section: u32, at: Place, t: u32, i: u32) -> vec4f {
  return get_work(section + (at.row * 64u + t) * params.keySize + i, left_of(t < 64u, params.keySize, i));
}
fn square_at(section: u32, at: Place, t: u32, u: u32) -> vec4f { return get_work(section + (at.row * 64u + t) * 64u + u, 4u); }
`;

