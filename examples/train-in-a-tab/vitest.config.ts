import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

// The page as it is built, and the packages as they are installed: `npm test` builds both first.
export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  test: {
    name: "tab",
    include: ["test/**/*.test.ts"],
    testTimeout: 300_000,
    hookTimeout: 120_000,
    pool: "forks",
    // One browser at a time, after all other tests: each wants all cores.
    fileParallelism: false,
    sequence: { groupOrder: 2 },
  },
});
