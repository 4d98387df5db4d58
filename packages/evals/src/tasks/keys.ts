/**
 * Retrieval of short keys, after the tasks of Grouped Cross Attention (Hu et al. 2025), for models that read bytes:
 *
 *   recall, key retrieval
 *                    ... text ...[[qzk]]... text ...[[                                                ->  qzk
 *   many keys        ... text ...[[ab=qzk]]... text ...[[cd=wjv]]... text ...[[ab=                    ->  qzk
 *   two hops         ... text ...[[ab>cd]]... text ...[[cd=qzk]]... text ...[[ab>                     ->  cd=qzk
 *
 * In two hops each name is bound to a second one and that one to the key; the pieces come in any order, and a chain that is not asked
 * for stands among them. As in the paper, the answer names the second name on its way to the key. Depth is that of the piece that holds
 * the key asked for; the others stand anywhere.
 */
import {
  check, choiceSetting, countSetting, hostRandom, type HostRandom, joinTokens, type Key, type SettingsTable, type TokenSource,
} from "@lenggen/kernels";
import { checkWhole } from "../checks";
import { noiseFiller, textFiller } from "./filler";
import { hide, type Needle } from "./hide";
import {
  begin, bytes, checkDepth, compare, type Sample, type StreamedSample, streaming, type StreamingTask, type TaskOptions,
} from "./task";

/** Letters of a key unless given. */
export const KEY_LENGTH = 3;
/** Marks around a key. */
export const [OPEN, CLOSE] = ["[[", "]]"] as const;
/** Keys are made of a ... z. */
const [FIRST_LETTER, ALPHABET] = [97, 26] as const;

/** What tells the tasks apart. */
interface Kind {
  readonly name: string;
  readonly summary: string;
  /** Pieces from a name to its key. */
  readonly hops: 1 | 2;
  /** Chains of such pieces; those beyond the first are not asked for. */
  keys(options: TaskOptions): number;
  readonly nameLength: number;
  readonly settings: SettingsTable;
}

/** Settings of tasks whose keys have names of so many letters unless given. */
export const keySettings = (nameLength: number, least = 0) => ({
  keyLength: countSetting(KEY_LENGTH, "Letters of a key.", 1),
  nameLength: countSetting(nameLength, "Letters of the name that a key is asked for by.", least),
  nameLetters: countSetting(ALPHABET,
    "How many different letters names are made of, drawn for each text; the fewer, the more alike.", 1, ALPHABET),
  filler: choiceSetting(["text", "noise"], "text", "What surrounds the keys: real text, or noise, random letters and spaces."),
});

/** One way from a name to a key: the pieces to hide, of which the last holds the key, and what asks for it. */
interface Chain {
  readonly pieces: readonly Int32Array[];
  readonly question: Int32Array;
  readonly answer: Int32Array;
}

function makeKeyTask(kind: Kind): StreamingTask {
  const sizesOf = (options: TaskOptions) => {
    const { keyLength = KEY_LENGTH, nameLength = kind.nameLength, nameLetters = ALPHABET } = options;
    const least = kind.hops === 2 ? 1 : 0;
    checkWhole(`task ${kind.name}: keyLength`, keyLength);
    checkWhole(`task ${kind.name}: nameLength`, nameLength, least);
    check(Number.isInteger(nameLetters) && nameLetters >= 1 && nameLetters <= ALPHABET, "E_ARGUMENT", () =>
      `task ${kind.name}: nameLetters must be a whole number from 1 to ${ALPHABET}, not ${nameLetters}`);
    return { keyLength, nameLength, nameLetters, answerLength: kind.hops === 2 ? nameLength + 1 + keyLength : keyLength };
  };
  const countOf = (options: TaskOptions): number => {
    const keys = kind.keys(options);
    checkWhole(`task ${kind.name}: keys`, keys);
    return keys;
  };

  /** Chains with names of their own. */
  const draw = (random: HostRandom, count: number, options: TaskOptions): Chain[] => {
    const { keyLength, nameLength, nameLetters } = sizesOf(options);
    const names = distinct(random, kind, count * kind.hops, nameLength, nameLetters);
    return Array.from({ length: count }, (_, i) => {
      const value = word(random, keyLength);
      const [first = "", second = ""] = names.slice(i * kind.hops, (i + 1) * kind.hops);
      const chain = (question: string, answer: string, ...pieces: string[]): Chain =>
        ({ pieces: pieces.map((piece) => bytes(`${OPEN}${piece}${CLOSE}`)), question: bytes(`${OPEN}${question}`), answer: bytes(answer) });
      if (kind.hops === 2) return chain(`${first}>`, `${second}=${value}`, `${first}>${second}`, `${second}=${value}`);
      const asked = nameLength === 0 ? "" : `${first}=`;
      return chain(asked, value, `${asked}${value}`);
    });
  };
  const fillerOf = (random: HostRandom, count: number, { filler, text }: TaskOptions): TokenSource =>
    filler === "noise" ? noiseFiller(random, count) : textFiller(random, kind.name, text, count, [OPEN, CLOSE]);
  /** Each chain's last piece at its depth, the others anywhere. */
  const placed = (random: HostRandom, chains: readonly Chain[], depths: readonly number[]): Needle[] =>
    chains.flatMap(({ pieces }, i) => pieces.map((tokens, piece): Needle =>
      ({ tokens, depth: piece === pieces.length - 1 ? depths[i]! : random.uniform() })));
  /** Tokens that pieces and question of `count` chains take. */
  const room = (count: number, options: TaskOptions): { pieces: number; question: number } => {
    const { keyLength, nameLength } = sizesOf(options);
    const marks = OPEN.length + CLOSE.length;
    const bound = nameLength === 0 ? 0 : nameLength + 1; // a name and its sign
    return { pieces: count * (marks + bound + keyLength + (kind.hops === 2 ? marks + bound + nameLength : 0)),
      question: OPEN.length + bound };
  };

  const task: StreamingTask = streaming({
    name: kind.name,
    summary: kind.summary,
    settings: kind.settings,
    needsText: true,
    hasDepth: true,
    shortest(options = {}) {
      const { pieces, question } = room(countOf(options), options);
      return pieces + question;
    },
    promptLength: (total, options = {}) => total - sizesOf(options).answerLength,
    stream(key, length, options = {}): StreamedSample {
      const { random, depth } = begin(task, key, length, options);
      const chains = draw(random, countOf(options), options);
      const depths = chains.map((_, i) => (i === 0 ? depth : random.uniform()));
      const needles = placed(random, chains, depths);
      const filler = fillerOf(random, length - task.shortest(options), options);
      return { prompt: joinTokens([hide(filler, needles), chains[0]!.question]), answer: chains[0]!.answer, depth };
    },
    haystack(key: Key, length, depths, options = {}) {
      const least = room(depths.length, options).pieces;
      check(Number.isInteger(length) && length >= least, "E_ARGUMENT", () =>
        `task ${kind.name}: a stream with ${depths.length} keys must be at least ${least} tokens long, not ${length}`);
      for (const depth of depths) checkDepth(task, depth);
      const random = hostRandom(key);
      const chains = draw(random, depths.length, options);
      const needles = placed(random, chains, depths);
      return {
        tokens: hide(fillerOf(random, length - least, options), needles),
        questions: chains.map(({ question, answer }, i): Sample => ({ prompt: question, answer, depth: depths[i]! })),
      };
    },
    score: ({ answer }, generated) => compare(answer, Array.from(generated).slice(0, answer.length)),
  });
  return task;
}

const LETTERS = Array.from({ length: ALPHABET }, (_, i) => String.fromCharCode(FIRST_LETTER + i));

/** Random letters. */
export function word(random: HostRandom, length: number, letters: readonly string[] = LETTERS): string {
  return Array.from({ length }, () => letters[random.integer(letters.length)]!).join("");
}

/** Different words of so many different letters; the nameless need none. */
function distinct(random: HostRandom, { name }: Kind, count: number, length: number, letterCount: number): string[] {
  check(count <= letterCount ** length, "E_ARGUMENT", () =>
    `task ${name}: ${count} keys can't be told apart by names of ${length} `
      + `letters${letterCount < ALPHABET ? ` out of ${letterCount}` : ""}; give a larger nameLength`);
  const letters = letterCount === ALPHABET ? LETTERS : drawn(random, letterCount);
  const words = new Set<string>();
  while (words.size < count) words.add(word(random, length, letters));
  return [...words];
}

/** So many of the letters. */
function drawn(random: HostRandom, count: number): string[] {
  const left = [...LETTERS];
  return Array.from({ length: count }, () => left.splice(random.integer(left.length), 1)[0]!);
}

/** Key retrieval under the name that reports know; the smallest task in which something must be carried through text. */
export const recall = makeKeyTask({
  name: "recall", summary: "Three letters planted in real text, asked for at the end.", hops: 1, keys: () => 1, nameLength: 0,
  settings: keySettings(0),
});
export const keyRetrieval = makeKeyTask({
  name: "key-retrieval", summary: "Three letters in real text, asked for at the end, at any length.", hops: 1, keys: () => 1, nameLength: 0,
  settings: keySettings(0),
});
export const twoHop = makeKeyTask({
  name: "two-hop", summary: "A name stands for a second name, and that one for three letters; both are asked for.", hops: 2,
  keys: ({ keys = 2 }) => keys, nameLength: 2,
  settings: { ...keySettings(2, 1), keys: countSetting(2, "How many chains there are; one is asked for.", 1) },
});
export const manyKey = makeKeyTask({
  name: "many-key", summary: "Several named keys of three letters in real text, one of which is asked for.", hops: 1,
  keys: ({ keys = 4 }) => keys, nameLength: 2,
  settings: { ...keySettings(2), keys: countSetting(4, "How many keys there are; one is asked for.", 1) },
});
