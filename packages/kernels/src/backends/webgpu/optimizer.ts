import type { optimizerKernels } from "../../ops/optimizer";
import type { KernelsOf } from "../../signature";
import type { Tensor } from "../../tensor";
import { type Launcher, part, rowParts } from "./launcher";
import { program, variants } from "./program";
import { floatBits, SOFT_FLOAT, softLiteral } from "./softFloat";
import { surveyTensors } from "./survey";

const WORKGROUP = 256;
/** Elements (numbers, or vectors of four) that an invocation updates, WORKGROUP apart. */
const EACH = 2;
/** The smallest normal float32: what eps is at least, so that nothing is divided by a zero that was flushed. */
const SMALLEST = 2 ** -126;

// One number, by its bits: the quotient is the nearest float32, and what is not finite is told apart.
const clipFactor = program({
  name: "clipFactor",
  reads: { norm: "u32" },
  writes: { factor: "u32" },
  params: { most: "u32" },
  workgroup: 1,
  code: `${SOFT_FLOAT}
fn clipped(norm: u32) -> u32 {
  if (norm > SOFT_INFINITY) { return SOFT_NAN; }
  if (norm == SOFT_INFINITY) { return select(0u, SOFT_NAN, params.most == SOFT_INFINITY); }
  if (norm <= params.most) { return ${softLiteral(1)}; }
  return soft_div(params.most, norm);
}

fn run(group: u32, lane: u32) { factor[0] = clipped(norm[0]); }`,
});

/** One tensor, or a part of one. The formula is that of ops/optimizer.ts, with the corrections moved into the numbers. */
const adamW = variants(({ type, clips, skips }: { type: "f32" | "vec4f"; clips: boolean; skips: boolean }) =>
  program({
    name: "adamW",
    reads: { gradient: type, factor: clips ? "f32" : undefined, skip: skips ? "u32" : undefined },
    writes: { parameter: type, m: type, v: type },
    params: { size: "u32", beta1: "f32", beta2: "f32", rest1: "f32", rest2: "f32", rate: "f32", inverse2: "f32", eps: "f32", decay: "f32" },
    workgroup: WORKGROUP,
    code: `
fn run(group: u32, lane: u32) {${skips ? "\n  if (skip[0] > 0u) { return; }" : ""}
  for (var i = 0u; i < ${EACH}u; i++) {
    let at = (group * ${EACH}u + i) * WORKGROUP + lane;
    if (at < params.size) {
      let g = gradient[at]${clips ? " * factor[0]" : ""};
      let mean = params.beta1 * m[at] + params.rest1 * g;
      let square = params.beta2 * v[at] + params.rest2 * (g * g);
      let p = parameter[at];
      m[at] = mean;
      v[at] = square;
      parameter[at] = p - (params.decay * p + params.rate * mean / (sqrt(square * params.inverse2) + params.eps));
    }
  }
}`,
  }));

/** One tensor, or a part of one, by its bits. */
const unlessCounted = variants((replaced: boolean) =>
  program({
    name: "unlessCounted",
    reads: { count: "u32", x: "u32", otherwise: replaced ? "u32" : undefined },
    writes: { out: "u32" },
    params: { size: "u32" },
    workgroup: WORKGROUP,
    code: `
fn run(group: u32, lane: u32) {
  let at = group * WORKGROUP + lane;
  if (at >= params.size) { return; }
  if (count[0] == 0u) { out[at] = x[at]; } else { out[at] = ${replaced ? "otherwise[at]" : "0u"}; }
}`,
  }));

export const optimizer = (gpu: Launcher): KernelsOf<typeof optimizerKernels> => ({
  globalNorm: ({ tensors, norm }) => surveyTensors(gpu, "norm", tensors, norm),
  countNonFinite: ({ tensors, count }) => surveyTensors(gpu, "count", tensors, count),
  clipFactor({ norm, factor, maxNorm }) {
    gpu.run(clipFactor, { norm, factor }, { most: floatBits(maxNorm) }, 1);
  },
  unlessCounted({ count, x, otherwise, out }) {
    for (const { start, count: size } of rowParts(x.size, [1], gpu.maxBinding)) {
      const cut = { x: part(x, start, size), otherwise: otherwise && part(otherwise, start, size), out: part(out, start, size) };
      gpu.run(unlessCounted(otherwise !== null), { count, ...cut }, { size }, Math.ceil(size / WORKGROUP));
    }
  },
  adamW({ parameters, gradients, m, v, weightDecays, factor, skip, learningRate, beta1, beta2, eps, correction1, correction2 }) {
    const numbers = {
      beta1, beta2, rest1: 1 - beta1, rest2: 1 - beta2, rate: learningRate / correction1, inverse2: 1 / correction2,
      eps: Math.max(eps, SMALLEST),
    };
    parameters.forEach((parameter, i) => {
      for (const { start, count } of rowParts(parameter.size, [1], gpu.maxBinding)) {
        const vectors = count % 4 === 0;
        const size = vectors ? count / 4 : count;
        const of = (t: Tensor) => part(t, start, count);
        const buffers = { parameter: of(parameter), gradient: of(gradients[i]!), m: of(m[i]!), v: of(v[i]!), factor, skip };
        const decay = learningRate * weightDecays[i]!;
        const shader = adamW({ type: vectors ? "vec4f" : "f32", clips: factor !== null, skips: skip !== null });
        gpu.run(shader, buffers, { size, ...numbers, decay },
          Math.ceil(size / (EACH * WORKGROUP)));
      }
    });
  },
});
