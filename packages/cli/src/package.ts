import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** This package's folder: one up both of src and of dist. */
export const packageFolder: string = fileURLToPath(new URL("..", import.meta.url));

const manifest = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string; homepage?: string };

/** This package's version. */
export const version: string = manifest.version;

/** Where the docs site is served; undefined as long as it is nowhere, and package.json names no `homepage`. */
export const site: string | undefined = manifest.homepage;
