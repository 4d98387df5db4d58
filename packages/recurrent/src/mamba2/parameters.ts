/**
 * Names, shapes and starting values of Mamba-2's parameters, after the published code: embeddings N(0, 0.02²);
 * matrices and convolutions uniform in ±1/√fan-in; the projection back into the residual stream divided by
 * √layers; -A uniform in its range; dt log-uniform in its range, stored as the inverse of softplus; D, norms 1.
 */
import {
  type Device, type DType, foldIn, full, hostRandom, type Key, normal, parameterCount, type Parameters, type Tensor, tensor, uniform,
} from "@lenggen/kernels";
import type { Mamba2Config } from "./config";

/** What a layer's parameters are called behind `backbone.layers.{i}.`, in the published order. */
function layerShapes(c: Mamba2Config): Record<string, number[]> {
  return {
    "mixer.dt_bias": [c.heads],
    "mixer.A_log": [c.heads],
    "mixer.D": [c.heads],
    "mixer.in_proj.weight": [c.innerWidth + c.convolutionWidth + c.heads, c.width],
    "mixer.conv1d.weight": [c.convolutionWidth, 1, c.convolution],
    "mixer.conv1d.bias": [c.convolutionWidth],
    "mixer.norm.weight": [c.innerWidth],
    "mixer.out_proj.weight": [c.width, c.innerWidth],
    "norm.weight": [c.width],
  };
}

export function mamba2Shapes(c: Mamba2Config): Record<string, number[]> {
  const shapes: Record<string, number[]> = { "backbone.embedding.weight": [c.paddedVocabulary, c.width] };
  for (let i = 0; i < c.layers; i++) {
    for (const [name, shape] of Object.entries(layerShapes(c))) shapes[`backbone.layers.${i}.${name}`] = shape;
  }
  shapes["backbone.norm_f.weight"] = [c.width];
  if (!c.tieEmbeddings) shapes["lm_head.weight"] = [c.paddedVocabulary, c.width];
  return shapes;
}

/** Number of parameters. */
export function mamba2ParameterCount(c: Mamba2Config): number {
  return parameterCount({ parameterShapes: () => mamba2Shapes(c) });
}

/** Weight decay touches matrices alone: decaying dt_bias and A_log would push heads to forget faster. */
export function mamba2Decays(name: string): boolean {
  return /(embedding|in_proj|out_proj|conv1d|lm_head)\.weight$/.test(name);
}

/** Draws every parameter from its own key, so that one added later changes no other. */
export function initMamba2(c: Mamba2Config, key: Key, device: Device, dtype: DType): Parameters {
  const entries = Object.entries(mamba2Shapes(c)).map(([name, shape], i) => [name, draw(c, name, shape, foldIn(key, i), device, dtype)] as const);
  return Object.fromEntries(entries);
}

function draw(c: Mamba2Config, name: string, shape: number[], key: Key, device: Device, dtype: DType): Tensor {
  const within = (bound: number) => uniform(key, device, shape, { low: -bound, high: bound, dtype });
  switch (name.replace(/^backbone\.(layers\.\d+\.)?/, "")) {
    case "embedding.weight":
    case "lm_head.weight":
      return normal(key, device, shape, { std: 0.02, dtype });
    case "mixer.in_proj.weight":
      return within(1 / Math.sqrt(c.width));
    case "mixer.out_proj.weight":
      return within(1 / Math.sqrt(c.innerWidth * c.layers));
    case "mixer.conv1d.weight":
    case "mixer.conv1d.bias":
      return within(1 / Math.sqrt(c.convolution));
    case "mixer.A_log":
      return perHead(c, key, device, dtype, (u) => Math.log(c.aRange[0] + u * (c.aRange[1] - c.aRange[0])));
    case "mixer.dt_bias":
      return perHead(c, key, device, dtype, (u) => inverseSoftplus(Math.max(c.dtFloor, logUniform(c.dtRange, u))));
    default: // D and the norms
      return full(device, shape, 1, dtype);
  }
}

function perHead(c: Mamba2Config, key: Key, device: Device, dtype: DType, f: (u: number) => number): Tensor {
  const random = hostRandom(key);
  return tensor(device, Array.from({ length: c.heads }, () => f(random.uniform())), [c.heads], dtype);
}

function logUniform([low, high]: readonly [number, number], u: number): number {
  return low * (high / low) ** u;
}

/** x with log(1 + exp(x)) = y. */
function inverseSoftplus(y: number): number {
  return y + Math.log(-Math.expm1(-y));
}
