/**
 * Passkey retrieval (Mohtashami & Jaggi 2023), in the wording of epfml/landmark-attention, llama/run_test.py, with
 * keys of five digits as in Buitrago Ruiz & Gu 2025:
 *
 *   [instructions]
 *   haystack
 *   The pass key is 01234. Remember it. 01234 is the pass key.
 *   haystack
 *   What is the pass key? The pass key is
 *
 * The haystack is the repeated filler, or a stretch of real text. Right: the first run of digits is the key.
 */
import { flagSetting, joinTokens, partOf } from "@lenggen/kernels";
import { repeatedFiller, textFiller } from "./filler";
import { begin, bytes, compare, type StreamedSample, streaming, type StreamingTask, textOf } from "./task";

const INSTRUCTIONS = "There is an important info hidden inside a lot of irrelevant text. Find it and memorize them. "
  + "I will quiz you about the important information there.\n";
const FILLER = bytes("The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again. ");
const QUESTION = "\nWhat is the pass key? The pass key is";
const KEY_DIGITS = 5;
/** What a text may not say beside. */
const MARK = "pass key";

const needle = (key: string) => `\nThe pass key is ${key}. Remember it. ${key} is the pass key.\n`;
const answerOf = (key: string) => ` ${key}.`;

function overhead(instructions: boolean): number {
  return (instructions ? INSTRUCTIONS.length : 0) + needle("0".repeat(KEY_DIGITS)).length + QUESTION.length;
}

function makePasskey(name: string, summary: string, inText: boolean): StreamingTask {
  const task: StreamingTask = streaming({
    name,
    summary,
    settings: { instructions: flagSetting(false, "Whether the prompt opens with its instructions.") },
    needsText: inText,
    hasDepth: true,
    shortest: (options = {}) => overhead(options.instructions ?? false),
    promptLength: (total) => total - answerOf("0".repeat(KEY_DIGITS)).length,
    stream(key, length, options = {}): StreamedSample {
      const { random, depth } = begin(task, key, length, options);
      const secret = String(random.integer(10 ** KEY_DIGITS)).padStart(KEY_DIGITS, "0");
      const instructions = options.instructions ?? false;
      const room = length - overhead(instructions);
      const before = Math.round(depth * room);
      const text = inText ? textFiller(random, name, options.text, room, [MARK]) : undefined;
      const prompt = joinTokens([
        bytes(instructions ? INSTRUCTIONS : ""),
        text ? partOf(text, 0, before) : repeatedFiller(FILLER, before),
        bytes(needle(secret)),
        text ? partOf(text, before, room) : repeatedFiller(FILLER, room - before),
        bytes(QUESTION),
      ]);
      return { prompt, answer: bytes(answerOf(secret)), depth };
    },
    score(sample, generated) {
      const secret = digits(sample.answer);
      const given = digits(generated);
      return { exact: given === secret ? 1 : 0, characters: compare(bytes(secret), bytes(given)).characters };
    },
  });
  return task;
}

/** The first run of digits. */
function digits(tokens: ArrayLike<number>): string {
  return /\d+/.exec(textOf(tokens))?.[0] ?? "";
}

export const passkey = makePasskey("passkey", "A five-digit key in repeated filler sentences.", false);
export const passkeyText = makePasskey("passkey-text", "A five-digit key in real text.", true);
