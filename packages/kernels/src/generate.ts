/** Generation for any sequence model: the prompt streams through in chunks (far back by the model's prefill, where it has one), then one token at a time. */
import { check } from "./errors";
import { advance, type Parameters, type SequenceModel } from "./model";
import { linear } from "./ops/matmul";
import { tokenTensor } from "./ops/embedding";
import { slice } from "./ops/view";
import { foldIn, hostRandom, key as makeKey } from "./random";
import { checkSampling, sample, type Sampling } from "./sample";
import { withoutGradient } from "./tape";
import { disposeExcept, keep, scope, type Tensor } from "./tensor";
import { cutTokens, type Tokens, type TokenSource } from "./tokens";
import type { Tree } from "./tree";

/** Options of {@link generate}: length, temperature (1 unless given), top-k, top-p (nucleus sampling, Holtzman et al. 2020), seed. */
export interface GenerateOptions<State> extends Partial<Sampling> {
  /** Most tokens to make; 256 unless given. */
  readonly maxTokens?: number;
  /** Same seed, same tokens. 0 unless given. */
  readonly seed?: number;
  /** Where to go on from; zero unless given. It is not freed. */
  readonly state?: State;
  /** Ends after this token, or after any of several, which is still yielded. */
  readonly stopToken?: number | readonly number[];
  /** Prompt tokens per forward pass; 512 unless given. Changes memory and speed, not results. */
  readonly chunk?: number;
  /**
   * How many segments end before the prompt's last token, so that this token and all that follow see what the rest of the prompt
   * retrieves; 1 unless given, 0 for none. More than one makes empty segments, which retrieve by what the one before them found.
   * Models without segments ignore it.
   */
  readonly segments?: number;
  /** Called after each pass over the prompt, with how many of its tokens have been read. */
  readonly onPrompt?: (done: number, total: number) => void;
  /** Ends the generation, also while the prompt is read. */
  readonly signal?: AbortSignal;
}

/**
 * Yields tokens that follow the prompt (at least one token; a source of them is read as the model comes to it). Throws `E_ARGUMENT` for an empty prompt or an option
 * outside its range, `E_NOT_FINITE` when the model's logits are not numbers.
 */
export async function* generate<State extends Tree>(
  model: SequenceModel<State>,
  parameters: Parameters,
  prompt: Tokens | TokenSource,
  options: GenerateOptions<State> = {},
): AsyncGenerator<number, void, void> {
  const { maxTokens = 256, temperature = 1, topK, topP, seed = 0, chunk = 512, segments = 1, onPrompt, signal } = options;
  check(prompt.length > 0, "E_ARGUMENT", () => "generate: the prompt is empty; give at least one token");
  check(Number.isInteger(maxTokens) && maxTokens >= 0, "E_ARGUMENT", () => `generate: maxTokens ${maxTokens} must be a whole number of at least 0`);
  checkSampling("generate", { temperature, topK, topP });
  check(Number.isInteger(chunk) && chunk >= 1, "E_ARGUMENT", () => `generate: chunk ${chunk} must be a whole number of at least 1`);
  check(Number.isInteger(segments) && segments >= 0, "E_ARGUMENT", () => `generate: segments ${segments} must be a whole number of at least 0`);

  const stops = stopTokens(options.stopToken, model.vocabulary);
  const device = model.head(parameters).device;
  let state = options.state;
  const goOn = (next: State): void => {
    disposeExcept(state, [next, options.state]);
    state = next;
  };
  const withTokens = async <R>(ids: ArrayLike<number>, body: (tokens: Tensor) => Promise<R>): Promise<R> => {
    const tokens = keep(tokenTensor(device, ids, [1, ids.length], model.vocabulary));
    try {
      return await body(tokens);
    } finally {
      tokens.dispose();
    }
  };
  const prefill = (ids: ArrayLike<number>) => withTokens(ids, async (tokens) => goOn(await model.prefill!.read(parameters, tokens, state)));
  const forward = (ids: ArrayLike<number>, ends?: readonly number[]) => withTokens(ids, async (tokens) => {
    const { hidden, state: next } = await advance(model, parameters, tokens, state, { ends });
    goOn(next);
    const logits = withoutGradient(() => keep(scope(() => {
      const last = slice(hidden, 1, ids.length - 1, ids.length); // [1,1,D]
      return linear(last, model.head(parameters));
    })));
    hidden.dispose();
    return logits;
  });
  try {
    const { length: total } = prompt;
    const far = model.prefill ? Math.max(0, total - 1 - model.prefill.recent) : 0;
    for (let from = 0; from < far && !signal?.aborted; from += chunk) {
      const to = Math.min(far, from + chunk);
      await prefill(cut(prompt, from, to));
      onPrompt?.(to, total);
    }
    let logits: Tensor | undefined;
    for (let from = far; from < total && !signal?.aborted; from += chunk) {
      logits?.dispose();
      const to = Math.min(total, from + chunk);
      const last = total - 1 - from; // offset of the prompt's last token
      logits = await forward(cut(prompt, from, to), last < chunk ? Array<number>(segments).fill(last) : undefined);
      onPrompt?.(to, total);
    }
    for (let made = 0; made < maxTokens && !signal?.aborted; made++) {
      const values = (await logits!.read()).subarray(0, model.vocabulary);
      logits!.dispose();
      const token = sample(values, { temperature, topK, topP, random: hostRandom(foldIn(makeKey(seed), made)).uniform() });
      yield token;
      if (stops.has(token) || made + 1 === maxTokens) return;
      logits = await forward([token]);
    }
    logits?.dispose();
  } finally {
    disposeExcept(state, options.state);
  }
}

function stopTokens(given: number | readonly number[] = [], vocabulary: number): ReadonlySet<number> {
  const tokens = typeof given === "number" ? [given] : given;
  for (const token of tokens) {
    check(Number.isInteger(token) && token >= 0 && token < vocabulary, "E_ARGUMENT", () =>
      `generate: stopToken ${token} is no token of this model; they are 0 ... ${vocabulary - 1}`);
  }
  return new Set(tokens);
}

/** Some of the tokens, as they were given; a long prompt is not copied as a whole. */
function cut(tokens: Tokens | TokenSource, from: number, to: number): ArrayLike<number> {
  return "read" in tokens ? cutTokens(tokens, from, to) : Array.from({ length: to - from }, (_, i) => tokens[from + i]!);
}
