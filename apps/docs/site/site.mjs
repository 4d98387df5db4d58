/** All pages of the site as documents, and what is wrong with them. */
import { resolve } from "node:path";
import { checkLinks } from "./links.mjs";
import { render } from "./markdown.mjs";
import { allPages } from "./pages.mjs";
import { CHECKED } from "./reference/index.mjs";
import { allReports, linksToReports } from "./reports.mjs";
import { searchIndex } from "./search.mjs";
import { document } from "./template.mjs";

/** The path of the page that a file of the repository has become: its own Markdown, the file that it shows, or numbers of a report. */
function pageFinder(pages, reports) {
  const byFile = new Map(pages.flatMap((page) => [[page.file, page.path], [page.base, page.path]]));
  for (const { file, path } of reports) byFile.set(file, path);
  return (file) => {
    const wanted = resolve(file);
    return byFile.get(wanted) ?? byFile.get(resolve(wanted, "README.md")) ?? byFile.get(resolve(wanted, "index.md"));
  };
}

/**
 * { documents: [{ page, html }], pictures, index, problems }. `figures` are addresses of modules by name, `assets` those of the theme,
 * `made` the pages that are made of the sources.
 */
export async function renderAll({ figures, assets, made = { pages: [], problems: [] } }) {
  const problems = [...made.problems];
  const pictures = new Map();
  const pages = allPages(made.pages).map((page) => {
    const checked = CHECKED[page.path]?.(page.text);
    problems.push(...(checked?.problems ?? []));
    return { ...page, text: `${checked?.text ?? page.text}${linksToReports(page)}` };
  });
  const reports = allReports();
  const context = { figures, pictures, pageOfFile: pageFinder(pages, reports), problem: (text) => problems.push(text) };
  const rendered = pages.map((page) => ({ page, rendered: render(page, context) }));
  const documents = rendered.map(({ page, rendered }) => ({ page, html: document({ page, pages, rendered, assets }) }));
  problems.push(...checkLinks(documents, reports.map(({ path }) => path)));
  const index = searchIndex(rendered.map(({ page, rendered: { sections } }) => ({ page, sections })));
  return { documents, pictures, index, problems };
}
