/**
 * Recall: three random letters, planted in real text between double brackets, asked for at the end:
 *
 *   ... text ...[[qzk]]... text ...[[   ->   qzk
 *
 * The smallest task in which something must be carried through text; a model of 200,000 parameters learns it.
 */
import { begin, bytes, compare, join, stretch, type Task } from "./task";

/** Letters of a key. */
export const ANSWER_LENGTH = 3;
export const OPEN = bytes("[[");
export const CLOSE = bytes("]]");
const OVERHEAD = 2 * OPEN.length + ANSWER_LENGTH + CLOSE.length;
/** Keys are made of a ... z. */
export const FIRST_LETTER = 97;
export const ALPHABET = 26;

export const recall: Task = {
  name: "recall",
  summary: "Three letters planted in real text, asked for at the end.",
  needsText: true,
  hasDepth: true,
  shortest: () => OVERHEAD,
  promptLength: (total) => total - ANSWER_LENGTH,
  sample(key, length, options = {}) {
    const { random, depth } = begin(recall, key, length, options);
    const answer = Int32Array.from({ length: ANSWER_LENGTH }, () => FIRST_LETTER + random.integer(ALPHABET));
    const hay = stretch(random, recall.name, options.text, length - OVERHEAD);
    const before = Math.round(depth * hay.length);
    return { prompt: join(hay.subarray(0, before), OPEN, answer, CLOSE, hay.subarray(before), OPEN), answer, depth };
  },
  score: (sample, generated) => compare(sample.answer, Array.from(generated).slice(0, ANSWER_LENGTH)),
};
