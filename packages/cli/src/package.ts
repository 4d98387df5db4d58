import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** This package's folder: one up both of src and of dist. */
export const packageFolder: string = fileURLToPath(new URL("..", import.meta.url));

/** This package's version. */
export const version: string = (JSON.parse(readFileSync(new URL("../package.json", import.meta.url),
  "utf8")) as { version: string }).version;
