/**
 * Where a text can be cut so that its parts have the ids of the whole: between a letter and one of a few characters, where the tokenizer
 * allows it. What has to hold:
 *
 * - no match of a pre-tokenizer's expression can run over such a place, none looks past it, and one of them always begins there;
 * - where spaces are written as another character, no token has it behind anything else, so that no merge runs over a space;
 * - no added token has such a place inside, and none takes in white space around it;
 * - the normaliser does nothing that reaches over it: composing (NFC) does not, where the letter stays as it is.
 */
import type { NormalizerFacts } from "./normalizer";
import type { Parts } from "./parts";
import { type Stage } from "./stages";

/** Characters before which a text may be cut if a letter stands before them. */
const CANDIDATES = [" ", "\n", ".", ",", "。", "，", "、"];

/** Where texts are cut. */
export interface CutRule {
  readonly before: ReadonlySet<string>;
  /** Whether the space at the cut is put there again by the tokenizer, and has to be left out. */
  readonly dropsSpace: boolean;
  /** Whether a letter has to stand as it is after NFC. */
  readonly composes: boolean;
}

/** The rule for a tokenizer, or null where nothing is known, and texts have to be encoded whole. */
export function cutRule({ added }: Parts, facts: NormalizerFacts, stages: readonly Stage[]): CutRule | null {
  if (facts.kind === "other" || added.some(({ lstrip, rstrip }) => lstrip || rstrip)) return null;
  const [head] = stages;
  const spaces = head?.kind === "spaces" ? head : undefined;
  const space = spaces ? spaces.as : facts.space;
  // What would be put before a part that does not begin with a space.
  const prepends = facts.prepended !== "" || head?.kind === "prefix" || (spaces !== undefined && spaces.prepend !== "never");
  if (facts.prepended !== "" && (facts.prepended !== facts.space || spaces !== undefined)) return null;
  const dropsSpace = facts.prepended !== "";
  if (dropsSpace && added.some(({ content }) => /^\p{L}/u.test(content))) return null;
  const untilBytes = stages.findIndex(({ kind }) => kind === "bytes");
  const patterns = stages.slice(0, untilBytes < 0 ? stages.length : untilBytes)
    .flatMap((stage) => (stage.kind === "split" ? [stage] : []));
  if (patterns.some(({ dropsGaps }) => dropsGaps) && patterns.length > 1) return null;
  const before = CANDIDATES.filter((character) => {
    if (prepends && character !== " ") return false;
    const seen = character === " " ? space : character;
    const answers = patterns.map(({ pattern }) => pattern.cut(seen));
    const inside = new RegExp(`\\p{L}[${character}${seen}]`, "u");
    return answers.every(({ safe }) => safe) && answers.some(({ bounds }) => bounds) && !added.some(({ content }) => inside.test(content));
  });
  return before.length === 0 ? null : { before: new Set(before), dropsSpace, composes: facts.kind === "composes" };
}

const LETTER = /^\p{L}$/u;

/** The last place in a text, above `from`, where it may be cut; -1 for none. */
export function lastCut(text: string, from: number, { before, dropsSpace, composes }: CutRule): number {
  for (let i = text.length - (dropsSpace ? 2 : 1); i > from; i--) {
    if (!before.has(text[i]!)) continue;
    const letter = text[i - 1]!;
    if (!LETTER.test(letter) || (composes && letter.normalize("NFC") !== letter)) continue;
    if (dropsSpace && !LETTER.test(text[i + 1]!)) continue;
    return i;
  }
  return -1;
}
