/**
 * The search index: MiniSearch over the sections of all pages, made when the site is built. It is a script that hands over its data, so
 * that search works wherever the pages lie, opened as files too.
 */
import MiniSearch from "minisearch";

/** How sections are searched; theme/search.ts has the same fields. */
const OPTIONS = { fields: ["title", "text"], storeFields: ["page", "title", "start"] };
const SHOWN = 140;

/** `pages` are [{ page, sections }]. */
export function searchIndex(pages) {
  const index = new MiniSearch(OPTIONS);
  let id = 0;
  for (const { page, sections } of pages) {
    for (const { id: anchor, title, text } of sections) {
      const words = text.join(" ").replaceAll(/\s+/g, " ").trim();
      if (anchor !== "" && words === "") continue;
      const address = `${page.path}${anchor && `#${anchor}`}`;
      index.add({
        id: id++, title: title.replaceAll("`", ""), text: words, page: `${address}\n${page.title}`, start: words.slice(0, SHOWN),
      });
    }
  }
  return `globalThis.lenggenSearchIndex=${JSON.stringify(JSON.stringify(index))}\n`;
}
