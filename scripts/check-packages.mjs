/**
 * Checks each package as users would get it: its tarball holds what it should and nothing else, publint and attw have
 * nothing to say, and it installs without scripts. Needs built packages. Prints one line per check.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { packAll, root } from "./pack.mjs";

const bin = (name) => join(root, "node_modules", ".bin", name);
let passed = 0;
let failed = 0;

function verdict(name, problem) {
  if (problem) failed++;
  else passed++;
  console.log(`packages: ${name}: ${problem ? `FAILED\n${problem}` : "ok"}`);
}

function program(name, command, args) {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: root, encoding: "utf8" });
  verdict(name, status === 0 ? "" : `${stdout}${stderr}`);
}

/** What is wrong with a tarball's list of files and its package.json. */
function contents({ files, manifest }) {
  const problems = [];
  for (const wanted of ["README.md", "LICENSE", "package.json"]) if (!files.includes(wanted)) problems.push(`${wanted} is missing`);
  for (const entry of Object.values(manifest.exports)) {
    for (const target of typeof entry === "string" ? [entry] : Object.values(entry)) if (!files.includes(target.replace("./", "")))
      problems.push(`${target}, which exports names, is missing`);
  }
  for (const file of files) if (/\.test\.|^src\/|^node_modules\/|\.node$/.test(file)) problems.push(`${file} does not belong there`);
  for (const script of ["preinstall", "install", "postinstall", "prepare"]) if (manifest.scripts?.[script])
    problems.push(`it has a script ${script}`);
  if (manifest.license !== "Apache-2.0" || manifest.type !== "module") problems.push("license or type is wrong");
  return problems.join("\n");
}

for (const room of packAll()) {
  const name = room.manifest.name;
  verdict(`${name} contents`, contents(room));
  program(`${name} publint`, bin("publint"), ["run", room.tarball, "--strict"]);
  program(`${name} attw`, bin("attw"), [room.tarball, "--profile", "esm-only"]);
}
console.log(`packages: ${passed} passed, ${failed} failed`);
if (failed > 0) process.exitCode = 1;
