/** What comes in by a pipe, and where the command's words go when nobody takes them. */
import { spawnSync } from "node:child_process";
import { closeSync, existsSync, openSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const BIN = fileURLToPath(new URL("../bin/lenggen.js", import.meta.url));
const FULL = "/dev/full"; // a disk without room
const missing = !existsSync(FULL);
if (missing) console.log(`skipped: there is no ${FULL} here, as Linux has it`);

it.skipIf(missing).each([{ options: [] }, { options: ["--json"] }])("tells in one line that a full disk took no result: $options",
  ({ options }) => {
  const full = openSync(FULL, "w");
  const { status, stderr } = spawnSync(process.execPath, [BIN, "doctor", ...options],
    { stdio: ["ignore", full, "pipe"], encoding: "utf8" });
  closeSync(full);
  expect(status).toBe(1);
  const lines = stderr.trim().split("\n");
  expect(lines.at(-1)).toMatch(/^lenggen: what was to be printed can't be written: .*ENOSPC.* \[E_IO\]$/);
  expect(stderr).not.toMatch(/node:internal|at writeSync/);
});

it("reads a text from standard input", async () => {
  const cwd = await mkdtemp(join(tmpdir(), "lenggen-stdin-"));
  await writeFile(join(cwd, "small.json"),
    '{ "d_model": 16, "n_layer": 1, "vocab_size": 256, "ssm_cfg": { "layer": "Mamba2", "d_state": 8, "headdim": 8 } }');
  const run = (input: string) => spawnSync(process.execPath, [
    BIN, "train", "--text", "-", "--model", "small.json", "--context", "16", "--batch", "2", "--steps", "2", "--out", "run", "--resume",
  ], { cwd, input, encoding: "utf8" });
  const text = "It was the best of times. ".repeat(5);
  expect(run(text)).toMatchObject({ status: 0, stdout: expect.stringContaining("done: 2 steps") as string });
  expect(run(text)).toMatchObject({ status: 0 });
  expect(run(`${text}!`)).toMatchObject({ status: 1, stderr: expect.stringMatching(/\[E_CONFIG\]/) as string });
  await rm(cwd, { recursive: true });
});
