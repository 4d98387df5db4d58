/**
 * Runs the README examples of every package as a reader would: in an empty project, with the packages installed from their
 * tarballs. Code blocks of one README run in order and in one folder: ts and js as modules, sh line by line in bash.
 * A block after `<!-- not run: reason -->` is skipped, and the reason printed. Needs built packages.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import ts from "typescript";
import { packAll, packPlatform } from "./pack.mjs";

const LIMIT_MS = 240_000;
let passed = 0;
let failed = 0;

function verdict(name, problem, ms) {
  if (problem) failed++;
  else passed++;
  console.log(`examples: ${name}: ${problem ? `FAILED\n${problem}` : `ok (${(ms / 1000).toFixed(1)} s)`}`);
}

function run(name, command, args, cwd) {
  const started = performance.now();
  const path = `${join(project, "node_modules", ".bin")}${delimiter}${process.env.PATH}`;
  const result = spawnSync(command, args, { cwd, encoding: "utf8", timeout: LIMIT_MS, env: { ...process.env, PATH: path } });
  const problem = result.error ? result.error.message : `${result.stdout}${result.stderr}exit code ${result.status}`;
  verdict(name, result.status === 0 ? "" : problem, performance.now() - started);
}

/** The code blocks of a README: { language, code, line, skip }. */
function blocksOf(text) {
  return [...text.matchAll(/(?:<!-- not run: (.+?) -->\s*\n)?^```(\w+)\n([\s\S]*?)^```$/gm)].map((match) => ({
    skip: match[1],
    language: match[2],
    code: match[3],
    line: text.slice(0, match.index).split("\n").length,
  }));
}

const RUNNERS = {
  ts: (name, code, cwd) => {
    const { outputText } = ts.transpileModule(code, { compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 } });
    RUNNERS.js(name, outputText, cwd);
  },
  js: (name, code, cwd) => {
    const file = join(cwd, `example-${passed + failed}.mjs`);
    writeFileSync(file, code);
    run(name, process.execPath, [file], cwd);
  },
  sh: (name, code, cwd) => run(name, "bash", ["-euo", "pipefail", "-c", code], cwd),
};

const rooms = packAll();
const platform = packPlatform();
if (!platform) console.log("examples: the cpu device is not built, so the examples run on reference");
const tarballs = [...rooms.map(({ tarball }) => tarball), ...(platform ? [platform] : [])];
const project = mkdtempSync(join(tmpdir(), "lenggen-examples-"));
writeFileSync(join(project, "package.json"), `${JSON.stringify({ name: "empty-project", private: true, type: "module" })}\n`);
run("npm install of the tarballs in an empty project", "npm",
  ["install", "--prefer-offline", "--no-audit", "--no-fund", ...tarballs], project);

if (failed === 0) {
  for (const { name, folder } of rooms) {
    const readme = join(folder, "README.md");
    const cwd = join(project, name);
    mkdirSync(cwd);
    const blocks = existsSync(readme) ? blocksOf(readFileSync(readme, "utf8")) : [];
    let ran = 0;
    for (const { language, code, line, skip } of blocks) {
      const title = `packages/${name}/README.md:${line}`;
      if (skip) console.log(`examples: ${title}: not run: ${skip}`);
      else if (RUNNERS[language]) {
        RUNNERS[language](title, code, cwd);
        ran++;
      }
    }
    if (ran === 0) verdict(`packages/${name}/README.md`, "it has no example that runs");
  }
  const entries = rooms.flatMap(({ manifest }) => Object.keys(manifest.exports).filter((entry) => !entry.endsWith(".json"))
    .map((entry) => manifest.name + entry.slice(1)));
  RUNNERS.js("imports of every entry", entries.map((entry) => `await import(${JSON.stringify(entry)});`).join("\n"), project);
  RUNNERS.sh("doctor finds the devices", `lenggen doctor --json | grep -q '"name":"cpu","available":${platform !== undefined}'`, project);
}
rmSync(project, { recursive: true, force: true });
console.log(`examples: ${passed} passed, ${failed} failed`);
if (failed > 0) process.exitCode = 1;
