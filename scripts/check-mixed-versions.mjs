/**
 * Packages are released one by one, so that users have a recurrent of last month beside a kernels of today. This installs the last release
 * of recurrent with everything else as it is here, in an empty project, and runs the examples of its own README there, which are what it
 * promised, and those of the packages that use its models. Until there is a release, the commit in scripts/previous-release.json stands
 * for it. Needs built packages.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import semver from "semver";
import { Examples } from "./examples.mjs";
import { pack, packAll, packPlatform, root } from "./pack.mjs";
import { planIn } from "./release-plan.mjs";

const OLD = "recurrent";
/** Whose READMEs have examples with its models. */
const USERS = ["interventions", "evals"];
const readJson = (file) => JSON.parse(readFileSync(file, "utf8"));
const scratch = mkdtempSync(join(tmpdir(), "lenggen-mixed-"));

/** The package as it was at a commit, built and packed: its tarball. */
function builtFrom(commit) {
  const clone = join(scratch, "clone");
  mkdirSync(clone);
  const archive = join(scratch, "clone.tar");
  execFileSync("git", ["archive", "--output", archive, commit, `packages/${OLD}`, "tsup.base.ts", "tsconfig.base.json", "package.json"],
    { cwd: root });
  execFileSync("tar", ["-xf", archive, "-C", clone]);
  symlinkSync(join(root, "node_modules"), join(clone, "node_modules"), "junction");
  const folder = join(clone, "packages", OLD);
  execFileSync(process.execPath, [join(root, "node_modules/tsup/dist/cli-default.js")],
    { cwd: folder, env: { ...process.env, LENGGEN_DECLARATIONS: "none" }, stdio: ["ignore", "ignore", "inherit"] });
  return pack(folder, scratch).tarball;
}

/** Whether the clone has a commit: a shallow one may not. */
const isHere = (commit) => spawnSync("git", ["cat-file", "-e", `${commit}^{commit}`], { cwd: root, stdio: "ignore" }).status === 0;

/** The highest version that is published; undefined before the first release. */
function published({ name, version }) {
  if (version === "0.0.0") return undefined;
  const { status, stdout, stderr } = spawnSync("npm", ["view", name, "versions", "--json"], { encoding: "utf8" });
  if (status === 0) return semver.maxSatisfying([JSON.parse(stdout)].flat(), "*");
  if (stdout.includes("E404")) return undefined;
  throw new Error(`npm view ${name} failed:\n${stderr}`);
}

/** The last release: { from, tarball }; undefined where this clone does not have it. */
function lastRelease() {
  const manifest = readJson(join(root, "packages", OLD, "package.json"));
  const version = published(manifest);
  if (version === undefined) {
    const { commit } = readJson(join(root, "scripts/previous-release.json"));
    if (!isHere(commit)) return undefined;
    return { from: `commit ${commit.slice(0, 7)}`, tarball: builtFrom(commit) };
  }
  const args = ["pack", "--json", `${manifest.name}@${version}`];
  const [{ filename }] = Object.values(JSON.parse(execFileSync("npm", args, { cwd: scratch, encoding: "utf8" })));
  return { from: version, tarball: join(scratch, filename) };
}

/** Installs it with everything else as it is here, and runs the examples. */
async function check({ from, tarball }) {
  const { plan } = await planIn(root);
  const now = packAll();
  execFileSync("tar", ["-xzf", tarball, "-C", scratch]);
  const old = readJson(join(scratch, "package/package.json"));
  const range = old.peerDependencies["@lenggen/kernels"];
  const kernels = now.find(({ name }) => name === "kernels");
  const next = plan.releases.find(({ name }) => name === kernels.manifest.name)?.newVersion ?? kernels.manifest.version;
  const mixed = new Examples(join(scratch, "project"), "mixed versions");
  console.log(`mixed versions: ${OLD} of ${from} (${range}), kernels of today (${kernels.manifest.version}, next ${next})`);

  // Before the first release all is 0.0.0 and belongs together.
  if (kernels.manifest.version !== "0.0.0" && !semver.satisfies(next, range)) {
    console.log(`mixed versions: not run: kernels ${next} breaks, and says so: no ${OLD} ${old.version} is installed with it`);
  } else {
    mkdirSync(mixed.project);
    writeFileSync(join(mixed.project, "package.json"), JSON.stringify({ name: "empty-project", private: true, type: "module" }));
    const platform = packPlatform();
    const today = now.filter(({ name }) => name === "kernels" || USERS.includes(name));
    mixed.program("npm install", "npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", tarball,
      ...today.map((room) => room.tarball), ...(platform ? [platform] : [])]);
    mixed.file(join(scratch, "package/README.md"), `${OLD} as it was, README.md`, OLD);
    for (const name of USERS) mixed.file(join(root, `packages/${name}/README.md`), `packages/${name}/README.md`, name);
    console.log(`mixed versions: ${mixed.passed} passed, ${mixed.failed} failed`);
    if (mixed.failed > 0 || mixed.passed < 5) process.exitCode = 1;
  }
}

const last = lastRelease();
if (last) await check(last);
else console.log("mixed versions: not run: this clone has not the commit that stands for the last release; git fetch --unshallow gets it");
rmSync(scratch, { recursive: true, force: true });
