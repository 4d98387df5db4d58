import { defineConfig, type Plugin } from "vite";
import { novel } from "./novel.mjs";

const SAMPLE = "moby-dick.txt";

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
