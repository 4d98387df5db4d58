/** `npm pack` of every package, for the checks that look at what users get. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("..", import.meta.url));

/** Our packages, those that others need first. */
export const packages = ["kernels", "recurrent", "interventions", "evals", "cli"];

/** { name, folder, manifest } of every folder in packages/; fails when the list above misses one. */
export function rooms() {
  const folders = readdirSync(join(root, "packages"));
  const missing = folders.filter((folder) => !packages.includes(folder));
  if (missing.length > 0) throw new Error(`scripts/pack.mjs does not list ${missing.join(", ")}`);
  return packages.map((name) => {
    const folder = join(root, "packages", name);
    return { name, folder, manifest: JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) };
  });
}

/** Packs each package into a fresh folder; returns { name, folder, manifest, tarball, files }. */
export function packAll() {
  const destination = mkdtempSync(join(tmpdir(), "lenggen-pack-"));
  return rooms().map((room) => {
    const output = execFileSync("npm", ["pack", "--json", "--pack-destination", destination], { cwd: room.folder, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
    const parsed = JSON.parse(output);
    const [report] = Array.isArray(parsed) ? parsed : Object.values(parsed);
    return { ...room, tarball: join(destination, report.filename), files: report.files.map(({ path }) => path) };
  });
}
