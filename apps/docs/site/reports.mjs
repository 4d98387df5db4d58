/**
 * Reports of the experiments, made anew from the numbers that are committed in results/: the same page that `lenggen reproduce` writes at
 * its end. A page that shows the README of a folder of results ends with links to those of that folder.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { root } from "./pages.mjs";

const results = join(root, "results");

function* jsonIn(folder, depth) {
  for (const entry of readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, entry.name);
    if (entry.isDirectory() && depth > 0) yield* jsonIn(path, depth - 1);
    else if (/^(seed-\d+|report)\.json$/.test(entry.name)) yield path;
  }
}

/** Where the report of a file of numbers lies in the site. */
const pathOf = (file) => `results/reports/${relative(results, file).replaceAll(/[\\/]/g, "-").replace(/\.json$/, ".html")}`;

/** All reports: [{ file, path }]. */
export const allReports = () => [...jsonIn(results, 9)].map((file) => ({ file, path: pathOf(file) }));

/** Markdown with links to the reports of the folder that a page is about; "" where there are none. */
export function linksToReports({ base, section }) {
  if (section !== "results" || dirname(base) === results || !base.startsWith(results)) return "";
  const files = [...jsonIn(dirname(base), 1)];
  const title = (file) => relative(dirname(base), file).replace(/\.json$/, "").replaceAll(/[\\/]/g, ", ").replaceAll(/[_-]/g, " ");
  return files.length === 0 ? "" : `\n\n## The reports\n\nMade of the committed numbers, as the command above writes them at its end: `
    + `${files.map((file) => `[${title(file)}](${relative(dirname(base), file).replaceAll("\\", "/")})`).join("; ")}.\n`;
}

/** Writes all of them below `out`. */
export async function buildReports(out) {
  const { buildGcaRetrievalReport, buildUnexploredStatesReport } = await import("@lenggen/evals/figures");
  mkdirSync(join(out, "results/reports"), { recursive: true });
  for (const { file, path } of allReports()) {
    const report = JSON.parse(readFileSync(file, "utf8"));
    writeFileSync(join(out, path), (report.experiment === "gca-retrieval" ? buildGcaRetrievalReport : buildUnexploredStatesReport)(report));
  }
}
