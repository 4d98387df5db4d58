import { existsSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import type { Options } from "tsup";

/**
 * How every room is built: ESM only, types beside the code, `using` lowered for Node 20. Each entry of a
 * package's `exports` is one entry here; what entries share goes to a common chunk, so that a class is the
 * same class whichever entry it came from.
 */
export function room(entry: Record<string, string>): Options {
  return {
    entry,
    tsconfig: "tsconfig.build.json",
    format: ["esm"],
    target: "es2022",
    platform: "neutral",
    external: [/^node:/],
    // Four fifths of the time go into declarations, which who only runs the command does not need (scripts/setup.mjs). tsup's types
    // plugin sets `baseUrl`, which TypeScript 6 reports as deprecated.
    dts: process.env.LENGGEN_DECLARATIONS !== "none" && { compilerOptions: { ignoreDeprecations: "6.0" } },
    sourcemap: true,
    splitting: true,
    treeshake: true,
    // `node:fs` stays `node:fs`: no bundler takes it for a package.
    removeNodeProtocol: false,
    // All but what browserRoom writes at the same time.
    clean: ["!browser/**"],
    silent: true,
  };
}

type Plugin = NonNullable<Options["esbuildPlugins"]>[number];

/** Imports between our own files stay imports, of `x.browser.ts` where there is one beside `x.ts`. */
const moduleByModule: Plugin = {
  name: "module-by-module",
  setup(build) {
    build.onResolve({ filter: /^\.\.?(\/|$)/ }, ({ path, importer, resolveDir, kind }) => {
      if (kind === "entry-point") return undefined;
      const base = join(resolveDir, path);
      const file = [`${base}.browser.ts`, `${base}.ts`, join(base, "index.ts")].find((candidate) => existsSync(candidate));
      if (file === undefined) return { errors: [{ text: `${importer} imports ${path}, which is no file` }] };
      const target = relative(dirname(importer), file).replaceAll("\\", "/").replace(/\.ts$/, ".js");
      return { path: target.startsWith(".") ? target : `./${target}`, external: true };
    });
  },
};

/**
 * The build for bundlers that make something for the browser, from these files (globs): without what only Node has, and module by
 * module, so that a bundle holds no module that it does not use (`sideEffects: false`). Types are those of {@link room}.
 */
export function browserRoom(entry: string[]): Options {
  return {
    ...room({}),
    entry: [...entry, "!src/**/*.test.ts", "!src/**/*.fixture.ts"],
    outDir: "dist/browser",
    dts: false,
    splitting: false,
    treeshake: false,
    clean: true,
    esbuildPlugins: [moduleByModule],
  };
}
