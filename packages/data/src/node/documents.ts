/** The documents of a text: whole files, or records in files, found as they are asked for, since there may be millions. */
import { joinTokens, lastAtMost, partOf, type Tokens, type TokenSource } from "@lenggen/kernels";

/** One document of a text: its bytes, which may be read as they are asked for, and a name to tell of it. */
export interface TextDocument {
  readonly name: string;
  readonly tokens: Tokens | TokenSource;
}

/** What one file gives. */
export interface TextFile extends TextDocument {
  /** Where its documents begin, ascending, the first at 0; one document unless given. */
  readonly starts?: ArrayLike<number>;
}

/** The documents of a text, in order. None of them is made before it is asked for. */
export class Documents implements Iterable<TextDocument> {
  readonly length: number;
  /** Number of each file's first document. */
  readonly #firsts: Float64Array;

  constructor(private readonly files: readonly TextFile[]) {
    this.#firsts = new Float64Array(files.length);
    let length = 0;
    files.forEach(({ starts }, i) => {
      this.#firsts[i] = length;
      length += starts?.length ?? 1;
    });
    this.length = length;
  }

  /** The document of that number; undefined where there is none. */
  at(number: number): TextDocument | undefined {
    if (!(Number.isInteger(number) && number >= 0 && number < this.length)) return undefined;
    const file = lastAtMost(this.#firsts, number);
    return documentOf(this.files[file]!, number - this.#firsts[file]!);
  }

  *[Symbol.iterator](): Generator<TextDocument, void, undefined> {
    for (const file of this.files) for (let i = 0; i < (file.starts?.length ?? 1); i++) yield documentOf(file, i);
  }
}

/** All files one after the other, which are not copied. */
export function tokensOf(files: readonly TextFile[]): TokenSource {
  return joinTokens(files.map(({ tokens }) => tokens));
}

/** Records are named by their number, from 1 on. */
function documentOf({ name, tokens, starts }: TextFile, number: number): TextDocument {
  if (starts === undefined) return { name, tokens };
  return { name: `${name}#${number + 1}`, tokens: partOf(tokens, starts[number]!, starts[number + 1] ?? tokens.length) };
}
