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
import { apply, type Op, type OpInput } from "../op";
import { sameShape, type Shape, showShape } from "../shape";
import { Tensor } from "../tensor";

/** Sizes of one scan; `chunk` is the number of steps that a backend may treat as one block. */
export interface SsdSizes {
  readonly batch: number;
  readonly steps: number;
  readonly heads: number;
  readonly headSize: number;
  readonly groups: number;
  readonly stateSize: number;
  readonly chunk: number;
}

interface SsdInputs {
  /** [B,T,H,P] */
  readonly x: Tensor;
  /** [B,T,H] */
  readonly dt: Tensor;
  /** [B,T,H], at most 0 */
  readonly a: Tensor;
  /** [B,T,G,N] */
  readonly b: Tensor;
  /** [B,T,G,N] */
  readonly c: Tensor;
  /** [H] */
  readonly d: Tensor | null;
  /** [B,H,P,N]; null is zero. */
  readonly state: Tensor | null;
}

export interface SsdKernels {
  /**
   * y [B,T,H,P]; final [B,H,P,N]. `starts` holds one state per chunk, B · H · ceil(T / chunk) · P · N numbers
   * in whatever order the backend likes, for the gradient; null when none will be asked for.
   */
  ssd(args: SsdInputs & SsdSizes & { y: Tensor; final: Tensor; starts: Tensor | null }): void;
  /** Gradients of the inputs; dy and dfinal null for zero; dd and dstate null when the input is or nobody wants them. */
  ssdGradient(args: SsdInputs & SsdSizes & {
    starts: Tensor; dy: Tensor | null; dfinal: Tensor | null;
    dx: Tensor; ddt: Tensor; da: Tensor; db: Tensor; dc: Tensor; dd: Tensor | null; dstate: Tensor | null;
  }): void;
}

interface SsdAttributes {
  readonly chunk: number;
}

/** Steps per chunk unless given: where the CPU kernels are fastest for P = 64, N = 128. */
const DEFAULT_CHUNK = 64;

/** Beyond this the quadratic part of a chunk outweighs all else, and its square no longer fits a cache. */
const MAX_CHUNK = 256;

function sizesOf(inputs: readonly OpInput[], { chunk }: SsdAttributes): SsdSizes {
  const [x, , , b] = inputs;
  const [batch, steps, heads, headSize] = x!.shape as [number, number, number, number];
  const [, , groups, stateSize] = b!.shape as [number, number, number, number];
  return { batch, steps, heads, headSize, groups, stateSize, chunk: Math.min(chunk, Math.max(1, steps)) };
}

function named(inputs: readonly OpInput[]): SsdInputs {
  const [x, dt, a, b, c, d, state] = inputs;
  return { x: x!, dt: dt!, a: a!, b: b!, c: c!, d: d ?? null, state: state ?? null };
}

function checkSsd(inputs: readonly OpInput[], attributes: SsdAttributes): void {
  const { x, dt, a, b, c, d, state } = named(inputs);
  check(x.shape.length === 4 && x.shape[1]! >= 1, "E_SHAPE", () =>
    `ssd: x ${showShape(x.shape)} must be [B,T,H,P] with at least one step`);
  check(b.shape.length === 4, "E_SHAPE", () => `ssd: b ${showShape(b.shape)} must be [B,T,G,N]`);
  const { batch, steps, heads, headSize, groups, stateSize } = sizesOf(inputs, attributes);
  check(groups >= 1 && heads % groups === 0, "E_SHAPE", () =>
    `ssd: ${heads} heads (x ${showShape(x.shape)}) do not divide into ${groups} groups (b ${showShape(b.shape)})`);
  const expect = (name: string, t: Tensor | null, shape: Shape) => {
    check(!t || sameShape(t.shape, shape), "E_SHAPE", () =>
      `ssd: ${name} ${showShape(t!.shape)} must be ${showShape(shape)} for x ${showShape(x.shape)}, b ${showShape(b.shape)}`);
    check(!t || (t.dtype === x.dtype && t.dtype !== "i32"), "E_DTYPE", () =>
      `ssd: ${name} is ${t!.dtype}; all inputs must share one float type (x is ${x.dtype})`);
  };
  expect("x", x, x.shape);
  expect("dt", dt, [batch, steps, heads]);
  expect("a", a, [batch, steps, heads]);
  expect("b", b, [batch, steps, groups, stateSize]);
  expect("c", c, [batch, steps, groups, stateSize]);
  expect("d", d, [heads]);
  expect("state", state, [batch, heads, headSize, stateSize]);
  check(Number.isSafeInteger(attributes.chunk) && attributes.chunk >= 1 && attributes.chunk <= MAX_CHUNK, "E_ARGUMENT", () =>
    `ssd: chunk ${attributes.chunk} must be a whole number from 1 to ${MAX_CHUNK}`);
}

const ssdOp: Op<SsdAttributes> = {
  name: "ssd",
  outputs(inputs, attributes) {
    checkSsd(inputs, attributes);
    const { batch, heads, headSize, stateSize } = sizesOf(inputs, attributes);
    const { shape, dtype } = inputs[0]!;
    return [{ shape, dtype }, { shape: [batch, heads, headSize, stateSize], dtype }];
  },
  forward(inputs, [y, final], attributes, { recording, saved }) {
    const sizes = sizesOf(inputs, attributes);
    const { batch, heads, steps, chunk, headSize, stateSize } = sizes;
    const { device, dtype } = y!;
    const starts = recording
      ? Tensor.empty(device, [batch, heads, Math.ceil(steps / chunk), headSize, stateSize], dtype)
      : null;
    if (starts) saved.push(starts);
    device.kernels.ssd({ y: y!, final: final!, starts, ...named(inputs), ...sizes });
  },
  gradient({ inputs, saved: [starts], attributes, wanted }, [dy, dfinal]) {
    const like = (t: OpInput | undefined) => (t ? Tensor.empty(t.device, t.shape, t.dtype) : null);
    const [dx, ddt, da, db, dc, dd, dstate] = inputs.map((t, i) => (i < 5 || wanted[i] ? like(t) : null));
    inputs[0]!.device.kernels.ssdGradient({
      starts: starts!, dy: dy!, dfinal: dfinal!, dx: dx!, ddt: ddt!, da: da!, db: db!, dc: dc!, dd: dd!, dstate: dstate!,
      ...named(inputs), ...sizesOf(inputs, attributes),
    });
    return [dx, ddt, da, db, dc, dd, dstate].map((gradient, i) => {
      if (wanted[i]) return gradient!;
      gradient?.dispose();
      return null;
    });
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
  inputs: { x: Tensor; dt: Tensor; a: Tensor; b: Tensor; c: Tensor; d?: Tensor | null; state?: Tensor | null },
  options: { chunk?: number } = {},
): { y: Tensor; state: Tensor } {
  const { x, dt, a, b, c, d, state } = inputs;
  const [y, final] = apply(ssdOp, [x, dt, a, b, c, d ?? null, state ?? null], { chunk: options.chunk ?? DEFAULT_CHUNK });
  return { y: y!, state: final! };
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
  const { batch, steps, heads, headSize, groups, stateSize, chunk = DEFAULT_CHUNK, fromZero = false, finalUnused = false } = sizes;
  let forward = 0;
  let gradient = 0;
  for (let start = 0; start < steps; start += chunk) {
    const length = Math.min(chunk, steps - start);
    const pairs = length * (length + 1); // Twice the number of (t, s) with s <= t.
    const cross = 2 * length * headSize * stateSize; // One product of a chunk with a state.
    const zeroStart = fromZero && start === 0;
    const zeroEnd = finalUnused && start + length === steps;
    forward += groups * pairs * stateSize + heads * (pairs * headSize + (zeroStart ? 1 : 2) * cross);
    gradient += groups * 3 * pairs * stateSize + heads * (2 * pairs * headSize + (4 - (zeroStart ? 2 : 0) - (zeroEnd ? 2 : 0)) * cross);
  }
  return { forward: batch * forward, gradient: batch * gradient };
}
