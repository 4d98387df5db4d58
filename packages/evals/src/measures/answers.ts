/** Answers from the state after a prompt: decoded greedily, and the right one scored teacher-forced. */
import {
  advance, argmax, crossEntropy, dispose, disposeExcept, keep, linear, type Parameters, scope, type SequenceModel, type Tensor, tensor, type Tree,
  withoutGradient,
} from "@lenggen/kernels";
import { deviceOf } from "../stream";

export interface Answered {
  readonly generated: Int32Array;
  /** Bits per token of the right answer. */
  readonly bits: number;
  /** Share of the answer's tokens that are the likeliest, given the right ones before. */
  readonly forced: number;
}

/** `hidden` [B,1,D] and `state` after B prompts, with an answer each, all of one length. The state stays as it is. */
export async function answersFrom<State extends Tree>(
  model: SequenceModel<State>, parameters: Parameters, answers: readonly Int32Array[], hidden: Tensor, state: State,
): Promise<Answered[]> {
  const scored = await teacherForced(model, parameters, answers, hidden, state);
  const generated = await decode(model, parameters, answers.length, answers[0]!.length, hidden, state);
  return generated.map((tokens, i) => ({ generated: tokens, ...scored[i]! }));
}

/** The loss of each answer in bits per token, and the share of its tokens that are the likeliest. */
async function teacherForced<State extends Tree>(
  model: SequenceModel<State>, parameters: Parameters, answers: readonly Int32Array[], hidden: Tensor, state: State,
): Promise<{ bits: number; forced: number }[]> {
  const [rows, width] = [answers.length, answers[0]!.length];
  const head = model.head(parameters);
  const ids = (from: number, to: number) =>
    tensor(deviceOf(parameters), answers.flatMap((answer) => Array.from(answer.subarray(from, to))), [rows, to - from], "i32");
  /** Of tokens from ... to - 1, [B,to-from] each. */
  const score = (h: Tensor, from: number, to: number) =>
    withoutGradient(() => keep(scope(() => ({ losses: crossEntropy(h, head, ids(from, to)), likeliest: argmax(linear(h, head)), from }))));
  const scores = [score(hidden, 0, 1)];
  if (width > 1) {
    const given = keep(ids(0, width - 1));
    try {
      const rest = await advance(model, parameters, given, state);
      scores.push(score(rest.hidden, 1, width));
      disposeExcept(rest, state);
    } finally {
      given.dispose();
    }
  }
  const sums = answers.map(() => ({ nats: 0, right: 0 }));
  for (const { losses, likeliest, from } of scores) {
    const [nats, tokens] = await Promise.all([losses.read(), likeliest.read()]);
    const count = losses.size / rows;
    for (let i = 0; i < nats.length; i++) {
      const row = Math.floor(i / count);
      sums[row]!.nats += nats[i]!;
      if (tokens[i] === answers[row]![from + (i % count)]) sums[row]!.right++;
    }
    dispose([losses, likeliest]);
  }
  return sums.map(({ nats, right }) => ({ bits: nats / (width * Math.LN2), forced: right / width }));
}

/** Greedy: `count` tokens for each of `rows`. Tokens stay on the device until all are there. */
async function decode<State extends Tree>(
  model: SequenceModel<State>, parameters: Parameters, rows: number, count: number, hidden: Tensor, state: State,
): Promise<Int32Array[]> {
  const likeliest = (h: Tensor) => withoutGradient(() => keep(scope(() => argmax(linear(h, model.head(parameters)))))); // [B,1,D] -> [B,1]
  const made: Tensor[] = [likeliest(hidden)];
  let current = state;
  for (let i = 1; i < count; i++) {
    const next = await advance(model, parameters, made[i - 1]!, current);
    made.push(likeliest(next.hidden));
    next.hidden.dispose();
    disposeExcept(current, [next.state, state]);
    current = next.state;
  }
  disposeExcept(current, state);
  const columns = await Promise.all(made.map((t) => t.read()));
  dispose(made);
  return Array.from({ length: rows }, (_, row) => Int32Array.from(columns, (column) => column[row]!));
}
