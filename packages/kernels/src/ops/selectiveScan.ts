/**
 * The selective scan of Mamba-1 (Gu & Dao 2023, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", section 3.2 and
 * algorithm 2), with a state that comes in and goes out. Every channel has N states with a decay of each its own; channel i of D reads
 * the group g = floor(i · G / D) of b and c. Per sequence and channel:
 *
 *   S_t = exp(dt_t a) ⊙ S_{t-1} + dt_t x_t b_t      [N]
 *   y_t = ⟨S_t, c_t⟩ + d x_t
 *
 * Gradient: let G_t [N] be the derivative of the loss by S_t, walking from the last step (G from the final state's gradient) to the first,
 * and w_t [N] that by the logarithm of the decay, dt_t a:
 *
 *   G_t = exp(dt_{t+1} a) ⊙ G_{t+1} + dy_t c_t      w_t = exp(dt_t a) ⊙ G_t ⊙ S_{t-1}
 *   dx_t = dt_t ⟨G_t, b_t⟩ + d dy_t                 ddt_t = x_t ⟨G_t, b_t⟩ + ⟨w_t, a⟩
 *   db_t = Σ_channels dt_t x_t G_t                  dc_t = Σ_channels dy_t S_t
 *   da = Σ_t dt_t w_t       dd = Σ_t dy_t x_t       dS_0 = exp(dt_1 a) ⊙ G_1
 *
 * Since each state decays at a rate of its own there is no matrix form as of `ssd`: the cost is one exponential a step, channel and state.
 * Fast backends walk along time with many channels side by side, keep the states at every `chunk` steps, and compute those between them
 * again for the gradient.
 *
 * Glossary: T steps, D channels, G groups, N state size.
 */
import { check } from "../errors";
import { kernelsOf } from "../kernels";
import { apply, like, type Op } from "../op";
import { showShape } from "../shape";
import type { Family, SavedFor } from "../signature";
import type { Tensor } from "../tensor";
import { checkChunk, checkMultiple, checkReal, shapeCheck } from "./checks";
import { zeros } from "./memory";

/** `chunk` is the number of steps between states that are kept for the gradient. */
const sizes = { batch: "size", time: "size", channels: "size", groups: "size", stateSize: "size", chunk: "size" } as const;

/** `a` is at most 0; a `state` that is null is zero. */
const inputs = {
  x: "[batch,time,channels]", dt: "[batch,time,channels]", a: "[channels,stateSize]", b: "[batch,time,groups,stateSize]",
  c: "[batch,time,groups,stateSize]", d: "[channels]?", state: "[batch,channels,stateSize]?",
} as const;

/** One state per chunk, in whatever order the backend likes. */
const starts = "[batch,time/chunk,channels,stateSize]";

export const selectiveScanKernels = {
  selectiveScan: {
    numbers: sizes,
    reads: inputs,
    writes: { y: "[batch,time,channels]", final: "[batch,channels,stateSize]" },
    saves: { starts },
  },
  /** Gradients of the inputs; dfinal null for zero; dd and dstate null when the input is or nobody wants them. */
  selectiveScanGradient: {
    numbers: sizes,
    reads: { ...inputs, dy: "[batch,time,channels]", dfinal: "[batch,channels,stateSize]?" },
    saved: { starts },
    writes: {
      dx: "[batch,time,channels]", ddt: "[batch,time,channels]", da: "[channels,stateSize]", db: "[batch,time,groups,stateSize]",
      dc: "[batch,time,groups,stateSize]", dd: "[channels]?", dstate: "[batch,channels,stateSize]?",
    },
  },
} as const satisfies Family;

const kernels = kernelsOf<typeof selectiveScanKernels>;

/** Sizes of one scan. */
export type SelectiveScanSizes = { readonly [N in keyof typeof sizes]: number };

type ScanInputs = {
  readonly x: Tensor;
  readonly dt: Tensor;
  readonly a: Tensor;
  readonly b: Tensor;
  readonly c: Tensor;
  readonly d: Tensor | null;
  readonly state: Tensor | null;
};

interface ScanAttributes {
  readonly chunk: number;
}

/** Steps per chunk unless given: what the CPU's gradient keeps of one fits the first caches. */
const DEFAULT_CHUNK = 32;

function sizesOf({ x, b }: { readonly x: Tensor; readonly b: Tensor }, { chunk }: ScanAttributes): SelectiveScanSizes {
  const [batch, time, channels] = x.shape as [number, number, number];
  const [, , groups, stateSize] = b.shape as [number, number, number, number];
  return { batch, time, channels, groups, stateSize, chunk: Math.min(chunk, Math.max(1, time)) };
}

function checkScan(given: ScanInputs, attributes: ScanAttributes): void {
  const { x, dt, a, b, c, d, state } = given;
  check(x.shape.length === 3 && x.shape[1]! >= 1, "E_SHAPE", () =>
    `selectiveScan: x ${showShape(x.shape)} must be [B,T,D] with at least one step`);
  check(b.shape.length === 4, "E_SHAPE", () => `selectiveScan: b ${showShape(b.shape)} must be [B,T,G,N]`);
  const { batch, time, channels, groups, stateSize } = sizesOf({ x, b }, attributes);
  checkMultiple("selectiveScan", channels, "channels", groups, "groups", { x, b });
  const expect = shapeCheck("selectiveScan", { x, b });
  expect("dt", dt, x.shape);
  expect("a", a, [channels, stateSize]);
  expect("b", b, [batch, time, groups, stateSize]);
  expect("c", c, [batch, time, groups, stateSize]);
  expect("d", d, [channels]);
  expect("state", state, [batch, channels, stateSize]);
  checkReal("selectiveScan", given);
  checkChunk("selectiveScan", attributes.chunk);
}

export const selectiveScanOp: Op<ScanInputs, { y: Tensor; state: Tensor }, ScanAttributes,
  SavedFor<typeof selectiveScanKernels.selectiveScanGradient>> = {
  name: "selectiveScan",
  optional: ["d", "state"],
  outputs(given, attributes) {
    checkScan(given, attributes);
    const { batch, channels, stateSize } = sizesOf(given, attributes);
    const { shape, dtype } = given.x;
    return { y: { shape, dtype }, state: { shape: [batch, channels, stateSize], dtype } };
  },
  forward: (given, { y, state: final }, attributes, { recording }) =>
    kernels(y).selectiveScan({ y, final, recording, ...given, ...sizesOf(given, attributes) }),
  gradient({ inputs: given, saved, attributes, wanted }, { y: dy, state: dfinal }) {
    const { x, dt, a, b, c, d, state } = given;
    const gradients = {
      x: like(x), dt: like(dt), a: like(a), b: like(b), c: like(c), d: wanted.d ? like(d) : null, state: wanted.state ? like(state) : null,
    };
    // Rare: the loss sees the final state alone.
    const none = dy ? null : zeros(x.device, x.shape, x.dtype);
    kernels(x).selectiveScanGradient({
      saved, dy: dy ?? none!, dfinal, dx: gradients.x, ddt: gradients.dt, da: gradients.a, db: gradients.b, dc: gradients.c,
      dd: gradients.d, dstate: gradients.state, ...given, ...sizesOf(given, attributes),
    });
    none?.dispose();
    return gradients;
  },
};

/**
 * Runs the scan S_t = exp(dt_t a) S_{t-1} + dt_t x_t b_t, y_t = ⟨S_t, c_t⟩ + d x_t (Gu & Dao 2023, section 3.2):
 * x [B,T,D], dt [B,T,D] (step sizes, after softplus), a [D,N] (rates, at most 0), b and c [B,T,G,N], d [D] or null,
 * state [B,D,N] or null for zeros -> y [B,T,D] and the state after the last step [B,D,N]. Both outputs and all inputs are
 * differentiable. `chunk` changes the speed and memory of gradients, and their rounding.
 * Throws `E_SHAPE`, `E_DTYPE` (all inputs share one float type) and `E_ARGUMENT` (chunk).
 */
export function selectiveScan(
  given: { x: Tensor; dt: Tensor; a: Tensor; b: Tensor; c: Tensor; d?: Tensor | null; state?: Tensor | null },
  options: { chunk?: number } = {},
): { y: Tensor; state: Tensor } {
  const { x, dt, a, b, c, d = null, state = null } = given;
  return apply(selectiveScanOp, { x, dt, a, b, c, d, state }, { chunk: options.chunk ?? DEFAULT_CHUNK });
}

/**
 * What the recurrence needs: floating-point operations (a multiply-add is two) and exponentials. A gradient's include the states that it
 * computes again. A benchmark divides what takes longer by the measured time.
 */
export function selectiveScanOperations({ batch, time, channels, stateSize }: Omit<SelectiveScanSizes, "groups" | "chunk">): {
  forward: { operations: number; exponentials: number }; gradient: { operations: number; exponentials: number };
} {
  const [inputs, states] = [batch * time * channels, batch * time * channels * stateSize];
  return {
    // dt a, u b, S (2), y (2); u and d x.
    forward: { operations: 6 * states + 3 * inputs, exponentials: states },
    // dt a, u b, S (2); G (2), its sum with b (2), its decay, w, the sum of w a (2), da (2), db (2), dc (2); u, dx, ddt, dd.
    gradient: { operations: 18 * states + 8 * inputs, exponentials: states },
  };
}
