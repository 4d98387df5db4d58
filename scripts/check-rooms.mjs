/**
 * Checks the house's plan on the sources: packages import only the packages below them, browser-safe code imports
 * nothing of Node, and no files import each other in a circle, not for types either.
 * No line is over 140 columns, but for long regular expressions. Files of 400 lines and more get a warning. Prints one line per finding
 * and what it has checked, or fails.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Which of our packages each package may import. A new package gets its line here. */
const MAY_IMPORT = {
  kernels: [],
  recurrent: ["kernels"],
  gca: ["kernels"],
  interventions: ["kernels"],
  evals: ["kernels"],
  data: ["kernels"],
  cli: ["kernels", "recurrent", "gca", "interventions", "evals", "data"],
};

/** What no package stands on: every example, and the docs site, may import these. */
const PRIVATE_MAY_IMPORT = {
  examples: ["kernels", "recurrent", "interventions", "evals"],
  apps: ["kernels", "recurrent", "gca", "interventions", "evals"],
};

/** Where Node's own modules may be imported; everything else must run in a browser too. */
const NODE_ALLOWED = [/^packages\/cli\//, /^packages\/[a-z]+\/src\/node\//, /^packages\/kernels\/src\/backends\/cpu\//,
  /(\.test|\/testing)\.ts$/, /\/(test|scripts)\//, /\/(tsup|vite|vitest)\.config\.ts$/];

const LONGEST = 400;
const WIDEST = 140;
/** A long regular expression, which can't be wrapped. */
const UNBREAKABLE = /\/(?:[^/\\[]|\\.|\[(?:[^\]\\]|\\.)*\]){80,}\//;

const problems = [];
const warnings = [];

function* filesUnder(folder, pattern) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (["node_modules", "dist", "build", ".turbo"].includes(entry.name)) continue;
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* filesUnder(path, pattern);
    else if (pattern.test(entry.name)) yield path;
  }
}

/** The imports of one file: { specifier, typeOnly }. Comments are cut out first. */
function importsOf(text) {
  const code = text.replaceAll(/\/\*[\s\S]*?\*\//g, "").replaceAll(/^\s*\/\/.*$/gm, "");
  const found = [];
  for (const match of code.matchAll(/^\s*(?:import|export)\s+(type\s+)?(?:[^"';]*?\sfrom\s+)?["']([^"']+)["']/gm)) {
    found.push({ specifier: match[2], typeOnly: match[1] !== undefined });
  }
  for (const match of code.matchAll(/\bimport\(\s*["']([^"']+)["']\s*\)/g))
    found.push({ specifier: match[1], typeOnly: false, lazy: true });
  return found;
}

function resolveRelative(from, specifier, known) {
  const base = join(dirname(from), specifier);
  return [base, `${base}.ts`, join(base, "index.ts")].find((path) => known.has(path));
}

const foldersIn = (place) => readdirSync(join(root, place), { withFileTypes: true }).filter((entry) => entry.isDirectory())
  .map((entry) => ({ place, room: entry.name }));

/** Lines that are too wide to be read beside another file. */
function checkWidth(file, text) {
  for (const [i, line] of text.split("\n").entries()) {
    const width = [...line].length;
    if (width > WIDEST && !UNBREAKABLE.test(line)) {
      problems.push(`${relative(root, file)}:${i + 1}: ${width} columns; wrap it at ${WIDEST}`);
    }
  }
}

const graph = new Map(); // file -> files that it imports as it loads

for (const { place, room } of [...foldersIn("packages"), ...foldersIn("examples"), ...foldersIn("apps")]) {
  const allowed = PRIVATE_MAY_IMPORT[place] ?? MAY_IMPORT[room];
  if (!allowed) {
    problems.push(`${place}/${room}: not in the table of scripts/check-rooms.mjs`);
    continue;
  }
  const folder = join(root, place, room);
  const files = new Set(filesUnder(folder, /\.ts$/));
  for (const file of files) {
    const path = relative(root, file);
    const text = readFileSync(file, "utf8");
    const imported = [];
    for (const { specifier, typeOnly, lazy } of importsOf(text)) {
      const ours = /^@lenggen\/([a-z]+)/.exec(specifier)?.[1];
      if (ours !== undefined && ours !== room && !allowed.includes(ours)) {
        problems.push(`${path}: imports ${specifier}; ${room} may import ${allowed.join(", ") || "none of our packages"}`);
      }
      // A lazy import is one's own decision at run time.
      if (specifier.startsWith("node:") && !typeOnly && !lazy && !NODE_ALLOWED.some((pattern) => pattern.test(path))) {
        problems.push(`${path}: imports ${specifier}, but must run in a browser too`);
      }
      if (!specifier.startsWith(".")) continue;
      const target = resolveRelative(file, specifier, files);
      if (target?.startsWith(folder) === false) problems.push(`${path}: reaches out of its package with ${specifier}`);
      if (target && !lazy) imported.push(target);
    }
    graph.set(file, imported);
  }
  for (const file of filesUnder(folder, /\.(ts|cpp|h|mjs)$/)) {
    const text = readFileSync(file, "utf8");
    checkWidth(file, text);
    const lines = text.split("\n").length - 1;
    if (lines >= LONGEST) warnings.push(`${relative(root, file)}: ${lines} lines; is it still one idea?`);
  }
}

for (const file of filesUnder(join(root, "scripts"), /\.(ts|mjs)$/)) checkWidth(file, readFileSync(file, "utf8"));

/** Depth-first: a file met again while still on the path closes a circle. */
const state = new Map();
function visit(file, path) {
  if (state.get(file) === "done") return;
  if (state.get(file) === "open") {
    problems.push(`circle: ${[...path.slice(path.indexOf(file)), file].map((f) => relative(root, f)).join(" -> ")}`);
    return;
  }
  state.set(file, "open");
  for (const next of graph.get(file) ?? []) visit(next, [...path, file]);
  state.set(file, "done");
}
for (const file of graph.keys()) visit(file, []);

for (const line of warnings) console.log(`rooms: warning: ${line}`);
for (const line of problems) console.error(`rooms: ${line}`);
if (problems.length > 0) process.exitCode = 1;
else console.log(`rooms: ${graph.size} files, no import upward, sideways or in a circle, no line too wide`);
