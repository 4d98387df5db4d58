/**
 * The code blocks of Markdown, run as a reader would: those of one file in order and in one folder, ts and js as modules, sh line by
 * line in bash. A block after `<!-- not run: reason -->` is skipped, and the reason printed.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import ts from "typescript";

const LIMIT_MS = 240_000;

/** The code blocks of a text: { language, code, line, skip }. */
export function blocksOf(text) {
  return [...text.matchAll(/(?:<!-- not run: (.+?) -->\s*\n)?^```(\w+)\n([\s\S]*?)^```$/gm)].map((match) => ({
    skip: match[1],
    language: match[2],
    code: match[3],
    line: text.slice(0, match.index).split("\n").length,
  }));
}

/** Runs examples with what is installed in the folder `project`, and counts them. */
export class Examples {
  passed = 0;
  failed = 0;

  /** `label` begins each line that is printed. */
  constructor(project, label = "examples") {
    this.project = project;
    this.label = label;
  }

  verdict(name, problem, ms) {
    if (problem) this.failed++;
    else this.passed++;
    console.log(`${this.label}: ${name}: ${problem ? `FAILED\n${problem}` : `ok (${(ms / 1000).toFixed(1)} s)`}`);
  }

  program(name, command, args, cwd = this.project) {
    const started = performance.now();
    const path = `${join(this.project, "node_modules", ".bin")}${delimiter}${process.env.PATH}`;
    const result = spawnSync(command, args, { cwd, encoding: "utf8", timeout: LIMIT_MS, env: { ...process.env, PATH: path } });
    const problem = result.error ? result.error.message : `${result.stdout}${result.stderr}exit code ${result.status}`;
    this.verdict(name, result.status === 0 ? "" : problem, performance.now() - started);
  }

  js(name, code, cwd = this.project) {
    const file = join(cwd, `example-${this.passed + this.failed}.mjs`);
    writeFileSync(file, code);
    this.program(name, process.execPath, [file], cwd);
  }

  ts(name, code, cwd = this.project) {
    const { outputText } = ts.transpileModule(code, { compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 } });
    this.js(name, outputText, cwd);
  }

  sh(name, code, cwd = this.project) {
    this.program(name, "bash", ["-euo", "pipefail", "-c", code], cwd);
  }

  /** Runs the blocks of the file `markdown`, called `title`, in the folder `place` of the project; returns how many ran. */
  file(markdown, title, place) {
    const cwd = join(this.project, place);
    mkdirSync(cwd, { recursive: true });
    let ran = 0;
    for (const { language, code, line, skip } of blocksOf(readFileSync(markdown, "utf8"))) {
      const name = `${title}:${line}`;
      if (skip) console.log(`${this.label}: ${name}: not run: ${skip}`);
      else if (["ts", "js", "sh"].includes(language)) {
        this[language](name, code, cwd);
        ran++;
      }
    }
    return ran;
  }
}
