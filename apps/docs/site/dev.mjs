/** The site while it is written: `npm run docs:dev`. Pages are rendered when they are asked for, and again when a file changes. */
import { readFileSync } from "node:fs";
import { extname, join } from "node:path";
import { createServer } from "vite";
import { sourceFigures } from "./figures.mjs";
import { docs, SECTIONS } from "./pages.mjs";
import { typeOf } from "./serve.mjs";
import { madePages } from "./reference/index.mjs";
import { renderAll } from "./site.mjs";
import { buildTheme, themeStyle } from "./theme.mjs";

const cache = join(docs, "node_modules/.docs-dev");
const WATCHED = ["index.md", "theme", ...SECTIONS.map(({ folder }) => folder)].map((place) => join(docs, place));

/** Gives pages before Vite looks for files; Vite has all else, which is figures and what they import. */
function pages() {
  let assets;
  let made;
  const pictures = new Map();

  /** What lies at an address, or undefined. */
  async function contentOf(path, url, server) {
    if (path === assets.style) return themeStyle();
    if (path.startsWith("assets/") && path !== assets.index) return readFileSync(pictures.get(path) ?? join(cache, path));
    if (path !== assets.index && extname(path) !== ".html") return undefined;
    const site = await renderAll({ figures: sourceFigures(), assets, made });
    for (const [name, file] of site.pictures) pictures.set(`assets/${name}`, file);
    for (const problem of site.problems) server.config.logger.warn(`docs: ${problem}`);
    if (path === assets.index) return site.index;
    const found = site.documents.find(({ page }) => page.path === path);
    return found && server.transformIndexHtml(url, found.html);
  }

  return {
    name: "docs-pages",
    async configureServer(server) {
      assets = await buildTheme(cache);
      made = madePages();
      server.watcher.add(WATCHED);
      server.watcher.on("all", async (_, file) => {
        if (!/\.(md|svg|css)$/.test(file) && !file.includes("/theme/")) return;
        if (file.includes("/theme/")) assets = await buildTheme(cache);
        server.ws.send({ type: "full-reload" });
      });
      const answer = async (request, response, next) => {
        try {
          const path = decodeURIComponent(request.url.split("?")[0]).slice(1) || "index.html";
          const content = await contentOf(path, request.url, server);
          if (content === undefined) return next();
          response.setHeader("Content-Type", typeOf(extname(path)));
          return response.end(content);
        } catch (error) {
          return next(error);
        }
      };
      server.middlewares.use((request, response, next) => void answer(request, response, next));
    },
  };
}

const server = await createServer({
  configFile: false, root: docs, appType: "custom", publicDir: false, plugins: [pages()], worker: { format: "es" },
  server: { host: "127.0.0.1", fs: { strict: false } },
});
await server.listen();
server.printUrls();
