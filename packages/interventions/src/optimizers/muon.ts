/**
 * Muon (Jordan, Jin, Boza, You, Cesista, Newhouse & Bernstein 2024, "Muon: An optimizer for hidden layers in neural networks"): the update
 * of a matrix is its momentum, made orthogonal, so that all directions of it move alike. At each step, for a matrix W [m,n] with gradient
 * G:
 *
 *   B ← μ B + G                                   momentum
 *   U = G + μ B                                   Nesterov's; without: U = B
 *   X₀ = U / (‖U‖_F + 10⁻⁷)                       all singular values at most 1
 *   A = X Xᵀ,   X ← a X + (b A + c A²) X          Newton-Schulz, k times; a, b, c = 3.4445, -4.7750, 2.0315
 *   W ← W - η · (√max(1, m/n) · X_k + λ W)
 *
 * An iteration leaves singular vectors as they are and takes each singular value s to a s + b s³ + c s⁵. The authors chose the coefficients
 * for a steep rise at 0, not for convergence: after five iterations, values that were not tiny lie between about 0.7 and 1.2, not at 1.
 * Where m > n the same polynomial of Xᵀ X stands on the right, X ← a X + X (b A + c A²), which is the iteration of the transposed matrix
 * and has the smaller A. The authors iterate in bfloat16; here it is the parameters' own type.
 *
 * What is no map between vectors is AdamW's, as the authors have it: tables with a row for each token (embedding, output matrix), vectors,
 * scalars, and convolutions, which are depthwise here. Its rate is a share of η; theirs are 0.02 and 0.0003.
 */
import {
  add, addInto, addScalar, assignSlice, check, countSetting, dispose, div, flagSetting, globalNorm, keep, matmul, mul, numberSetting,
  type Parameters, resolveSettings, scale, scope, type SequenceModel, type Settings, type Tensor, unlessCounted, zeros,
} from "@lenggen/kernels";
import type { Optimizer, OptimizerFamily, SavedOptimizer, UpdateRequest } from "../optimizer";
import { AdamWMemory, type AdamWOptimizerOptions, adamWSettings, clipping } from "./adamW";
import { savedLike } from "./saved";

/** Options of {@link muonOptimizer}; those of AdamW hold for what it leaves to that, weight decay and clipping for both. */
export interface MuonOptions extends AdamWOptimizerOptions {
  /** μ */
  readonly momentum: number;
  readonly nesterov: boolean;
  /** k */
  readonly iterations: number;
  /** AdamW's learning rate, as a share of η. */
  readonly adamWShare: number;
}

const settings: Settings<MuonOptions> = {
  momentum: numberSetting(0.95, "Decay of the sum of gradients.", { from: 0, to: 0.999999 }),
  nesterov: flagSetting(true, "Whether the gradient counts once more beside the momentum, as Nesterov has it."),
  iterations: countSetting(5, "Newton-Schulz iterations that make an update orthogonal.", 1, 100),
  adamWShare: numberSetting(
    0.015, "Learning rate of what AdamW updates (embedding, output matrix, vectors), as a share of that of matrices.", { from: 0 },
  ),
  ...adamWSettings,
};

/** a, b and c. */
const [LINEAR, CUBIC, QUINTIC] = [3.4445, -4.775, 2.0315];
const LEAST_NORM = 1e-7;

/** X_k of a matrix [m,n]: nearly the orthogonal matrix that is closest to it, in its type. */
export function orthogonalized(u: Tensor, iterations: number): Tensor {
  const [rows, columns] = u.shape as [number, number];
  const tall = rows > columns;
  return scope(() => {
    let x = div(u, addScalar(globalNorm(u), LEAST_NORM));
    for (let i = 0; i < iterations; i++) {
      const a = tall ? matmul(x, x, { transposeA: true }) : matmul(x, x, { transposeB: true }); // the smaller of the two
      const polynomial = add(scale(a, CUBIC), scale(matmul(a, a), QUINTIC));
      x = add(scale(x, LINEAR), tall ? matmul(x, polynomial) : matmul(polynomial, x));
    }
    return x;
  });
}

class MuonMemory {
  /** B of each matrix. */
  #momentum: Parameters = {};
  readonly #rest: AdamWMemory;
  readonly #matrices: ReadonlySet<string>;

  constructor(private readonly model: SequenceModel, private readonly options: MuonOptions) {
    this.#rest = new AdamWMemory(model, options);
    this.#matrices = matricesOf(model);
  }

  init(parameters: Parameters): void {
    const [matrices, rest] = this.#parted(parameters);
    this.#put(keep(scope(() => mapValues(matrices, ({ device, shape, dtype }) => zeros(device, shape, dtype)))));
    this.#rest.init(rest);
  }

  update(parameters: Parameters, gradients: Parameters, request: UpdateRequest): void {
    const factor = clipping(this.options.clip, request);
    const [matrices, others] = this.#parted(parameters);
    const [slopes, otherSlopes] = this.#parted(gradients);
    for (const [name, matrix] of Object.entries(matrices)) scope(() => this.#updateMatrix(name, matrix, slopes[name]!, request, factor));
    this.#rest.update(others, otherSlopes, { ...request, learningRate: request.learningRate * this.options.adamWShare }, factor);
  }

  #updateMatrix(name: string, matrix: Tensor, slope: Tensor, { learningRate, skip }: UpdateRequest, factor: Tensor | null): void {
    const { momentum, nesterov, iterations, weightDecay } = this.options;
    const [rows, columns] = matrix.shape as [number, number];
    const before = this.#momentum[name]!;
    const gradient = factor === null ? slope : mul(slope, factor);
    const next = add(scale(before, momentum), gradient);
    const direction = orthogonalized(nesterov ? add(gradient, scale(next, momentum)) : next, iterations);
    const scaled = scale(direction, Math.sqrt(Math.max(1, rows / columns)));
    const change = weightDecay > 0 && this.model.decays(name) ? add(scaled, scale(matrix, weightDecay)) : scaled;
    addInto(matrix, skip ? unlessCounted(skip, change) : change, -learningRate);
    assignSlice(before, skip ? unlessCounted(skip, next, before) : next, 0, 0);
  }

  save(): Record<string, Tensor> {
    const momentum = Object.entries(this.#momentum).map(([name, tensor]): [string, Tensor] => [`momentum.${name}`, tensor]);
    return { ...Object.fromEntries(momentum), ...this.#rest.save() };
  }

  restore(saved: SavedOptimizer, parameters: Parameters): void {
    const [matrices, rest] = this.#parted(parameters);
    const momentum = savedLike(saved, "momentum.", matrices);
    this.#rest.restore(saved, rest);
    this.#put(momentum);
  }

  dispose(): void {
    this.#put({});
    this.#rest.dispose();
  }

  #put(momentum: Parameters): void {
    dispose(this.#momentum);
    this.#momentum = momentum;
  }

  #parted(parameters: Parameters): [matrices: Parameters, rest: Parameters] {
    const pick = (wanted: boolean): Parameters =>
      Object.fromEntries(Object.entries(parameters).filter(([name]) => this.#matrices.has(name) === wanted));
    return [pick(true), pick(false)];
  }
}

const mapValues = (parameters: Parameters, f: (t: Tensor) => Tensor): Parameters =>
  Object.fromEntries(Object.entries(parameters).map(([name, t]) => [name, f(t)]));

/** Parameters that map vectors to vectors: those of two axes that decay, but for tables of tokens. */
function matricesOf(model: SequenceModel): ReadonlySet<string> {
  const { tokenTables } = model;
  check(tokenTables !== undefined, "E_CONFIG", () =>
    `muon: the model of family ${model.family} does not say which parameters are tables of tokens (tokenTables); train it with adamw`);
  const isMatrix = ([name, shape]: [string, readonly number[]]): boolean =>
    shape.length === 2 && model.decays(name) && !tokenTables.includes(name);
  return new Set(Object.entries(model.parameterShapes()).filter((entry) => isMatrix(entry)).map(([name]) => name));
}

/** Muon for matrices, AdamW for all else (Jordan et al. 2024). */
export const muonOptimizer: OptimizerFamily<MuonOptions> = {
  summary: "Muon for the matrices inside of the model, AdamW for all else; the learning rate is that of matrices.",
  learningRate: 0.02,
  options: settings,
  create(model, given): Optimizer {
    const options = resolveSettings("muon", settings, given);
    const memory = new MuonMemory(model, options);
    return {
      name: "muon",
      settings: { ...options },
      learningRate: muonOptimizer.learningRate,
      remembers: 1,
      init: (parameters) => memory.init(parameters),
      update: (parameters, gradients, request) => scope(() => memory.update(parameters, gradients, request)),
      save: () => memory.save(),
      restore: (saved, parameters) => memory.restore(saved, parameters),
      dispose: () => memory.dispose(),
    };
  },
};
