/**
 * Answers from the state after a prompt: decoded greedily, and the right one scored teacher-forced. Memory does not depend on their
 * length.
 */
import {
  advance, argmax, concat, dispose, disposeExcept, keep, linear, type Parameters, scope, type SequenceModel, slice, type Tensor, type Tree,
  withoutGradient,
} from "@lenggen/kernels";
import { checkSignal, checkTokens, cut, DEFAULT_CHUNK, lossesOf, type RunOptions, stream } from "../stream";

/** Logits that are held at once. */
const MOST_LOGITS = 1 << 22;

export interface Answered {
  readonly generated: Int32Array;
  /** Bits per token of the right answer. */
  readonly bits: number;
  /** Share of the answer's tokens that are the likeliest, given the right ones before. */
  readonly forced: number;
}

type Run = Pick<RunOptions, "chunk" | "signal">;

/**
 * `hidden` [B,1,D] and `state` after B prompts, with an answer each, all of one length. The state stays as it is. Throws `E_ARGUMENT` when
 * an answer holds what is no token of the model.
 */
export async function answersFrom<State extends Tree>(
  model: SequenceModel<State>, parameters: Parameters, answers: readonly Int32Array[], hidden: Tensor, state: State, run: Run,
): Promise<Answered[]> {
  for (const answer of answers) checkTokens(answer, model);
  const scored = await teacherForced(model, parameters, answers, hidden, state, run);
  const generated = await decode(model, parameters, answers.length, answers[0]!.length, hidden, state, run);
  return generated.map((tokens, i) => ({ generated: tokens, ...scored[i]! }));
}

/** The loss of each answer in bits per token, and the share of its tokens that are the likeliest. */
async function teacherForced<State extends Tree>(
  model: SequenceModel<State>, parameters: Parameters, answers: readonly Int32Array[], hidden: Tensor, state: State, run: Run,
): Promise<{ bits: number; forced: number }[]> {
  const width = answers[0]!.length;
  const sums = answers.map(() => ({ nats: 0, right: 0 }));
  /** Tokens from ... to - 1, predicted from hidden states [B,to-from,D]. */
  const score = async (h: Tensor, from: number, to: number): Promise<void> => {
    const targets = cut(answers, from, to);
    const scores = [lossesOf(model, parameters, h, targets), likeliest(model, parameters, h)];
    const [nats, tokens] = await Promise.all(scores.map((t) => t.read()));
    dispose(scores);
    for (let i = 0; i < targets.length; i++) {
      const sum = sums[Math.floor(i / (to - from))]!;
      sum.nats += nats![i]!;
      if (tokens![i] === targets[i]) sum.right++;
    }
  };
  await score(hidden, 0, 1);
  if (width > 1) {
    const given = { ...run, state, end: width - 1, losses: false };
    for await (const { start, end, hidden: h } of stream(model, parameters, answers, given)) await score(h, start + 1, end + 1);
  }
  return sums.map(({ nats, right }) => ({ bits: nats / (width * Math.LN2), forced: right / width }));
}

/** Greedy: `count` tokens for each of `rows`. A chunk of them stays on the device before it is read, so that the device need not wait. */
async function decode<State extends Tree>(
  model: SequenceModel<State>, parameters: Parameters, rows: number, count: number, hidden: Tensor, state: State,
  { chunk = DEFAULT_CHUNK, signal }: Run,
): Promise<Int32Array[]> {
  const written = Array.from({ length: rows }, () => new Int32Array(count));
  const unread = [likeliest(model, parameters, hidden)]; // [B,1] each
  let read = 0;
  const take = async (tensors: readonly Tensor[]): Promise<void> => {
    for (const column of await Promise.all(tensors.map((t) => t.read()))) {
      written.forEach((tokens, row) => (tokens[read] = column[row]!));
      read++;
    }
    dispose(tensors);
  };
  let current = state;
  try {
    for (let i = 1; i < count; i++) {
      const next = await advance(model, parameters, unread.at(-1)!, current);
      unread.push(likeliest(model, parameters, next.hidden));
      next.hidden.dispose();
      disposeExcept(current, [next.state, state]);
      current = next.state;
      if (unread.length <= chunk) continue;
      await take(unread.splice(0, chunk));
      checkSignal(signal);
    }
    await take(unread.splice(0));
    return written;
  } finally {
    dispose(unread);
    disposeExcept(current, state);
  }
}

/** The likeliest token behind each hidden state: [B,T,D] -> i32 [B,T]. The caller owns it. */
function likeliest(model: SequenceModel, parameters: Parameters, hidden: Tensor): Tensor {
  const [rows, time] = hidden.shape as [number, number];
  const most = Math.max(1, Math.floor(MOST_LOGITS / (rows * model.vocabulary)));
  return withoutGradient(() => keep(scope(() => {
    const head = model.head(parameters);
    const parts = Array.from({ length: Math.ceil(time / most) }, (_, i) => scope(() => {
      const part = time <= most ? hidden : slice(hidden, 1, i * most, Math.min(time, (i + 1) * most));
      return argmax(linear(part, head));
    }));
    return parts.length === 1 ? parts[0]! : concat(parts, 1);
  })));
}
