/** Runs the command as users do: the built one, in a process of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const BIN = fileURLToPath(new URL("../bin/lenggen.js", import.meta.url));
const BUILT = fileURLToPath(new URL("../dist/index.js", import.meta.url));

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** The last line of stderr. */
  readonly error: string;
}

export interface Running {
  readonly process: ChildProcess;
  readonly finished: Promise<Finished>;
  /** Resolves when stderr and stdout together match. */
  until(pattern: RegExp): Promise<void>;
}

export function start(args: readonly string[], options: { cwd?: string; env?: NodeJS.ProcessEnv } = {}): Running {
  if (!existsSync(BUILT)) throw new Error("the command is not built: run npm test, or npm run build");
  const child = spawn(process.execPath, [BIN, ...args],
    { cwd: options.cwd, env: { ...process.env, ...options.env }, stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  const waiting: { pattern: RegExp; resolve: () => void; reject: (error: Error) => void }[] = [];
  const look = (): void => {
    for (const { pattern, resolve } of waiting) if (pattern.test(stderr + stdout)) resolve();
  };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
    look();
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
    look();
  });
  const finished = new Promise<Finished>((resolve) => {
    child.on("close", (code) => {
      for (const { pattern, reject } of waiting) reject(new Error(`ended before ${String(pattern)}: ${stderr}${stdout}`));
      resolve({ code, stdout, stderr, error: stderr.trim().split("\n").at(-1)! });
    });
  });
  return {
    process: child,
    finished,
    until: (pattern) => new Promise((resolve, reject) => {
      waiting.push({ pattern, resolve, reject });
      look();
    }),
  };
}

export function lenggen(args: readonly string[], options: { cwd?: string; env?: NodeJS.ProcessEnv } = {}): Promise<Finished> {
  return start(args, options).finished;
}
