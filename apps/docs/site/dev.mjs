/** The site while it is written: `npm run docs:dev`. Pages are rendered when they are asked for, and again when a file changes. */
import { readFileSync } from "node:fs";
import { extname, join } from "node:path";
import { createServer } from "vite";
import { sourceFigures } from "./figures.mjs";
import { docs, SECTIONS } from "./pages.mjs";
import { typeOf } from "./serve.mjs";
import { renderAll } from "./site.mjs";
import { buildTheme, themeStyle } from "./theme.mjs";

const cache = join(docs, "node_modules/.docs-dev");

/** Renders pages before Vite looks for files. */
function pages() {
  let assets;
  return {
    name: "docs-pages",
    async configureServer(server) {
      assets = await buildTheme(cache);
      server.watcher.add(["index.md", "theme", ...SECTIONS.map(({ folder }) => folder)].map((place) => join(docs, place)));
      server.watcher.on("all", async (_, file) => {
        if (!/\.(md|svg|css)$/.test(file) && !file.includes("/theme/")) return;
        if (file.includes("/theme/")) assets = await buildTheme(cache);
        server.ws.send({ type: "full-reload" });
      });
      const answer = async (request, response, next) => {
        const path = decodeURIComponent(request.url.split("?")[0]).slice(1) || "index.html";
        if (path === assets.index || extname(path) === ".html") {
          const { documents, pictures, index, problems } = await renderAll({ figures: sourceFigures(), assets });
          for (const [name, file] of pictures) shown.set(`assets/${name}`, file);
          for (const problem of problems) server.config.logger.warn(`docs: ${problem}`);
          if (path === assets.index) return send(response, ".js", index);
          const found = documents.find(({ page }) => page.path === path);
          return found ? send(response, ".html", await server.transformIndexHtml(request.url, found.html)) : next();
        }
        if (path === assets.style) return send(response, ".css", themeStyle());
        if (path.startsWith("assets/")) return send(response, extname(path), readFileSync(shown.get(path) ?? join(cache, path)));
        return next();
      };
      server.middlewares.use((request, response, next) => {
        void answer(request, response, next).then(undefined, (error) => next(error));
      });
    },
  };
}

const shown = new Map();

function send(response, extension, content) {
  response.setHeader("Content-Type", typeOf(extension));
  response.end(content);
}

const server = await createServer({
  configFile: false, root: docs, appType: "custom", publicDir: false, plugins: [pages()], worker: { format: "es" },
  server: { host: "127.0.0.1", fs: { strict: false } },
});
await server.listen();
server.printUrls();
