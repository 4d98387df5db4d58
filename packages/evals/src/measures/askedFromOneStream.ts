/**
 * Many questions to one long stream: things to remember stand at different depths of it, and each is asked for from the state
 * that the stream ends in. It costs one pass over the stream, where a stream for each question would cost one each.
 */
import { check, disposeExcept, type Key, type Parameters, type SequenceModel, type SettingsTable, type Tree } from "@lenggen/kernels";
import { checkWhole } from "../checks";
import { type Interval, mean, wilsonInterval } from "../statistics";
import { forward, type RunOptions, stream } from "../stream";
import { keySettings } from "../tasks/keys";
import type { Sample, Score, Task, TaskOptions } from "../tasks/task";
import { type Answered, answersFrom } from "./answers";

/** Options of {@link askedFromOneStream}. */
export interface AskedFromOneStreamOptions extends Omit<RunOptions, "batch">, Omit<TaskOptions, "depth" | "keys"> {
  readonly key: Key;
  /** Tokens of the stream; the questions come after them. */
  readonly length: number;
  /** How many things are asked for, evenly spaced over the stream; 20 unless given. */
  readonly questions?: number;
  /** Their depths instead. */
  readonly depths?: readonly number[];
  /** As in `taskAccuracy`: how many segments end before a question's last token; 1 unless given. */
  readonly ends?: number;
  /**
   * Whether the stream is read in full all the way, as text is whose every token is predicted, and never by a model's prefill; false
   * unless given.
   */
  readonly whole?: boolean;
}

/** Settings of its tasks for command lines and forms: named keys of which all are asked for, one after the other. */
export const askedFromOneStreamSettings: SettingsTable = keySettings(2);

/** What came of one question. */
export interface AskedQuestion extends Score {
  readonly depth: number;
  /** Mean loss of the right answer, teacher-forced, in bits per token. */
  readonly answerBits: number;
  /** Share of the answer's tokens that are the likeliest, teacher-forced: given the right ones before. */
  readonly teacherForced: number;
}

/** What {@link askedFromOneStream} finds. */
export interface AskedFromOneStream {
  readonly task: string;
  readonly length: number;
  readonly questions: readonly AskedQuestion[];
  /** Share of questions answered exactly, with a 95% Wilson interval. */
  readonly accuracy: number;
  readonly ci95: Interval;
  readonly characters: number;
  readonly answerBits: number;
  readonly teacherForced: number;
}

/**
 * Measures how many of several keys a model finds again in one stream: all questions are asked at its end, each from the same state.
 * Throws `E_ARGUMENT` for a task that can't be asked so.
 */
export async function askedFromOneStream<State extends Tree>(
  model: SequenceModel<State>, parameters: Parameters, task: Task, options: AskedFromOneStreamOptions,
): Promise<AskedFromOneStream> {
  const { key, length, questions: count = 20, ends = 1, chunk, signal } = options;
  check(task.haystack, "E_ARGUMENT", () => `task ${task.name} has one question per text; take one with named keys, such as many-key`);
  checkWhole("questions", count);
  checkWhole("ends", ends, 0);
  const depths = options.depths ?? Array.from({ length: count }, (_, i) => (i + 0.5) / count);
  check(depths.length > 0, "E_ARGUMENT", () => "depths: give at least one");
  const { tokens, questions } = task.haystack(key, length, depths, options);

  const asked: AskedQuestion[] = [];
  const read = (_: number, to: number) => options.onProgress?.(to, length);
  const run = { chunk, signal, end: length, losses: false, ...(!options.whole && { wanted: length }), onPrefill: read };
  for await (const { start, end, state } of stream(model, parameters, [tokens], run)) {
    read(start, end);
    if (end < length) continue;
    for (const question of questions) {
      const { generated, bits, forced } = await ask(model, parameters, question, state, options);
      asked.push({ depth: question.depth!, ...task.score(question, generated), answerBits: bits, teacherForced: forced });
    }
  }
  const correct = asked.reduce((sum, { exact }) => sum + exact, 0);
  return {
    task: task.name,
    length,
    questions: asked,
    accuracy: correct / asked.length,
    ci95: wilsonInterval(correct, asked.length),
    characters: mean(asked.map(({ characters }) => characters)),
    answerBits: mean(asked.map(({ answerBits }) => answerBits)),
    teacherForced: mean(asked.map(({ teacherForced }) => teacherForced)),
  };
}

/** Asks one question from a state, which stays as it is. */
async function ask<State extends Tree>(
  model: SequenceModel<State>, parameters: Parameters, { prompt, answer }: Sample, state: State, options: AskedFromOneStreamOptions,
): Promise<Answered> {
  const { ends = 1, chunk, signal } = options;
  const last = prompt.length - 1;
  // The question's last token runs alone: the answer follows from its hidden state.
  const askFrom = async (before: State): Promise<Answered> => {
    const asked = await forward(model, parameters,
      { ids: prompt.subarray(last), rows: 1, state: before, ends: Array<number>(ends).fill(0) });
    try {
      const [answered] = await answersFrom(model, parameters, [answer], asked.hidden, asked.state, options);
      return answered!;
    } finally {
      disposeExcept(asked, before);
    }
  };
  if (last > 0) {
    for await (const { end, state: before } of stream(model, parameters, [prompt], { chunk, signal, state, end: last, losses: false })) {
      if (end === last) return await askFrom(before);
    }
  }
  return askFrom(state);
}
