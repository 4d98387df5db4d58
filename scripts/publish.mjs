/**
 * Publishes what the registry lacks of the versions in this clone: the platform packages with the compiled kernels first, then the others,
 * those that others need first. Run again after a failure, it goes on where it ended.
 *
 *   node scripts/publish.mjs --platforms <folder> --repository <owner>/<name>
 *
 *   --platforms   a folder with the folders that platform-package.mjs wrote, of every platform
 *   --repository  where the sources are on GitHub; provenance is refused where a package does not name the repository it was built in
 *   --provenance  as npm means it; only where the workflow's identity can be had
 *   --registry    instead of the one that npm is set to use
 *   --dry-run     makes all, says what it would publish, and publishes nothing
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { pack, rooms, root } from "./pack.mjs";

/** A command of npm; what it prints is kept. */
const npm = (args, options = {}) => spawnSync("npm", args, { encoding: "utf8", ...options });
const readManifest = (folder) => JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));

/** The platform packages in a folder, which must be of the version that kernels has: addon and TypeScript are one program. */
function platformPackages(folder, version) {
  return readdirSync(folder).sort().map((name) => {
    const manifest = readManifest(join(folder, name));
    if (manifest.version !== version) throw new Error(`${manifest.name} is ${manifest.version}, and @lenggen/kernels is ${version}`);
    return { folder: join(folder, name), manifest, directory: "packages/kernels" };
  });
}

/**
 * Lays out in `to` what is published of the clone `from`, in its order: { name, version, folder, tarball, files, size, unpackedSize }.
 * The manifests differ from the clone's in that they name the repository, say nothing of how the package is made, and, in that of kernels,
 * name the platform packages.
 */
export function stage({ from = root, platforms, repository, to }) {
  const clone = rooms(from);
  const kernels = clone.find(({ name }) => name === "kernels");
  const compiled = platformPackages(platforms, kernels.manifest.version);
  const musl = compiled.some(({ manifest }) => manifest.name.endsWith("-musl"));
  return [...compiled, ...clone.map((room) => ({ ...room, directory: `packages/${room.name}` }))].map(({ folder, manifest, directory }) => {
    const place = join(to, manifest.name.replace("/", "+"));
    mkdirSync(place, { recursive: true });
    execFileSync("tar", ["-xzf", pack(folder, place).tarball, "-C", place]);
    const staged = join(place, "package");
    const { scripts: _scripts, devDependencies: _development, ...published } = manifest;
    writeFileSync(join(staged, "package.json"), `${JSON.stringify({
      ...published, repository: { type: "git", url: `git+https://github.com/${repository}.git`, directory },
    }, null, 2)}\n`);
    if (manifest.name === kernels.manifest.name) execFileSync(process.execPath, [join(kernels.folder, "scripts/platform-package.mjs"),
      "--manifest", join(staged, "package.json"), ...(musl ? ["--musl"] : [])]);
    return { name: manifest.name, version: manifest.version, folder: staged, ...pack(staged, place) };
  });
}

/** Publishes what `stage` laid out, where the registry lacks it. `options` are npm's. Returns the names of what was published. */
export function publish(staged, options = []) {
  const done = [];
  for (const { name, version, tarball } of staged) {
    const there = npm(["view", `${name}@${version}`, "version", "--json", ...options.filter((option) => option.startsWith("--registry"))]);
    if (there.status === 0 && there.stdout.trim() !== "") {
      console.log(`publish: ${name}@${version} is there`);
      continue;
    }
    if (there.status !== 0 && !there.stdout.includes("E404")) throw new Error(`npm view ${name} failed:\n${there.stderr}`);
    const { status, stderr } = npm(["publish", tarball, "--access", "public", ...options]);
    if (status !== 0) throw new Error(`npm publish ${name} failed:\n${stderr}`);
    console.log(`publish: ${name}@${version} published`);
    done.push(name);
  }
  return done;
}

function main() {
  const { values } = parseArgs({ options: {
    platforms: { type: "string" }, repository: { type: "string" }, registry: { type: "string" }, provenance: { type: "boolean" },
    "dry-run": { type: "boolean" },
  } });
  if (!values.platforms || !values.repository) throw new Error("--platforms and --repository are needed");
  const to = mkdtempSync(join(tmpdir(), "lenggen-publish-"));
  const staged = stage({ platforms: values.platforms, repository: values.repository, to });
  const kernels = staged.find(({ name }) => name === "@lenggen/kernels");
  const missing = Object.keys(readManifest(kernels.folder).optionalDependencies).filter((name) => !staged.some((one) => one.name === name));
  if (missing.length > 0) throw new Error(`${values.platforms} lacks ${missing.join(", ")}`);
  publish(staged, [...(values.registry ? [`--registry=${values.registry}`] : []), ...(values.provenance ? ["--provenance"] : []),
    ...(values["dry-run"] ? ["--dry-run"] : [])]);
  rmSync(to, { recursive: true });
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  try {
    main();
  } catch (error) {
    console.error(`publish: ${error.message}`);
    process.exitCode = 1;
  }
}
