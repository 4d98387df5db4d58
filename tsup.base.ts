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
    // tsup's types plugin sets `baseUrl`, which TypeScript 6 reports as deprecated.
    dts: { compilerOptions: { ignoreDeprecations: "6.0" } },
    sourcemap: true,
    splitting: true,
    treeshake: true,
    clean: true,
    silent: true,
  };
}
