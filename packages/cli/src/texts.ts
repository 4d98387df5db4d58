/** Texts as the commands read them: unpacked under a bar. */
import { basename } from "node:path";
import { readText, type Text } from "@lenggen/data/node";
import type { Command } from "commander";
import { Progress } from "./progress";

/** What a text may be, in words, for the help of options. */
export const TEXT_HELP = "a file, a folder, - for standard input, or a built-in corpus (sotu, moby-dick); files are text, JSON lines or "
  + "Parquet, also with .gz or .zst";

/** Adds the flag that says which field of records is the text. */
export function addFieldOption(command: Command): Command {
  return command.option("--field <name>",
    "JSON lines and Parquet: the field that is the text, by dots inside of others (meta.body); text unless given");
}

/** Reads a text of at least so many bytes; what has to be unpacked first is, with progress on stderr. */
export async function openText(
  source: string, least: number, { field, signal }: { readonly field?: string; readonly signal: AbortSignal },
): Promise<Text> {
  const bars: Progress[] = [];
  let shown = "";
  try {
    return await readText(source, least, {
      field,
      signal,
      onProgress({ path, kind, done, total, note }) {
        if (shown !== `${kind} ${path}`) {
          bars.pop()?.finish();
          bars.push(new Progress(basename(path), total, { unit: "bytes" }));
          shown = `${kind} ${path}`;
        }
        bars.at(-1)!.update(done, note);
      },
    });
  } finally {
    bars.pop()?.finish();
  }
}
