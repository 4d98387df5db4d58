import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

// Tests run on the sources: one alias per room, so that no build is needed first.
export default defineConfig({
  resolve: {
    alias: [{ find: /^@lenggen\/([a-z]+)$/, replacement: fileURLToPath(new URL("packages/$1/src/index.ts", import.meta.url)) }],
  },
  test: {
    include: ["packages/*/src/**/*.test.ts", "packages/*/test/**/*.test.ts"],
    testTimeout: 60_000,
    pool: "forks",
  },
});
