/**
 * Runs the examples of every package's README and of every page of the docs site as a reader would: in an empty project, with the
 * packages installed from their tarballs. Arguments are Markdown files and folders of them, to run those alone. Needs built packages.
 */
import { existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative, resolve, sep } from "node:path";
import { markdownFiles } from "../apps/docs/site/pages.mjs";
import { Examples } from "./examples.mjs";
import { packAll, packPlatform, root } from "./pack.mjs";

const only = process.argv.slice(2).map((place) => resolve(place));
const isWanted = (file) => only.length === 0 || only.some((place) => file === place || file.startsWith(place + sep));
const rooms = packAll();
const platform = packPlatform();
if (!platform) console.log("examples: the cpu device is not built, so the examples run on reference");
const tarballs = [...rooms.map(({ tarball }) => tarball), ...(platform ? [platform] : [])];
const project = mkdtempSync(join(tmpdir(), "lenggen-examples-"));
writeFileSync(join(project, "package.json"), `${JSON.stringify({ name: "empty-project", private: true, type: "module" })}\n`);
const examples = new Examples(project);
examples.program("npm install of the tarballs in an empty project", "npm",
  ["install", "--prefer-offline", "--no-audit", "--no-fund", ...tarballs]);
// The corpora, which readers of the site install beside the command.
if (examples.failed === 0) symlinkSync(join(root, "node_modules/@stdlib"), join(project, "node_modules/@stdlib"), "junction");

function readmes() {
  for (const { name, folder } of rooms) {
    const readme = join(folder, "README.md");
    const title = relative(root, readme);
    if (!isWanted(readme)) continue;
    const ran = existsSync(readme) ? examples.file(readme, title, name) : 0;
    if (ran === 0) examples.verdict(title, "it has no example that runs");
  }
}

function pages() {
  for (const file of markdownFiles()) {
    const title = relative(root, file);
    if (isWanted(file)) examples.file(file, title, title.replace(/\.md$/, ""));
  }
}

if (examples.failed === 0) {
  readmes();
  pages();
}
if (examples.failed === 0 && only.length === 0) {
  const entries = rooms.flatMap(({ manifest }) => Object.keys(manifest.exports).filter((entry) => !entry.endsWith(".json"))
    .map((entry) => manifest.name + entry.slice(1)));
  examples.js("imports of every entry", entries.map((entry) => `await import(${JSON.stringify(entry)});`).join("\n"));
  examples.sh("doctor finds the devices", `lenggen doctor --json | grep -q '"name":"cpu","available":${platform !== undefined}'`);
}
rmSync(project, { recursive: true, force: true });
console.log(`examples: ${examples.passed} passed, ${examples.failed} failed`);
if (examples.failed > 0) process.exitCode = 1;
