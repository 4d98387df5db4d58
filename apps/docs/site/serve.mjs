/** Serves the built site: `npm run docs:serve`, with `-- --port 8000` elsewhere. */
import { createReadStream, existsSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize, sep } from "node:path";
import { pathToFileURL } from "node:url";
import { docs } from "./pages.mjs";

const TYPES = {
  ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".svg": "image/svg+xml", ".png": "image/png", ".woff2": "font/woff2", ".txt": "text/plain; charset=utf-8", ".wasm": "application/wasm",
  ".safetensors": "application/octet-stream",
};

export const typeOf = (extension) => TYPES[extension] ?? "application/octet-stream";

/** A server of a folder, listening at `base` (such as "/some/folder/") on loopback; `port` 0 takes a free one. */
export function serve(folder, { port = 0, base = "/" } = {}) {
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
    const inside = path.startsWith(base) ? normalize(path.slice(base.length)) : undefined;
    let file = inside === undefined || inside.split(sep).includes("..") ? undefined : join(folder, inside);
    if (file !== undefined && existsSync(file) && statSync(file).isDirectory()) file = join(file, "index.html");
    if (file === undefined || !existsSync(file)) {
      response.writeHead(404, { "Content-Type": "text/plain; charset=utf-8" }).end("There is no such page.\n");
      return;
    }
    response.writeHead(200, { "Content-Type": typeOf(extname(file)), "Content-Length": statSync(file).size });
    if (request.method === "HEAD") response.end();
    else createReadStream(file).pipe(response);
  });
  return new Promise((resolve, reject) => {
    server.on("error", reject);
    server.listen(port, "127.0.0.1", () => resolve({ server, url: `http://127.0.0.1:${server.address().port}${base}` }));
  });
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const dist = join(docs, "dist");
  if (!existsSync(join(dist, "index.html"))) {
    console.error("docs: the site is not built yet: npm run docs");
    process.exit(1);
  }
  const at = process.argv.indexOf("--port");
  const port = at === -1 ? 4173 : Number(process.argv[at + 1]);
  const { url } = await serve(dist, { port }).catch((error) => {
    const taken = `port ${port} is taken; npm run docs:serve -- --port N takes another`;
    console.error(`docs: ${error.code === "EADDRINUSE" ? taken : error.message}`);
    process.exit(1);
  });
  console.log(`docs: ${url} (Ctrl-C ends)`);
}
