/**
 * Generation for any sequence model: the prompt streams through in chunks (far back by the model's prefill, where it has one), then
 * one token at a time.
 */
import { check } from "./errors";
import { advance, deviceOf, type Parameters, type SequenceModel } from "./model";
import { linear } from "./ops/matmul";
import { tokenTensor } from "./ops/embedding";
import { slice } from "./ops/view";
import { foldIn, hostRandom, key as makeKey } from "./random";
import { checkSampling, sample, type Sampling } from "./sample";
import { START, type StreamPlace } from "./stateFile";
import { withoutGradient } from "./tape";
import { disposeExcept, keep, scope, type Tensor } from "./tensor";
import { yieldToEventLoop } from "./yieldToEventLoop";
import { cutTokens, type Tokens, type TokenSource } from "./tokens";
import type { Tree } from "./tree";

/** Options of {@link generate}: length, temperature (1 unless given), top-k, top-p (nucleus sampling, Holtzman et al. 2020), seed. */
export interface GenerateOptions<State> extends Partial<Sampling> {
  /** Most tokens to make; 256 unless given. */
  readonly maxTokens?: number;
  /** Same seed, same tokens. That of `place` unless given, or 0. */
  readonly seed?: number;
  /** Where to go on from; zero unless given. It is not freed. */
  readonly state?: State;
  /** Where `state` stands, as `onEnd` or `loadState` gave it: its last token is read before the prompt, which may then be empty. */
  readonly place?: StreamPlace;
  /**
   * Takes the state when the generation ends or is ended, unless by an error or while the prompt is read. It is the receiver's to dispose
   * (by `disposeExcept` where the one given is still needed: they may share tensors). Going on from it and its place gives the tokens that
   * one generation would have given.
   */
  readonly onEnd?: (state: State, place: StreamPlace) => void;
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
 * Yields tokens that follow the prompt (at least one token, but after a place with one; a source of them is read as the model comes to it).
 * With `maxTokens` 0 the prompt is read, all but its last token, for `onEnd`. Throws `E_ARGUMENT` for an empty prompt or an option outside
 * its range, `E_NOT_FINITE` when the model's logits are not numbers.
 */
export async function* generate<State extends Tree>(
  model: SequenceModel<State>,
  parameters: Parameters,
  prompt: Tokens | TokenSource,
  options: GenerateOptions<State> = {},
): AsyncGenerator<number, void, void> {
  const { maxTokens = 256, temperature = 1, topK, topP, place = START, chunk = 512, segments = 1, onPrompt, onEnd, signal } = options;
  const { seed = place.seed } = options;
  const { unread } = place;
  check(typeof prompt === "object", "E_ARGUMENT", () =>
    `generate: the prompt is a ${typeof prompt}; give token ids, of a text for a model of bytes new TextEncoder().encode(text)`);
  check(prompt.length > 0 || unread, "E_ARGUMENT", () => "generate: the prompt is empty; give at least one token");
  check(Number.isInteger(maxTokens) && maxTokens >= 0, "E_ARGUMENT",
    () => `generate: maxTokens ${maxTokens} must be a whole number of at least 0`);
  checkSampling("generate", { temperature, topK, topP });
  check(Number.isInteger(chunk) && chunk >= 1, "E_ARGUMENT", () => `generate: chunk ${chunk} must be a whole number of at least 1`);
  check(Number.isInteger(segments) && segments >= 0, "E_ARGUMENT",
    () => `generate: segments ${segments} must be a whole number of at least 0`);

  const stops = stopTokens(options.stopToken, model.vocabulary);
  const device = deviceOf(parameters);
  let state = options.state;
  let { read } = place;
  const goOn = (next: State): void => {
    disposeExcept(state, [next, options.state]);
    state = next;
  };
  const withTokens = async <R>(ids: ArrayLike<number>, body: (tokens: Tensor) => Promise<R>): Promise<R> => {
    const tokens = keep(tokenTensor(device, ids, [1, ids.length], model.vocabulary));
    try {
      const result = await body(tokens);
      read += ids.length;
      return result;
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
  const lead = unread ? 1 : 0;
  const total = lead + prompt.length;
  const tokensOf = (from: number, to: number): ArrayLike<number> =>
    unread && from === 0 ? [unread.token, ...Array.from(cut(prompt, 0, to - 1))] : cut(prompt, from - lead, to - lead);
  /** Whether the last token to be read asks: one that the model made does not. */
  const asks = prompt.length > 0 || unread?.by === "prompt";
  /** Where the state stands, while it stands still. */
  let standing: StreamPlace | undefined;
  try {
    const end = maxTokens === 0 ? total - 1 : total;
    const far = model.prefill ? Math.max(0, total - 1 - model.prefill.recent) : 0;
    for (let from = 0; from < far && !signal?.aborted; from += chunk) {
      const to = Math.min(far, from + chunk);
      await prefill(tokensOf(from, to));
      onPrompt?.(to - lead, prompt.length);
      await yieldToEventLoop(); // else no signal would come while a long prompt is read
    }
    let logits: Tensor | undefined;
    for (let from = far; from < end && !signal?.aborted; from += chunk) {
      logits?.dispose();
      const to = Math.min(end, from + chunk);
      const last = total - 1 - from; // offset of the prompt's last token
      logits = await forward(tokensOf(from, to), asks && to === total ? Array<number>(segments).fill(last) : undefined);
      if (prompt.length > 0) onPrompt?.(to - lead, prompt.length);
      await yieldToEventLoop();
    }
    if (maxTokens === 0 || signal?.aborted) {
      logits?.dispose();
      const last = prompt.length > 0 ? { token: tokensOf(total - 1, total)[0]!, by: "prompt" as const } : unread!;
      if (!signal?.aborted) standing = { ...place, read, unread: last, seed };
      return;
    }
    for (let made = 1; ; made++) {
      const values = await logits!.read();
      logits!.dispose();
      const drawn = place.drawn + made;
      const token = sample(values, { temperature, topK, topP, random: hostRandom(foldIn(makeKey(seed), drawn - 1)).uniform() });
      standing = { ...place, read, unread: { token, by: "model" }, seed, drawn };
      yield token;
      if (stops.has(token) || made === maxTokens || signal?.aborted) return;
      standing = undefined;
      logits = await forward([token]);
    }
  } finally {
    if (standing && onEnd) onEnd(state ?? keep(model.initialState(1, device)), standing);
    else disposeExcept(state, options.state);
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
