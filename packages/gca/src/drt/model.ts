/**
 * The Differentiable Retrieval-based Transformer (Hu et al., ICML 2025, "Efficient Length-Generalizable Attention via Causal Retrieval
 * for Long-Context Language Modeling"). Lower layers see a window and give H. The chunk encoder turns each chunk of H into a landmark and
 * keys and values (encoder.ts). Upper layers come in groups; a group retrieves chunks once (retrieval.ts), and each of its layers is
 *
 *   r = h + SWA(RMSNorm(h)),   h' = r + GCA(RMSNorm(r)),   h = r + MLP(RMSNorm(h'))
 *
 * so that what was retrieved reaches the stream through the MLP alone: the residual path passes it by.
 *
 * A chunk's landmark stands behind its last token and retrieves for the chunk after it. A token reaches the chunk before its
 * own through the window, everything before that by retrieval.
 */
import {
  type Device, type DType, firstRows, type ForwardOptions, type ForwardResult, keep, LenggenError, type Parameters, type Prefill, scope,
  type SequenceModel, type Tensor, withoutGradient,
} from "@lenggen/kernels";
import { type ConfigOptions, stateCheck } from "@lenggen/kernels/nn";
import type { ChunkStore } from "../memory/store";
import { type DrtConfig, drtJson, parseDrtConfig } from "./config";
import { checkAllHere, readableRows, rememberAll } from "./memory";
import { computedIn, drtParts, type DrtParts } from "./parts";
import { attend, begin, choose, finish, type Pass, passOf } from "./pass";
import { prefilled, recentTokens } from "./prefill";
import { type DrtState, emptyState, stateLeaves } from "./state";
import { stateFiles } from "./stateFiles";
import { advanceStored, prefillStored } from "./stored";

/** A DRT as a {@link SequenceModel}; made by {@link drt}. */
export interface Drt extends SequenceModel<DrtState> {
  readonly family: "drt";
  readonly settings: DrtConfig;
  readonly prefill: Prefill<DrtState>;
  /**
   * The same model with keys and values of its streams in a store, one stream at a time. Such a model waits for the store: it
   * runs by `advance` and `prefill`, and `forward` throws `E_ARGUMENT`. States made with one store go on with that store alone. The caller
   * closes the store.
   */
  withMemory(store: ChunkStore): Drt;
}

/** A model from its configuration. Throws `E_CONFIG`. */
export function drt(json: unknown, options: ConfigOptions = {}): Drt {
  const settings = parseDrtConfig(json, options);
  const parts = drtParts(settings);
  const { parameters } = parts;
  const recent = recentTokens(settings);
  const leaves = stateLeaves(parts);
  const checkState = stateCheck(leaves);
  const checked = (given: Given): Given => {
    if (given[2]) checkState(given[2]);
    return given;
  };
  const model: Drt = {
    family: "drt",
    settings,
    config: { ...drtJson(settings) },
    vocabulary: settings.vocabulary,
    stateLeaves: leaves,
    parameterShapes: () => parameters.shapes,
    decays: parameters.decays,
    halves: parameters.halves,
    tokenTables: ["embedding.weight"],
    init: parameters.init,
    initialState: (batch: number, device: Device, dtype: DType = "f32") => emptyState(parts, batch, device, dtype),
    forward: (...given) => forward(passHere(parts, checked(given))),
    prefill: { recent, read: async (...given) => withoutGradient(() => keep(scope(() => prefill(passHere(parts, checked(given)))))) },
    stateFiles: stateFiles(settings, false),
    head: (given) => firstRows(parameters.bind(given).embedding, settings.vocabulary), // the landmark's row is no token's
    withMemory: (store) => ({
      ...model,
      stateFiles: stateFiles(settings, true),
      forward: () => {
        throw new LenggenError("E_ARGUMENT",
          `this model's chunk memory is in a ${store.tier} store, which has to be waited for; call advance()`);
      },
      advance: async (...given) => advanceStored(parts, store, ...checked(given)),
      prefill: { recent, read: async (...given) => prefillStored(parts, store, ...checked(given)) },
    }),
  };
  return model;
}

/** What a pass is given. */
type Given = [parameters: Parameters, tokens: Tensor, state?: DrtState, options?: ForwardOptions];

/** A pass with the memory on the device. */
function passHere(parts: DrtParts, [parameters, tokens, state, options]: Given): Pass {
  const before = state ?? emptyState(parts, tokens.shape[0]!, tokens.device, computedIn(parts, parameters));
  checkAllHere(before.memory);
  return passOf(parts, parameters, tokens, before, options);
}

function prefill(pass: Pass): DrtState {
  return prefilled(pass, begin(pass, rememberAll));
}

function forward(pass: Pass): ForwardResult<DrtState> {
  let running = begin(pass, rememberAll);
  const readable = readableRows(running.memory);
  for (let group = 0; group < pass.config.groups.length; group++) {
    const rows = choose(pass, running);
    running = attend(pass, running, rows, { ...readable, indices: rows.indices });
  }
  return finish(pass, running);
}
