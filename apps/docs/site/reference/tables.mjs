/** Pages that are written by hand and checked against the sources: error codes and environment variables. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ERROR_CODES } from "@lenggen/kernels";
import { root } from "../pages.mjs";

/** Codes that only the command line has, with their meaning. */
const MORE_CODES = { E_INTERNAL: "an error that is none of the others" };

/** The page of error codes with the meaning of each, which stands beside it in the code; and codes that only one of both has. */
export function errorCodes(text) {
  const meanings = { ...ERROR_CODES, ...MORE_CODES };
  const problems = [];
  const told = new Set();
  const sections = text.split(/^(?=## )/m).map((section) => {
    const code = /^## (\w+)\n/.exec(section)?.[1];
    if (code === undefined) return section;
    told.add(code);
    const meaning = meanings[code];
    if (meaning === undefined) problems.push(`reference/errors.md: ${code} is no error code`);
    for (const part of ["**Cause.**", "**What to do.**"]) {
      if (!section.includes(part)) problems.push(`reference/errors.md: ${code} lacks "${part}"`);
    }
    return section.replace(/\n/, `\n\n${meaning?.[0].toUpperCase()}${meaning?.slice(1)}.\n`);
  });
  for (const code of Object.keys(meanings)) if (!told.has(code)) problems.push(`reference/errors.md: ${code} has no section`);
  return { text: sections.join(""), problems };
}

function* sources(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (["node_modules", "dist", "build", "docs", ".turbo"].includes(entry.name)) continue;
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* sources(path);
    else if (/\.(ts|mjs|js)$/.test(entry.name)) yield path;
  }
}

const OURS = /^(LENGGEN|HF|HUGGING_?FACE|TRANSFORMERS)_/;
/** How variables are read: `env.X`, `env["X"]`, `const { X } = process.env`, and names in lists. */
const READS = [/\benv(?:\?\.)?(?:\.|\[")([A-Z][A-Z0-9_]+)/g, /"((?:HF|TRANSFORMERS)_[A-Z_]+)"/g];

function readVariables() {
  const names = new Set();
  for (const file of ["packages", "scripts", "examples"].flatMap((place) => [...sources(join(root, place))])
    .concat(["vitest.config.ts", "tsup.base.ts"].map((name) => join(root, name)))) {
    const text = readFileSync(file, "utf8");
    for (const pattern of READS) for (const [, name] of text.matchAll(pattern)) names.add(name);
    for (const [, list] of text.matchAll(/const \{([^}]*)\} = process\.env/g)) {
      for (const name of list.split(/[\s,]+/)) names.add(name);
    }
  }
  return new Set([...names].filter((name) => OURS.test(name)));
}

/** Variables that the page of environment variables and the sources do not both have. */
export function environmentProblems(text) {
  const read = readVariables();
  const told = new Set([...text.matchAll(/`([A-Z][A-Z0-9_]+)[=`]/g)].map(([, name]) => name).filter((name) => OURS.test(name)));
  return [
    ...[...read].filter((name) => !told.has(name)).map((name) => `reference/environment.md: ${name} is read, and has no line`),
    ...[...told].filter((name) => !read.has(name)).map((name) => `reference/environment.md: nothing reads ${name}`),
  ];
}
