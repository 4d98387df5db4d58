/** Where the command's words go when nobody takes them. */
import { spawnSync } from "node:child_process";
import { closeSync, existsSync, openSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const BIN = fileURLToPath(new URL("../bin/lenggen.js", import.meta.url));
const FULL = "/dev/full"; // a disk without room
const missing = !existsSync(FULL);
if (missing) console.log(`skipped: there is no ${FULL} here, as Linux has it`);

it.skipIf(missing).each([{ options: [] }, { options: ["--json"] }])("tells in one line that a full disk took no result: $options", ({ options }) => {
  const full = openSync(FULL, "w");
  const { status, stderr } = spawnSync(process.execPath, [BIN, "doctor", ...options], { stdio: ["ignore", full, "pipe"], encoding: "utf8" });
  closeSync(full);
  expect(status).toBe(1);
  const lines = stderr.trim().split("\n");
  expect(lines.at(-1)).toMatch(/^lenggen: what was to be printed can't be written: .*ENOSPC.* \[E_IO\]$/);
  expect(stderr).not.toMatch(/node:internal|at writeSync/);
});
