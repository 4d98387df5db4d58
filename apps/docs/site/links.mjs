/** Every link between pages, with its anchor, checked in the documents as they are written. */
import { posix } from "node:path";

const DECODED = { "&amp;": "&", "&#38;": "&" };

/** Problems in `documents`: [{ page, html }]; `others` are paths of what may be linked to beside them. */
export function checkLinks(documents, others) {
  const ids = new Map(documents.map(({ page, html }) => [page.path, [...html.matchAll(/ id="([^"]+)"/g)].map((match) => match[1])]));
  for (const path of others) ids.set(path, []);
  const problems = [];
  for (const { page, html } of documents) {
    for (const [, raw] of html.matchAll(/<a\b[^>]*? href="([^"]*)"/g)) {
      const href = raw.replaceAll(/&amp;|&#38;/g, (c) => DECODED[c]);
      if (/^(https?:|mailto:)/.test(href)) continue;
      const [path, anchor] = href.split("#");
      const target = path === "" ? page.path : posix.join(posix.dirname(page.path), path);
      if (!ids.has(target)) problems.push(`${page.path}: the link to ${href} leads to no page`);
      else if (anchor && !ids.get(target).includes(decodeURIComponent(anchor))) {
        problems.push(`${page.path}: ${target} has no section #${anchor}`);
      }
    }
    const own = ids.get(page.path);
    for (const id of own.filter((id, i) => own.indexOf(id) !== i)) problems.push(`${page.path}: two elements have the id "${id}"`);
  }
  return problems;
}
