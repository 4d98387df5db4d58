/**
 * Copying (Jelassi et al. 2024, sjelassi/transformers_ssm_copy): `$str|` is to be followed by `str.`, with str of
 * random lower-case letters. A prompt of n tokens has a string of n - 2 letters. The score per character is the
 * share of places that agree.
 */
import { begin, bytes, compare, join, type Task } from "./task";

const [FIRST_LETTER, ALPHABET] = [97, 26];

export const copying: Task = {
  name: "copying",
  summary: "A string of random letters, to be repeated.",
  settings: {},
  needsText: false,
  hasDepth: false,
  shortest: () => 3,
  // n letters take $ + n + | + n + . tokens
  promptLength: (total) => Math.floor((total - 3) / 2) + 2,
  sample(key, length, options = {}) {
    const { random } = begin(copying, key, length, options);
    const letters = Int32Array.from({ length: length - 2 }, () => FIRST_LETTER + random.integer(ALPHABET));
    return { prompt: join(bytes("$"), letters, bytes("|")), answer: join(letters, bytes(".")), depth: null };
  },
  score: (sample, generated) => compare(sample.answer, generated),
};
