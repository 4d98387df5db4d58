/**
 * `npm start`: set-up, then the main job. Arguments after `--` go to the job: `npm start -- --seed 2`.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { root, setUp } from "./setup.mjs";

await setUp({ tests: false });

const given = process.argv.slice(2);
const preset = given.some((argument) => argument === "--preset" || argument.startsWith("--preset=")) ? [] : ["--preset", "quick"];
const job = spawn(process.execPath, [join(root, "packages/cli/bin/lenggen.js"), "reproduce", "unexplored-states", ...preset, ...given],
  { stdio: "inherit" });

// Ctrl-C reaches the job by itself, as it shares the terminal; this process only has to outlive it.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => job.kill("SIGTERM"));
job.on("exit", (code, signal) => {
  if (signal && signal !== "SIGINT" && signal !== "SIGTERM") {
    process.stderr.write(`npm start: the job was ended by ${signal}; the same command goes on where it was\n`);
  }
  process.exit(code ?? (signal === "SIGINT" ? 130 : 1));
});
