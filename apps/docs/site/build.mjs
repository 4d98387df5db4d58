/**
 * Builds the site into apps/docs/dist: `npm run docs`. Fails on a link, anchor or picture that leads nowhere. Every address in it is
 * relative, so that it can be served from any folder.
 */
import { cpSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { buildFigures } from "./figures.mjs";
import { madePages } from "./reference/index.mjs";
import { buildReports } from "./reports.mjs";
import { renderAll } from "./site.mjs";
import { buildTheme } from "./theme.mjs";
import { docs } from "./pages.mjs";

const started = performance.now();
const out = join(docs, "dist");
rmSync(out, { recursive: true, force: true });
mkdirSync(join(out, "assets"), { recursive: true });

const figures = await buildFigures(out);
const assets = await buildTheme(out);
const { documents, pictures, index, problems } = await renderAll({ figures, assets, made: madePages() });
await buildReports(out);
writeFileSync(join(out, assets.index), index);
for (const [name, file] of pictures) cpSync(file, join(out, "assets", name));
for (const { page, html } of documents) {
  const file = join(out, page.path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, html);
}
for (const problem of problems) console.error(`docs: ${problem}`);
const seconds = ((performance.now() - started) / 1000).toFixed(1);
console.log(`docs: ${documents.length} pages in ${relative(process.cwd(), out) || "."} (${seconds} s)`);
if (problems.length > 0) process.exitCode = 1;
