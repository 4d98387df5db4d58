import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

/** This package's folder: one up both of src and of dist. */
export const packageFolder: string = fileURLToPath(new URL("..", import.meta.url));

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly homepage?: string;
  readonly dependencies: Readonly<Record<string, string>>;
}

const manifest = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as Manifest;

/** This package's version. */
export const version: string = manifest.version;

/** Where the docs site is served; undefined as long as it is nowhere, and package.json names no `homepage`. */
export const site: string | undefined = manifest.homepage;

/** The versions of this package and of those of ours that it runs with, which are released one by one. */
export function versions(): Record<string, string> {
  const require = createRequire(import.meta.url);
  const ours = Object.keys(manifest.dependencies).filter((name) => name.startsWith("@lenggen/")).sort();
  return Object.fromEntries([[manifest.name, version],
    ...ours.map((name) => [name, (require(`${name}/package.json`) as Manifest).version])]) as Record<string, string>;
}
