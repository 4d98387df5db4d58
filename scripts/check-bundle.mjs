/**
 * Bundles small pages with Vite as it is, from the built packages, and checks what is in them: no module of Node, no native
 * loader, nothing of npm's webgpu, and no more bytes than the budget. Prints the sizes.
 */
import { mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "vite";
import { root } from "./pack.mjs";

/**
 * Pages, and the most bytes that each may load at once, and with all that it loads when asked to (devices), minified and compressed: what
 * was measured, and a hundredth more.
 */
const PAGES = [
  { name: "one op", budget: 4_140, most: 4_140, code: 'import { add } from "@lenggen/kernels"; globalThis.it = add;' },
  { name: "open a device", budget: 1_900, most: 98_800, code: 'import { open } from "@lenggen/kernels"; globalThis.it = open;' },
  {
    name: "all of kernels", budget: 38_950, most: 132_400,
    code: 'import * as kernels from "@lenggen/kernels"; globalThis.it = { ...kernels };',
  },
  {
    name: "kernels, recurrent and interventions, to train", budget: 79_300, most: 172_700,
    code: ["kernels", "recurrent", "interventions"]
      .map((room) => `import * as ${room} from "@lenggen/${room}"; globalThis.${room} = { ...${room} };`).join("\n"),
  },
  {
    name: "a model with a chunk memory", budget: 24_860, most: 24_860,
    code: 'import * as gca from "@lenggen/gca"; globalThis.it = { ...gca };',
  },
  {
    name: "one measure", budget: 6_960, most: 6_960,
    code: 'import { lossByPosition } from "@lenggen/evals"; globalThis.it = lossByPosition;',
  },
];

/** What must not be in a bundle's text. */
const FORBIDDEN = [/["'`]node:/, /\bcreateRequire\b/, /cpu\.node\b/, /\bimport\(["'`](?:webgpu|fs|path|os|module)["'`]\)/,
  /__vite-browser-external/];
/**
 * Declarations of kernels, which are for types where no device is loaded. A spread or a template among them may look to a bundler as if it
 * did something; then it stays.
 */
const DECLARATION = /["'`](?:i32|any)?\[(?:batch|rows|outer|\*)[^\]\s]*\][?.]*["'`]/;
/** Modules that must not be in a bundle. */
const FOREIGN = [/node_modules\/webgpu\//, /\/packages\/[a-z]+\/dist\/(?!browser\/).*node/, /^node:/, /browser-external/];

/** The chunks that a page loads at once: what is imported on demand is not among them. */
function loadedFirst(chunks) {
  const loaded = new Set();
  const load = (chunk) => {
    if (!chunk || loaded.has(chunk)) return;
    loaded.add(chunk);
    for (const file of chunk.imports) load(chunks.find(({ fileName }) => fileName === file));
  };
  load(chunks.find(({ isEntry }) => isEntry));
  return [...loaded];
}

let failed = 0;
const folder = realpathSync(mkdtempSync(join(tmpdir(), "lenggen-bundle-")));
symlinkSync(join(root, "node_modules"), join(folder, "node_modules"), "junction");

for (const { name, budget, most, code } of PAGES) {
  writeFileSync(join(folder, "main.js"), code);
  writeFileSync(join(folder, "index.html"), '<!doctype html><script type="module" src="/main.js"></script>');
  const warnings = [];
  const customLogger = Object.fromEntries(["info", "warn", "warnOnce", "error", "clearScreen"].map((level) =>
    [level, (message) => { if (level !== "info" && level !== "clearScreen") warnings.push(message); }]));
  const { output } = await build({
    root: folder, configFile: false, logLevel: "warn", customLogger: { ...customLogger, hasWarned: false, hasErrorLogged: () => false },
    build: { write: false },
  });
  const chunks = output.filter(({ type }) => type === "chunk");
  const text = chunks.map((chunk) => chunk.code).join("\n");
  const problems = [
    ...warnings,
    ...[...FORBIDDEN, ...(chunks.length === 1 ? [DECLARATION] : [])].flatMap((pattern) => pattern.exec(text) ?? [])
      .map((found) => `the bundle holds ${JSON.stringify(found)}`),
    ...chunks.flatMap(({ moduleIds }) => moduleIds).filter((id) => FOREIGN.some((pattern) => pattern.test(id)))
      .map((id) => `the bundle holds ${id}`),
    ...chunks.flatMap(({ imports, dynamicImports }) => [...imports, ...dynamicImports])
      .filter((id) => !chunks.some(({ fileName }) => fileName === id))
      .map((id) => `the bundle imports ${id}`),
  ];
  const [bytes, all] = [loadedFirst(chunks), chunks].map((some) =>
    some.reduce((sum, chunk) => sum + gzipSync(chunk.code, { level: 9 }).length, 0));
  if (bytes > budget || all > most) problems.push(
    `over its budget of ${budget} bytes, or ${most} in all; is it worth it? Then write a new budget into scripts/check-bundle.mjs`);
  if (problems.length > 0) failed++;
  console.log(`bundle: ${name}: ${text.length} bytes minified, ${bytes} compressed at once (budget ${budget}), ${all} in all (budget `
    + `${most})${problems.length > 0 ? `: FAILED\n${problems.join("\n")}` : ""}`);
}
rmSync(folder, { recursive: true, force: true });
if (failed > 0) process.exitCode = 1;
