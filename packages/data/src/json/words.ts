/** Words as the pre-tokenizer makes them, and their ids, which are looked up where a word has been seen before. */
import { check, LenggenError, quote } from "@lenggen/kernels";
import { BYTE_CHARACTERS } from "./decoding";
import type { Stage } from "./stages";
import type { Ids } from "../tokenizer";

/** The library's model: the texts of the tokens of words. */
export type Model = (words: string[]) => string[];

/** Words whose ids are kept; beyond it they are forgotten all together. */
const KEPT = 1 << 17;
/** Longest word that is kept. */
const KEPT_LENGTH = 48;
/** Longest word without a place to split it that the model is given: it takes a hundred times the memory. */
const LONGEST = 1 << 22;

const encoder = new TextEncoder();

/** Encodes text between added tokens. */
export class Words {
  readonly #known = new Map<string, Int32Array>();
  /** Splits that are made of the text, in order, before a word is looked up. */
  readonly #splits: Extract<Stage, { kind: "split" }>[] = [];
  /** What is done to a word that is not known. */
  readonly #rest: Stage[];

  constructor(
    stages: readonly Stage[], private readonly model: Model, private readonly ids: ReadonlyMap<string, number>,
    private readonly unknown: number | undefined, private readonly where: string,
  ) {
    const first = stages.findIndex(({ kind }) => kind !== "split");
    const splits = first < 0 ? stages.length : first;
    this.#splits = stages.slice(0, splits) as Extract<Stage, { kind: "split" }>[];
    this.#rest = stages.slice(splits);
  }

  encode(text: string, into: Ids, depth = 0): void {
    const split = this.#splits[depth];
    if (split === undefined) return this.#word(text, into);
    const { regex, dropsGaps } = split;
    let end = 0;
    regex.lastIndex = 0;
    for (let match; (match = regex.exec(text)) !== null; ) {
      const { index } = match;
      if (match[0].length === 0) {
        regex.lastIndex++;
        continue;
      }
      const after = regex.lastIndex; // the deeper splits may be the same expression
      if (index > end && !dropsGaps) this.encode(text.slice(end, index), into, depth + 1);
      this.encode(match[0], into, depth + 1);
      regex.lastIndex = end = after;
    }
    if (end < text.length && !dropsGaps) this.encode(text.slice(end), into, depth + 1);
  }

  #word(word: string, into: Ids): void {
    const known = this.#known.get(word);
    if (known !== undefined) return into.append(known);
    check(word.length <= LONGEST, "E_TEXT", () =>
      `tokenizer ${this.where}: ${word.length} characters in a row, from ${quote(word)} on, can't be split; at most ${LONGEST} can be `
        + "encoded together");
    let parts = [word];
    for (const stage of this.#rest) parts = parts.flatMap((part) => applied(stage, part));
    const ids: number[] = [];
    for (const part of parts) {
      for (const token of this.#tokens(part)) {
        const id = this.ids.get(token) ?? this.unknown;
        check(id !== undefined, "E_FORMAT", () => `tokenizer ${this.where}: ${quote(word)} has no ids, and there is no unknown token`);
        ids.push(id);
      }
    }
    const found = Int32Array.from(ids);
    into.append(found);
    if (word.length > KEPT_LENGTH) return;
    if (this.#known.size === KEPT) this.#known.clear();
    this.#known.set(owned(word), found);
  }

  #tokens(word: string): string[] {
    try {
      return word === "" ? [] : this.model([word]);
    } catch (error) {
      throw new LenggenError("E_FORMAT", `tokenizer ${this.where}: ${quote(word)} can't be encoded: ${String(error)}`, { cause: error });
    }
  }
}

/** A copy that does not keep the text that it was cut from in memory. */
function owned(word: string): string {
  return String.fromCharCode(...Array.from({ length: word.length }, (_, i) => word.charCodeAt(i)));
}

function applied(stage: Stage, word: string): string[] {
  if (stage.kind === "bytes") return [Array.from(encoder.encode(word), (byte) => BYTE_CHARACTERS[byte]!).join("")];
  if (stage.kind !== "split") return [word]; // prefix and spaces are for whole texts
  const parts: string[] = [];
  let end = 0;
  for (const { index, 0: match } of word.matchAll(stage.regex)) {
    if (index > end && !stage.dropsGaps) parts.push(word.slice(end, index));
    if (match.length > 0) parts.push(match);
    end = index + match.length;
  }
  if (end < word.length && !stage.dropsGaps) parts.push(word.slice(end));
  return parts;
}
