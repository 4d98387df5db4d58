/**
 * Records what the figures show before anything is computed in the page: numbers of real runs, stills, and weights of small models.
 *
 *   node apps/docs/scripts/record-figures.mjs [collapse state retrieval remembrance]
 *
 * Needs built packages (`npx turbo run build`), takes a minute on two cores, and writes into apps/docs/figures. What it writes is
 * committed.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { open } from "@lenggen/kernels";
import { createServer } from "vite";
import { prepareFigures } from "../figures/prepare.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const figures = join(root, "figures");
const ALL = ["collapse", "state", "remembrance", "retrieval"];
const names = process.argv.length > 2 ? process.argv.slice(2) : ALL;

const made = await prepareFigures();
const vite = await createServer({ configFile: false, root, logLevel: "warn", appType: "custom", server: { middlewareMode: true, ws: false },
  optimizeDeps: { noDiscovery: true } });
const device = await open("cpu");
try {
  for (const name of names) {
    const { record } = await vite.ssrLoadModule(`/figures/${name}/record.ts`);
    const files = await record({
      device,
      text: new Uint8Array(readFileSync(join(made, "moby-dick.txt"))),
      command: "node apps/docs/scripts/record-figures.mjs",
      file: async (path) => new Uint8Array(readFileSync(join(figures, path))),
      note: (text) => console.error(text),
    });
    for (const [path, content] of Object.entries(files)) {
      const file = join(figures, path);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, content);
      console.log(`${path}: ${content.length} bytes`);
    }
  }
} finally {
  device.close();
  await vite.close();
}
