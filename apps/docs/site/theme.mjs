/** The theme's style and scripts, built into a site's assets; formulas' style with the fonts that it names. */
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { METHOD_STYLES } from "@lenggen/evals";
import { build } from "vite";
import { docs } from "./pages.mjs";

const hashed = (name, extension, content) =>
  `assets/${name}-${createHash("sha256").update(content).digest("hex").slice(0, 8)}.${extension}`;

/** One script without imports, for `<script>`. */
async function script(entry) {
  const [{ output }] = await build({
    configFile: false, root: docs, logLevel: "warn", publicDir: false,
    build: {
      write: false, target: "es2022", minify: true,
      lib: { entry: join(docs, "theme", entry), formats: ["iife"], name: "lenggenDocs", fileName: "x" },
    },
  });
  return output[0].code;
}

/** The style for formulas, in woff2 alone, which every browser of today reads. */
function mathStyle(out) {
  const folder = dirname(createRequire(import.meta.url).resolve("katex/dist/katex.min.css"));
  const css = readFileSync(join(folder, "katex.min.css"), "utf8").replaceAll(/,url\([^)]+\.(?:woff|ttf)\) format\("\w+"\)/g, "");
  mkdirSync(join(out, "assets/fonts"), { recursive: true });
  for (const [, font] of css.matchAll(/url\((fonts\/[^)]+\.woff2)\)/g)) cpSync(join(folder, font), join(out, "assets", font));
  return css;
}

/** The theme's style, with the colours that each method has in all figures (`--lg-state-passing` ...). */
export function themeStyle() {
  const methods = Object.entries(METHOD_STYLES).map(([method, { light, dark }]) => `--lg-${method}:light-dark(${light},${dark})`).join(";");
  return `${readFileSync(join(docs, "theme/style.css"), "utf8")}:root{${methods}}\n`;
}

/** Writes them and gives their addresses: { style, script, search, math, index }; nothing is written at `index` yet. */
export async function buildTheme(out) {
  const written = {
    style: ["style", "css", themeStyle()],
    script: ["page", "js", await script("page.ts")],
    search: ["search", "js", await script("search.ts")],
    math: ["math", "css", mathStyle(out)],
  };
  const assets = { index: "assets/search-index.js" };
  for (const [name, [file, extension, content]] of Object.entries(written)) {
    assets[name] = hashed(file, extension, content);
    writeFileSync(join(out, assets[name]), content);
  }
  return assets;
}
