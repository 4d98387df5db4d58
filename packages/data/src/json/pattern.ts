/**
 * Regular expressions that a tokenizer's file brings along, read as far as two questions need: could one take exponential time, and can a
 * match run over a given place in a text? They are read in the form that JavaScript runs. For the second question an expression is the set
 * of its places (each takes one character) and which may follow which, as in Glushkov's construction.
 */
import { LenggenError, quote } from "@lenggen/kernels";

/** One character of a match, or an assertion about the next one, which takes none. */
interface Place {
  readonly takes: RegExp;
  readonly assertion: boolean;
}

/** What places a part of an expression can begin and end with. `strict`: without an assertion on the way, so that it surely matches. */
interface Part {
  readonly nullable: boolean;
  readonly first: readonly number[];
  readonly last: readonly number[];
  /** Places that match all by themselves, whatever stands around. */
  readonly alone: readonly number[];
  /** Whether it holds a quantifier or a choice, which must not be repeated without end. */
  readonly branches: boolean;
}

const EMPTY: Part = { nullable: true, first: [], last: [], alone: [], branches: false };
/** Longest expression; the longest of published tokenizers have some hundred characters, or a few thousand in ranges. */
const LONGEST = 1 << 14;
const ESCAPE = /\\[pP]\{[^}]*\}|\\u\{[0-9A-Fa-f]+\}|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\c[A-Za-z]|\\[^bB1-9k]/;
const CLASS = /\[(?:\\[^]|[^\]\\])*\]/;
const ATOM = new RegExp(`${ESCAPE.source}|${CLASS.source}|[^\\\\()[\\]{}*+?|^$]`, "uy");
const QUANTIFIER = /(?:[*+?]|\{(\d+)(,?)(\d*)\})\??/uy;

/** All letters, to ask whether a class has any. */
let letters: string | undefined;

/** An expression that has been read. */
export class Pattern {
  readonly #places: Place[] = [];
  readonly #follow: Set<number>[] = [];
  readonly #whole: Part;
  #takesLetter: readonly boolean[] | undefined;
  #at = 0;

  /** Throws `E_CONFIG` for what is not read here: look-behinds, references, anchors, and repeats that can take exponential time. */
  constructor(private readonly source: string, private readonly where: string) {
    if (source.length > LONGEST) this.#fail(`it has ${source.length} characters, more than ${LONGEST}`);
    this.#whole = this.#choice(0);
    if (this.#at < source.length) this.#fail(`${quote(source.slice(this.#at, this.#at + 10))} is not read`);
  }

  /**
   * Whether a text may be cut between any letter and `next`: matches are the same on either side alone as in the whole. `bounds`: whether
   * a match always begins there.
   */
  cut(next: string): { readonly safe: boolean; readonly bounds: boolean } {
    const takesNext = this.#places.map(({ takes }) => takes.test(next));
    const all = (letters ??= lettersOf());
    const takesLetter = (this.#takesLetter ??= this.#places.map(({ takes, assertion }) => !assertion && takes.test(all)));
    const safe = this.#follow.every((following, place) => !takesLetter[place] || ![...following].some((after) => takesNext[after]));
    return { safe, bounds: this.#whole.alone.some((place) => takesNext[place]) };
  }

  #choice(depth: number): Part {
    if (depth > 32) this.#fail("it is nested too deep");
    const parts = [this.#sequence(depth)];
    while (this.source[this.#at] === "|") {
      this.#at++;
      parts.push(this.#sequence(depth));
    }
    if (parts.length === 1) return parts[0]!;
    return {
      nullable: parts.some(({ nullable }) => nullable), branches: true,
      first: parts.flatMap(({ first }) => first), last: parts.flatMap(({ last }) => last), alone: parts.flatMap(({ alone }) => alone),
    };
  }

  #sequence(depth: number): Part {
    let whole = EMPTY;
    while (this.#at < this.source.length && !"|)".includes(this.source[this.#at]!)) {
      const next = this.#quantified(depth);
      this.#link(whole.last, next.first);
      whole = {
        nullable: whole.nullable && next.nullable,
        first: whole.nullable ? [...whole.first, ...next.first] : whole.first,
        last: next.nullable ? [...whole.last, ...next.last] : next.last,
        alone: [...(this.#passes(next) ? whole.alone : []), ...(this.#passes(whole) ? next.alone : [])],
        branches: whole.branches || next.branches,
      };
    }
    return whole;
  }

  #quantified(depth: number): Part {
    const part = this.#atom(depth);
    QUANTIFIER.lastIndex = this.#at;
    const found = QUANTIFIER.exec(this.source);
    if (!found) return part;
    this.#at += found[0].length;
    const [text, least, comma, most] = found;
    const counted = text.startsWith("{");
    const from = counted ? Number(least) : text.startsWith("+") ? 1 : 0;
    const to = counted ? (comma === "" ? from : most === "" ? Infinity : Number(most)) : text.startsWith("?") ? 1 : Infinity;
    if (counted && (from > to || from > 1000 || (to !== Infinity && to > 1000))) this.#fail(`the repeat ${quote(text)} is not read`);
    if (to > 1) {
      if (part.branches || part.nullable) {
        this.#fail("it repeats a part that has repeats or choices in it, which can take exponential time");
      }
      this.#link(part.last, part.first);
    }
    return { ...part, nullable: from === 0, branches: from !== to || to > 1, alone: from <= 1 ? part.alone : [] };
  }

  #atom(depth: number): Part {
    const { source } = this;
    if (source[this.#at] === "(") {
      const kind = /\((?:\?(?:[:=!]|<[A-Za-z_]\w*>))?/y;
      kind.lastIndex = this.#at;
      const opening = kind.exec(source)![0];
      this.#at += opening.length;
      const asserts = opening === "(?=" || opening === "(?!";
      const before = this.#places.length;
      const inside = this.#choice(depth + 1);
      if (source[this.#at] !== ")") this.#fail("a bracket is not closed, or a group of its kind is not read");
      this.#at++;
      if (!asserts) return inside;
      if (this.#places.length !== before + 1 || inside.nullable || inside.branches) {
        this.#fail("an assertion about more than the next character is not read");
      }
      this.#places[before] = { ...this.#places[before]!, assertion: true };
      // It takes nothing: what stands before it is followed by what stands behind it.
      return { ...inside, nullable: true, alone: [] };
    }
    ATOM.lastIndex = this.#at;
    const found = ATOM.exec(source)?.[0];
    if (found === undefined) return this.#fail(`${quote(source.slice(this.#at, this.#at + 10))} is not read`);
    this.#at += found.length;
    let takes: RegExp;
    try {
      takes = new RegExp(found, "u");
    } catch {
      return this.#fail(`${quote(found)} is not read`);
    }
    const place = this.#places.push({ takes, assertion: false }) - 1;
    this.#follow.push(new Set());
    return { nullable: false, first: [place], last: [place], alone: [place], branches: false };
  }

  /** Whether a part can match nothing at all, whatever stands there. */
  #passes({ nullable, first }: Part): boolean {
    return nullable && !first.some((place) => this.#places[place]!.assertion);
  }

  #link(from: readonly number[], to: readonly number[]): void {
    for (const place of from) for (const next of to) this.#follow[place]!.add(next);
  }

  #fail(why: string): never {
    throw new LenggenError("E_CONFIG", `${this.where}: the regular expression ${quote(this.source)} can't be used: ${why}`);
  }
}

function lettersOf(): string {
  const found: string[] = [];
  const letter = /^\p{L}$/u;
  for (let code = 0; code < 0x32000; code++) {
    if ((code < 0xd800 || code > 0xdfff) && letter.test(String.fromCodePoint(code))) found.push(String.fromCodePoint(code));
  }
  return found.join("");
}
