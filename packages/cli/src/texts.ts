/** Texts as the commands read them: unpacked under a bar. */
import { basename, relative, sep } from "node:path";
import { type CacheProgress, isHubReference, isTextName, readText, type Text } from "@lenggen/data/node";
import type { Command } from "commander";
import { fromHub } from "./hub";
import { Progress } from "./progress";

/** What a text may be, in words, for the help of options. */
export const TEXT_HELP = "a file, a folder, - for standard input, a built-in corpus (sotu, moby-dick), or of the hub "
  + "hf:datasets/owner/name[@revision]/path; files are text, JSON lines or Parquet, also with .gz or .zst";

/** Adds the flag that says which field of records is the text. */
export function addFieldOption(command: Command): Command {
  return command.option("--field <name>",
    "JSON lines and Parquet: the field that is the text, by dots inside of others (meta.body); text unless given");
}

/** Reads a text of at least so many bytes; what has to be fetched or unpacked first is, with progress on stderr. */
export async function openText(
  given: string, least: number, { field, signal }: { readonly field?: string; readonly signal: AbortSignal },
): Promise<Text> {
  const { source, files } = isHubReference(given) ? await ofHub(given, field, signal) : { source: given };
  return underBars((onProgress) => readText(source, least, { field, files, signal, onProgress }));
}

/** Work on files, each kind of it under a bar of its own. */
export async function underBars<R>(work: (onProgress: (progress: CacheProgress) => void) => Promise<R>): Promise<R> {
  const bars: Progress[] = [];
  let shown = "";
  try {
    return await work(({ path, kind, done, total, note }) => {
      if (shown !== `${kind} ${path}`) {
        bars.pop()?.finish();
        bars.push(new Progress(basename(path), total, { unit: "bytes" }));
        shown = `${kind} ${path}`;
      }
      bars.at(-1)!.update(done, note);
    });
  } finally {
    bars.pop()?.finish();
  }
}

/** The files of a data set, and what it is called: by its commit. */
async function ofHub(reference: string, field: string | undefined, signal: AbortSignal) {
  const { reference: source, files, path } = await fromHub(reference, "text", { signal }, (name) => isTextName(name, field));
  return { source, files: files.map((file) => ({ name: relative(path, file).split(sep).join("/") || basename(file), path: file })) };
}
