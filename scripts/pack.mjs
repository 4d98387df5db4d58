/** `npm pack` of every package, for the checks that look at what users get. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("..", import.meta.url));

/** Our packages, those that others need first. */
export const packages = ["kernels", "recurrent", "gca", "interventions", "evals", "data", "cli"];

/** { name, folder, manifest } of every folder in packages/, here or in a copy; fails when the list above misses one. */
export function rooms(from = root) {
  const folders = readdirSync(join(from, "packages"));
  const missing = folders.filter((folder) => !packages.includes(folder));
  if (missing.length > 0) throw new Error(`scripts/pack.mjs does not list ${missing.join(", ")}`);
  return packages.map((name) => {
    const folder = join(from, "packages", name);
    return { name, folder, manifest: JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) };
  });
}

/** Packs one folder; returns the tarball's path, the files in it, and its bytes packed and unpacked. */
export function pack(folder, destination) {
  const output = execFileSync("npm", ["pack", "--json", "--pack-destination", destination],
    { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  const parsed = JSON.parse(output); // an array in npm 11, an object by name in npm 12
  const [report] = Array.isArray(parsed) ? parsed : Object.values(parsed);
  return { tarball: join(destination, report.filename), files: report.files.map(({ path }) => path), size: report.size,
    unpackedSize: report.unpackedSize };
}

const newFolder = () => mkdtempSync(join(tmpdir(), "lenggen-pack-"));

/** Packs each package into a fresh folder; returns { name, folder, manifest, tarball, files }. */
export function packAll() {
  const destination = newFolder();
  return rooms().map((room) => ({ ...room, ...pack(room.folder, destination) }));
}

/** The tarball of this platform's compiled kernels, or undefined when they have not been built. */
export function packPlatform() {
  const kernels = join(root, "packages/kernels");
  if (!existsSync(join(kernels, "build/cpu.node"))) return undefined;
  execFileSync(process.execPath, [join(kernels, "scripts/platform-package.mjs")], { stdio: ["ignore", "ignore", "inherit"] });
  return pack(join(kernels, "build/npm", `${process.platform}-${process.arch}`), newFolder()).tarball;
}
