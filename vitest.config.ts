import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const source = (path: string) => fileURLToPath(new URL(`packages/${path}`, import.meta.url));

// Tests run on the sources: one alias per entry of a room, so that no build is needed first.
export default defineConfig({
  resolve: {
    alias: [
      { find: /^@lenggen\/([a-z]+)$/, replacement: source("$1/src/index.ts") },
      { find: /^@lenggen\/([a-z]+)\/node$/, replacement: source("$1/src/node/index.ts") },
    ],
  },
  test: {
    include: ["packages/*/{src,test,fuzz}/**/*.test.ts"],
    testTimeout: 60_000,
    pool: "forks",
  },
});
