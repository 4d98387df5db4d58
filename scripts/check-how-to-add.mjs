/**
 * Holds the lists of "How to add" in ARCHITECTURE.md against one example each: the example's files exist, the list names them, and the only
 * files beside them that know the example are those that the list names. Prints one line per finding and `how to add: N lists checked` or
 * fails.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const KERNELS = "packages/kernels/src";

/**
 * `own`: the files that are added for the example `name`; `known`: those that get a line; `withKernels`: those that get one once the op has
 * kernels, in which list they stand. A list in ARCHITECTURE says them with `<op>` or
 * the like in the place of the name.
 */
const LISTS = [
  {
    list: "An op", placeholder: "<op>", name: "cumulativeSum",
    own: [`${KERNELS}/ops/cumulativeSum.ts`, `${KERNELS}/ops/cumulativeSum.test.ts`],
    known: [`${KERNELS}/families.ts`, `${KERNELS}/index.ts`], withKernels: [`${KERNELS}/laws/opCases.ts`],
  },
  {
    list: "Its kernels", placeholder: "<op>", name: "cumulativeSum",
    own: [`${KERNELS}/backends/reference/cumulativeSum.ts`, `${KERNELS}/backends/webgpu/cumulativeSum.ts`,
      "packages/kernels/native/cpu/cumulativeSum.cpp"],
    known: [`${KERNELS}/backends/reference/index.ts`, `${KERNELS}/backends/webgpu/index.ts`, "packages/kernels/native/cpu/families.h"],
  },
  { list: "A composed form", placeholder: "<family>", name: "rope", own: [`${KERNELS}/composed/rope.ts`],
    known: [`${KERNELS}/composed/index.ts`] },
  { list: "A backend", placeholder: "<device>", name: "reference", own: [`${KERNELS}/backends/reference/index.ts`],
    known: [`${KERNELS}/open.ts`] },
  {
    list: "A model family", placeholder: "<family>", name: "transformer",
    own: ["config.ts", "model.ts", "model.test.ts"].map((file) => `packages/gca/src/transformer/${file}`),
    known: ["packages/gca/src/index.ts", "packages/gca/src/files.ts", "packages/gca/src/families.ts"],
  },
  {
    list: "An intervention", placeholder: "<source>", name: "randomNoise",
    own: ["packages/interventions/src/sources/randomNoise.ts"],
    known: ["packages/interventions/src/interventions.ts", "packages/interventions/src/index.ts"],
  },
  {
    list: "An optimiser", placeholder: "<optimizer>", name: "muon",
    own: ["packages/interventions/src/optimizers/muon.ts", "packages/interventions/src/optimizers/muon.test.ts"],
    known: ["packages/interventions/src/optimizers.ts", "packages/interventions/src/index.ts"],
  },
  { list: "A task", placeholder: "<task>", name: "copying", own: ["packages/evals/src/tasks/copying.ts"],
    known: ["packages/evals/src/tasks/index.ts"] },
];

const problems = [];
const sources = execFileSync("git", ["ls-files", "packages", "examples"], { cwd: root, encoding: "utf8" }).trim().split("\n")
  .filter((file) => /\.(ts|h)$/.test(file));
const text = new Map(sources.filter((file) => existsSync(join(root, file))).map((file) => [file, readFileSync(join(root, file), "utf8")]));

/** Files, no tests, that import one of these or, of native code, name it in their table. */
function whoKnows(own, name) {
  const modules = new Set(own.filter((file) => file.endsWith(".ts")).map((file) => file.replace(/(\/index)?\.ts$/, "")));
  return [...text].filter(([file, code]) => {
    if (own.includes(file) || /(\.test|\.fixture)\.ts$/.test(file)) return false;
    if (file.endsWith("/native/cpu/families.h")) return own.some((each) => each.endsWith(".cpp"))
      && new RegExp(`X\\(${name}\\)`).test(code);
    // What is loaded when it is first asked for counts as well: `import("./there")`.
    return [...code.matchAll(/\b(?:import|export)\b(\s+type\b)?(?:[^"';]*?from\s+|\()"(\.[^"]+)"/g)]
      .some(([, type, to]) => !type && modules.has(join(dirname(file), to)));
  }).map(([file]) => file);
}

const architecture = readFileSync(join(root, "ARCHITECTURE.md"), "utf8");
const lines = architecture.slice(architecture.indexOf("## How to add")).split("\n");
for (const { list, placeholder, name, own, known, withKernels = [] } of LISTS) {
  const line = lines.find((each) => each.startsWith(`- **${list}`));
  if (line === undefined) {
    problems.push(`ARCHITECTURE.md has no list "${list}"`);
    continue;
  }
  for (const file of own) if (!text.has(file) && !existsSync(join(root, file))) problems.push(`${list}: the example ${file} is missing`);
  for (const file of [...own, ...known]) {
    const said = [basename(file), basename(file).replace(name, placeholder), file.replace(name, placeholder)]
      .some((form) => line.includes(form));
    if (!said) problems.push(`${list}: the list does not say ${basename(file).replace(name, placeholder)}`);
  }
  const found = whoKnows(own, name).filter((file) => !own.some((each) => dirname(each) === dirname(file)) || known.includes(file));
  const saysKernels = (file) => lines.some((each) => each.startsWith("- **Its kernels") && each.includes(basename(file)));
  for (const file of withKernels) if (!saysKernels(file)) problems.push(`Its kernels: the list does not say ${basename(file)}`);
  for (const file of found) {
    const ofAnother = LISTS.some((other) => other.name === name && other.own.includes(file));
    if (ofAnother || [...known, ...withKernels].includes(file)) continue;
    problems.push(`${list}: ${file} knows ${name} too, which the list does not say`);
  }
  for (const file of known) if (!found.includes(file)) problems.push(`${list}: ${file} does not know ${name}`);
}

for (const problem of problems) console.error(`how to add: ${problem}`);
if (problems.length > 0) process.exitCode = 1;
else console.log(`how to add: ${LISTS.length} lists checked`);
