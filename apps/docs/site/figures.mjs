/** Live figures: a folder in apps/docs/figures with index.ts (what runs) and still.svg (what is printed, and seen without scripts). */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { build } from "vite";
import { prepareFigures } from "../figures/prepare.mjs";
import { docs, upFrom } from "./pages.mjs";

const folder = join(docs, "figures");

/** Names of the live figures. */
const figureNames = () => readdirSync(folder, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && existsSync(join(folder, entry.name, "index.ts"))).map(({ name }) => name);

/** A figure's place in a page, up to its caption. Its still is part of the page, so that it has the page's colours. */
export function figureHtml(name, { page, figures, problem }) {
  const module = figures[name];
  const still = join(folder, name, "still.svg");
  if (module === undefined || !existsSync(still)) {
    problem(`${page.path}: the figure "${name}" needs apps/docs/figures/${name}/index.ts and still.svg`);
    return "<figure>";
  }
  return `<figure class="live" data-figure="${name}" data-module="${upFrom(page.path)}${module}">
<div class="still">${readFileSync(still, "utf8").replace(/^\s*<\?xml[^>]*>\s*/, "").trim()}</div>
<div class="stage" hidden></div>
<p class="status" role="status"></p>
`;
}

/** Builds the figures and the parts they share into `out`/assets; gives for each name the address of its module. */
export async function buildFigures(out) {
  const names = figureNames();
  if (names.length === 0) return {};
  await prepareFigures();
  const { output } = await build({
    configFile: false,
    root: docs,
    base: "./",
    logLevel: "warn",
    publicDir: false,
    worker: { format: "es" },
    build: {
      target: "es2022",
      outDir: out,
      emptyOutDir: false,
      modulePreload: { polyfill: false },
      cssCodeSplit: true,
      rollupOptions: {
        input: Object.fromEntries(names.map((name) => [`figure-${name}`, join(folder, name, "index.ts")])),
        preserveEntrySignatures: "exports-only",
      },
    },
  });
  const entries = output.filter((chunk) => chunk.isEntry);
  return Object.fromEntries(names.map((name) => [name, entries.find((chunk) => chunk.name === `figure-${name}`).fileName]));
}

/** In development Vite serves each figure's source. */
export const sourceFigures = () => Object.fromEntries(figureNames().map((name) => [name, relative(docs, join(folder, name, "index.ts"))]));
