/**
 * The state-space scan of Mamba-2 (Dao & Gu 2024, "Transformers are SSMs", sections 3 and 6), with a state that
 * comes in and goes out. Per sequence and head, with group g = floor(h · G / H):
 *
 *   S_t = exp(a_t) S_{t-1} + dt_t x_t b_tᵀ      [P,N]
 *   y_t = S_t c_t + d x_t                       [P]
 *
 * Gradient: let G_t [P,N] be the derivative of the loss by S_t, walking from the last step (G from the
 * final state's gradient) to the first:
 *
 *   G_t = exp(a_{t+1}) G_{t+1} + dy_t c_tᵀ
 *   dx_t = dt_t G_t b_t + d dy_t      ddt_t = x_t · G_t b_t      dd = Σ dy_t · x_t
 *   db_t = Σ_heads dt_t G_tᵀ x_t      dc_t = Σ_heads S_tᵀ dy_t
 *   da_t = exp(a_t) ⟨G_t, S_{t-1}⟩    dS_0 = exp(a_1) G_1
 *
 * Fast backends work on chunks of steps (the paper's section 6, "state-space duality"): inside a chunk the map
 * from x to y is a masked matrix product, between chunks only states travel.
 *
 * Glossary: T steps, H heads, P head size, G groups, N state size; a is the log decay dt · A of the paper.
 */
import { check } from "../errors";
import { kernelsOf } from "../kernels";
import { apply, like, type Op } from "../op";
import { showShape } from "../shape";
import type { Family, SavedFor } from "../signature";
import type { Tensor } from "../tensor";
import { checkChunk, checkMultiple, checkReal, shapeCheck } from "./checks";
import { zeros } from "./memory";

/** `chunk` is the number of steps that a backend may treat as one block. */
const sizes = { batch: "size", time: "size", heads: "size", headSize: "size", groups: "size", stateSize: "size", chunk: "size" } as const;

/** `a` is at most 0; a `state` that is null is zero. */
const inputs = {
  x: "[batch,time,heads,headSize]", dt: "[batch,time,heads]", a: "[batch,time,heads]",
  b: "[batch,time,groups,stateSize]", c: "[batch,time,groups,stateSize]", d: "[heads]?", state: "[batch,heads,headSize,stateSize]?",
} as const;

/** One state per chunk, in whatever order the backend likes. */
const starts = "[batch,heads,time/chunk,headSize,stateSize]";

export const ssdKernels = {
  ssd: {
    numbers: sizes,
    reads: inputs,
    writes: { y: "[batch,time,heads,headSize]", final: "[batch,heads,headSize,stateSize]" },
    saves: { starts },
  },
  /** Gradients of the inputs; dfinal null for zero; dd and dstate null when the input is or nobody wants them. */
  ssdGradient: {
    numbers: sizes,
    reads: { ...inputs, dy: "[batch,time,heads,headSize]", dfinal: "[batch,heads,headSize,stateSize]?" },
    saved: { starts },
    writes: {
      dx: "[batch,time,heads,headSize]", ddt: "[batch,time,heads]", da: "[batch,time,heads]",
      db: "[batch,time,groups,stateSize]", dc: "[batch,time,groups,stateSize]", dd: "[heads]?",
      dstate: "[batch,heads,headSize,stateSize]?",
    },
  },
} as const satisfies Family;

const kernels = kernelsOf<typeof ssdKernels>;

/** Sizes of one scan. */
export type SsdSizes = { readonly [N in keyof typeof sizes]: number };

type SsdInputs = {
  readonly x: Tensor;
  readonly dt: Tensor;
  readonly a: Tensor;
  readonly b: Tensor;
  readonly c: Tensor;
  readonly d: Tensor | null;
  readonly state: Tensor | null;
};

interface SsdAttributes {
  readonly chunk: number;
}

/** Steps per chunk unless given: where the CPU kernels are fastest for P = 64, N = 128. */
const DEFAULT_CHUNK = 64;

function sizesOf({ x, b }: { readonly x: Tensor; readonly b: Tensor }, { chunk }: SsdAttributes): SsdSizes {
  const [batch, time, heads, headSize] = x.shape as [number, number, number, number];
  const [, , groups, stateSize] = b.shape as [number, number, number, number];
  return { batch, time, heads, headSize, groups, stateSize, chunk: Math.min(chunk, Math.max(1, time)) };
}

function checkSsd(given: SsdInputs, attributes: SsdAttributes): void {
  const { x, dt, a, b, c, d, state } = given;
  check(x.shape.length === 4 && x.shape[1]! >= 1, "E_SHAPE", () =>
    `ssd: x ${showShape(x.shape)} must be [B,T,H,P] with at least one step`);
  check(b.shape.length === 4, "E_SHAPE", () => `ssd: b ${showShape(b.shape)} must be [B,T,G,N]`);
  const { batch, time, heads, headSize, groups, stateSize } = sizesOf({ x, b }, attributes);
  checkMultiple("ssd", heads, "heads", groups, "groups", { x, b });
  const expect = shapeCheck("ssd", { x, b });
  expect("dt", dt, [batch, time, heads]);
  expect("a", a, [batch, time, heads]);
  expect("b", b, [batch, time, groups, stateSize]);
  expect("c", c, [batch, time, groups, stateSize]);
  expect("d", d, [heads]);
  expect("state", state, [batch, heads, headSize, stateSize]);
  checkReal("ssd", given);
  checkChunk("ssd", attributes.chunk);
}

export const ssdOp: Op<SsdInputs, { y: Tensor; state: Tensor }, SsdAttributes, SavedFor<typeof ssdKernels.ssdGradient>> = {
  name: "ssd",
  optional: ["d", "state"],
  outputs(given, attributes) {
    checkSsd(given, attributes);
    const { batch, heads, headSize, stateSize } = sizesOf(given, attributes);
    const { shape, dtype } = given.x;
    return { y: { shape, dtype }, state: { shape: [batch, heads, headSize, stateSize], dtype } };
  },
  forward: (given, { y, state: final }, attributes, { recording }) =>
    kernels(y).ssd({ y, final, recording, ...given, ...sizesOf(given, attributes) }),
  gradient({ inputs: given, saved, attributes, wanted }, { y: dy, state: dfinal }) {
    const { x, dt, a, b, c, d, state } = given;
    const gradients = {
      x: like(x), dt: like(dt), a: like(a), b: like(b), c: like(c), d: wanted.d ? like(d) : null, state: wanted.state ? like(state) : null,
    };
    // Rare: the loss sees the final state alone.
    const none = dy ? null : zeros(x.device, x.shape, x.dtype);
    kernels(x).ssdGradient({
      saved, dy: dy ?? none!, dfinal, dx: gradients.x, ddt: gradients.dt, da: gradients.a, db: gradients.b, dc: gradients.c,
      dd: gradients.d, dstate: gradients.state, ...given, ...sizesOf(given, attributes),
    });
    none?.dispose();
    return gradients;
  },
};

/**
 * Runs the scan S_t = exp(a_t) S_{t-1} + dt_t x_t b_tᵀ, y_t = S_t c_t + d x_t (Dao & Gu 2024, sections 3 and 6):
 * x [B,T,H,P], dt [B,T,H], a [B,T,H] (log decay, at most 0), b and c [B,T,G,N], d [H] or null,
 * state [B,H,P,N] or null for zeros -> y [B,T,H,P] and the state after the last step [B,H,P,N]. Both outputs and
 * all inputs are differentiable. `chunk` changes the speed and the rounding, nothing else.
 * Throws `E_SHAPE`, `E_DTYPE` (all inputs share one float type) and `E_ARGUMENT` (chunk).
 */
export function ssd(
  given: { x: Tensor; dt: Tensor; a: Tensor; b: Tensor; c: Tensor; d?: Tensor | null; state?: Tensor | null },
  options: { chunk?: number } = {},
): { y: Tensor; state: Tensor } {
  const { x, dt, a, b, c, d = null, state = null } = given;
  return apply(ssdOp, { x, dt, a, b, c, d, state }, { chunk: options.chunk ?? DEFAULT_CHUNK });
}

/**
 * Floating-point operations (a multiply-add is two) of the chunked algorithm, counting only the lower triangle of
 * what is causal and only matrix products: what a benchmark divides by the measured time. `fromZero`: no state comes in, so
 * that its products (two of the gradient's) fall away; `finalUnused`: the loss does not see the final state, and
 * so do two products with its gradient.
 */
export function ssdOperations(
  sizes: Omit<SsdSizes, "chunk"> & { chunk?: number; fromZero?: boolean; finalUnused?: boolean },
): { forward: number; gradient: number } {
  const { batch, time, heads, headSize, groups, stateSize, chunk = DEFAULT_CHUNK, fromZero = false, finalUnused = false } = sizes;
  let forward = 0;
  let gradient = 0;
  for (let start = 0; start < time; start += chunk) {
    const length = Math.min(chunk, time - start);
    const pairs = length * (length + 1); // Twice the number of (t, s) with s <= t.
    const cross = 2 * length * headSize * stateSize; // One product of a chunk with a state.
    const zeroStart = fromZero && start === 0;
    const zeroEnd = finalUnused && start + length === time;
    forward += groups * pairs * stateSize + heads * (pairs * headSize + (zeroStart ? 1 : 2) * cross);
    gradient += groups * 3 * pairs * stateSize + heads * (2 * pairs * headSize + (4 - (zeroStart ? 2 : 0) - (zeroEnd ? 2 : 0)) * cross);
  }
  return { forward: batch * forward, gradient: batch * gradient };
}
