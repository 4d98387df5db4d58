/** Texts as sections between added tokens, each normalised and split into words. */
import type { Ids } from "../tokenizer";
import type { AddedToken } from "./parts";
import { escapeRegex, type Stage } from "./stages";
import type { Words } from "./words";

/** Encodes texts, whole or as parts of one. */
export class TextEncoding {
  readonly #given: Sections;
  readonly #normalized: Sections;
  readonly #head: Stage | undefined;

  constructor(
    added: readonly AddedToken[], private readonly normalize: ((text: string) => string) | null, stages: readonly Stage[],
    private readonly words: Words,
  ) {
    const late = (token: AddedToken): boolean => token.normalized && normalize !== null;
    this.#given = new Sections(added.filter((token) => !late(token)));
    this.#normalized = new Sections(added.filter(late).map((token) => ({ ...token, content: normalize!(token.content) })));
    this.#head = stages[0];
  }

  /** `continues`: the text goes on behind another part of it. */
  encode(text: string, into: Ids, continues = false): void {
    let beginning = !continues;
    for (const section of this.#given.of(text)) {
      if (typeof section === "number") into.push(section);
      else if (section !== "") {
        for (const part of this.#normalized.of(this.normalize ? this.normalize(section) : section)) {
          if (typeof part === "number") into.push(part);
          else if (part !== "") this.words.encode(this.#begun(part, beginning), into);
        }
      }
      beginning = false;
    }
  }

  #begun(text: string, beginning: boolean): string {
    const head = this.#head;
    if (head?.kind === "prefix") return text.startsWith(" ") ? text : ` ${text}`;
    if (head?.kind !== "spaces") return text;
    const written = text.replaceAll(" ", head.as);
    const prepends = head.prepend === "always" || (head.prepend === "first" && beginning);
    return prepends && !written.startsWith(head.as) ? head.as + written : written;
  }
}

/** Splits texts at added tokens: at the first place where one is, the longest there. */
class Sections {
  readonly #regex: RegExp | undefined;
  readonly #tokens: ReadonlyMap<string, AddedToken>;

  constructor(tokens: readonly AddedToken[]) {
    this.#tokens = new Map(tokens.map((token) => [token.content, token]));
    const contents = [...this.#tokens.keys()].filter((content) => content !== "").sort((a, b) => b.length - a.length);
    if (contents.length > 0) this.#regex = new RegExp(contents.map(escapeRegex).join("|"), "gu");
  }

  /** Texts, and the ids of the tokens between them. */
  of(text: string): (string | number)[] {
    if (this.#regex === undefined) return [text];
    const sections: (string | number)[] = [];
    let end = 0;
    let strips = false;
    for (const { index, 0: content } of text.matchAll(this.#regex)) {
      const { id, lstrip, rstrip } = this.#tokens.get(content)!;
      let before = text.slice(end, index);
      if (strips) before = before.trimStart();
      sections.push(lstrip ? before.trimEnd() : before, id);
      [end, strips] = [index + content.length, rstrip];
    }
    sections.push(strips ? text.slice(end).trimStart() : text.slice(end));
    return sections;
  }
}
