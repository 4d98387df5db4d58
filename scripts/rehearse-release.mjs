/**
 * A release, rehearsed: in a copy of this clone the versions are made, everything is published to a registry on this machine as it would be
 * to npm's, and an empty project installs it from there and uses it. Needs built packages; the kernels of this machine's platform where
 * they are built. Nothing outside temporary folders changes. The registry (verdaccio) is installed into one, and knows our packages alone:
 * all others come from where npm is set to take them.
 */
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { setTimeout as wait } from "node:timers/promises";
import { Examples } from "./examples.mjs";
import { packages, packPlatform, root } from "./pack.mjs";
import { publish, stage } from "./publish.mjs";
import { version } from "./release-plan.mjs";

/** The last verdaccio that runs on Node 20. A plugin of it names a package by a tag, which not every mirror knows: here it has a version. */
const VERDACCIO = { dependencies: { verdaccio: "6.8.0" }, overrides: { "node-fetch": "2.7.0" } };
/** Stands for the repository, which a clone does not know. */
const REPOSITORY = "owner/lenggen";

/** How the names of platform packages begin. */
const PLATFORM = "@lenggen/kernels-";

/** The most kilobytes that each package may have, packed and unpacked: what was measured, and a twentieth more. */
const BUDGETS = {
  "@lenggen/kernels": [1590, 6060],
  "@lenggen/recurrent": [180, 790],
  "@lenggen/gca": [90, 330],
  "@lenggen/interventions": [110, 400],
  "@lenggen/evals": [340, 1240],
  "@lenggen/data": [170, 610],
  "@lenggen/cli": [5260, 6290],
  [PLATFORM]: [2060, 5590],
};

const scratch = mkdtempSync(join(tmpdir(), "lenggen-release-"));
const place = (name) => join(scratch, name);
const project = place("project");
const steps = new Examples(project, "rehearsal");
const readJson = (file) => JSON.parse(readFileSync(file, "utf8"));
const npmInstall = ["install", "--prefer-offline", "--no-audit", "--no-fund"];

/** Runs one step, which returns what is wrong (or nothing) and may print. What it throws ends the rehearsal: later steps need it. */
async function step(name, act) {
  const started = performance.now();
  let problem;
  try {
    problem = await act();
  } catch (error) {
    steps.verdict(name, error.stack);
    throw error;
  }
  steps.verdict(name, problem ?? "", performance.now() - started);
}

/** The files of this clone that git knows or would add, with what was built, as a repository of its own. */
function copyClone() {
  const copy = place("copy");
  const files = execFileSync("git", ["ls-files", "-co", "--exclude-standard", "--", ".changeset", "packages", "package.json",
    "package-lock.json", "examples/*/package.json", "apps/*/package.json"], { cwd: root, encoding: "utf8" }).trim().split("\n");
  for (const file of files.filter((file) => existsSync(join(root, file)))) {
    mkdirSync(dirname(join(copy, file)), { recursive: true });
    cpSync(join(root, file), join(copy, file));
  }
  for (const room of packages) cpSync(join(root, "packages", room, "dist"), join(copy, "packages", room, "dist"), { recursive: true });
  const who = ["-c", "user.name=rehearsal", "-c", "user.email=rehearsal@localhost"];
  const git = (...args) => execFileSync("git", [...who, ...args], { cwd: copy });
  git("init", "--quiet");
  git("add", ".changeset");
  git("commit", "--quiet", "--message", "The changesets that are released");
  return copy;
}

/**
 * Writes this machine's platform package, with the version that kernels has in the copy, and of the other platforms packages with nothing
 * in them, since a lock file must name all; returns the folder of their folders.
 */
function copyPlatforms(copy) {
  const to = place("platforms");
  mkdirSync(to);
  const kernels = readJson(join(copy, "packages/kernels/package.json"));
  const listed = join(scratch, "listed.json");
  writeFileSync(listed, "{}");
  execFileSync(process.execPath, [join(copy, "packages/kernels/scripts/platform-package.mjs"), "--manifest", listed]);
  for (const name of Object.keys(readJson(listed).optionalDependencies)) {
    const folder = join(to, name.replace("@lenggen/kernels-", ""));
    mkdirSync(folder);
    writeFileSync(join(folder, "README.md"), `# ${name}\n`);
    cpSync(join(root, "LICENSE"), join(folder, "LICENSE"));
    writeFileSync(join(folder, "package.json"), JSON.stringify({
      name, version: kernels.version, license: kernels.license, os: [name.split("-")[1]], cpu: ["none"], exports: {},
    }));
  }
  if (packPlatform() === undefined) return to;
  const built = join(root, "packages/kernels/build/npm");
  for (const platform of readdirSync(built)) {
    cpSync(join(built, platform), join(to, platform), { recursive: true });
    const manifest = readJson(join(to, platform, "package.json"));
    writeFileSync(join(to, platform, "package.json"), JSON.stringify({ ...manifest, version: kernels.version }));
  }
  return to;
}

const freePort = () => new Promise((resolve, reject) => {
  const server = createServer().on("error", reject).listen(0, "127.0.0.1", () => {
    const { port } = server.address();
    server.close(() => resolve(port));
  });
});

/** Starts the registry; returns { url, storage, stop }. */
async function startRegistry() {
  const folder = place("registry");
  mkdirSync(folder);
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, ...VERDACCIO }));
  execFileSync("npm", [...npmInstall, "--ignore-scripts"], { cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
  const storage = join(folder, "storage");
  writeFileSync(join(folder, "config.yaml"), JSON.stringify({
    storage, auth: { htpasswd: { file: join(folder, "users") } }, uplinks: {}, web: { enable: false }, max_body_size: "100mb",
    packages: { "@lenggen/*": { access: "$all", publish: "$all" } }, log: { type: "file", path: join(folder, "log"), level: "warn" },
  }));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}/`;
  const registry = spawn(process.execPath, [join(folder, "node_modules/verdaccio/bin/verdaccio"), "--config", join(folder, "config.yaml"),
    "--listen", `127.0.0.1:${port}`], { stdio: "ignore" });
  process.on("exit", () => registry.kill());
  for (let tries = 0; ; tries++) {
    if (await fetch(`${url}-/ping`).then(({ ok }) => ok, () => false)) return { url, storage, stop: () => registry.kill() };
    if (tries === 100) throw new Error("the registry does not answer");
    await wait(200);
  }
}

/** An empty project that takes our packages from the registry, and all others from where npm is set to take them. */
function emptyProject(folder, { url }) {
  mkdirSync(folder);
  writeFileSync(join(folder, "package.json"), `${JSON.stringify({ name: "empty-project", private: true, type: "module" })}\n`);
  writeFileSync(join(folder, ".npmrc"), `@lenggen:registry=${url}\n`);
}

function sizes(staged) {
  return staged.flatMap(({ name, size, unpackedSize, files }) => {
    const [packed, unpacked] = [size, unpackedSize].map((bytes) => Math.ceil(bytes / 1000));
    if (name.startsWith(PLATFORM) && !files.includes("cpu.node")) return [];
    const [most, mostUnpacked] = BUDGETS[name] ?? BUDGETS[PLATFORM];
    console.log(`rehearsal: ${name}: ${files.length} files, ${packed} kB packed (budget ${most}), ${unpacked} kB unpacked (budget ${
      mostUnpacked})`);
    return packed > most || unpacked > mostUnpacked
      ? [`${name} is over its budget; is it worth it? Then write a new one into scripts/rehearse-release.mjs`] : [];
  }).join("\n");
}

/** The entries of our packages in a project's lock file, by name. */
function lockedPackages(folder) {
  return Object.entries(readJson(join(folder, "package-lock.json")).packages)
    .map(([path, entry]) => ({ name: path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length), ...entry }))
    .filter(({ name }) => name.startsWith("@lenggen/"));
}

/** That each package is there once, in the version and with the bytes that were published. */
function isWhatWasPublished(staged) {
  const locked = lockedPackages(project);
  return staged.flatMap(({ name, version, tarball }) => {
    const found = locked.filter((entry) => entry.name === name);
    const integrity = `sha512-${createHash("sha512").update(readFileSync(tarball)).digest("base64")}`;
    const wrong = found.length !== 1 ? `is there ${found.length} times` : found[0].version !== version ? `is ${found[0].version}`
      : found[0].integrity === integrity ? undefined : "has another integrity than the tarball";
    return wrong ? [`${name} ${wrong}`] : [];
  }).join("\n");
}

/** Fields of a manifest that a registry hands on. */
const FIELDS = ["repository", "license", "engines", "dependencies", "peerDependencies", "optionalDependencies", "os", "cpu", "libc"];

/** What the registry says of a package is what npm checks a statement of provenance by, and what users see. */
async function metadata(staged, { url }) {
  const problems = [];
  for (const { name, version, folder } of staged) {
    const document = await (await fetch(`${url}${name.replace("/", "%2f")}`)).json();
    const it = document.versions[version];
    const manifest = readJson(join(folder, "package.json"));
    if (document["dist-tags"].latest !== version) problems.push(`${name}: latest is ${document["dist-tags"].latest}`);
    for (const field of FIELDS) {
      if (!isDeepStrictEqual(it[field], manifest[field])) problems.push(`${name}: ${field} is ${JSON.stringify(it[field])}`);
    }
    if (!existsSync(join(folder, "LICENSE")) || !existsSync(join(folder, "README.md"))) problems.push(`${name}: no README or LICENSE`);
    if (!name.startsWith(PLATFORM) && !existsSync(join(folder, "CHANGELOG.md"))) problems.push(`${name}: no CHANGELOG`);
  }
  return problems.join("\n");
}

/** A tarball that changed on its way is refused: npm holds it against the lock file. */
function tampered({ storage }, staged) {
  const folder = place("tampered");
  cpSync(project, folder, { recursive: true, filter: (file) => !file.includes("node_modules") });
  const { name } = staged.find(({ name }) => name === "@lenggen/gca");
  const file = join(storage, name, readdirSync(join(storage, name)).find((file) => file.endsWith(".tgz")));
  const whole = readFileSync(file);
  const other = Buffer.from(whole);
  other[other.length >> 1] ^= 1;
  writeFileSync(file, other);
  try {
    // npm run --silent hands its silence on.
    const args = ["ci", "--loglevel=error", "--prefer-offline", "--no-audit", "--no-fund"];
    execFileSync("npm", args, { cwd: folder, encoding: "utf8", stdio: "pipe" });
    return "npm ci took it";
  } catch (error) {
    return /EINTEGRITY/.test(error.stderr) ? "" : `npm ci failed for another reason:\n${error.stderr}`;
  } finally {
    writeFileSync(file, whole);
  }
}

const train = (steps, more = "") =>
  `lenggen train --steps ${steps} --text text.txt --out run ${more} && test -f run/checkpoints/step-${steps}/model.safetensors`;

async function rehearse() {
  let copy, platforms, registry, staged, plan;
  await step("the versions of the release, in a copy", async () => {
    copy = copyClone();
    plan = await version(copy);
    for (const { name, oldVersion, newVersion } of plan.releases.filter(({ type }) => type !== "none"))
      console.log(`rehearsal: ${name}: ${oldVersion} -> ${newVersion}`);
    platforms = copyPlatforms(copy);
  });
  await step("npm pack: contents and sizes", () => {
    staged = stage({ from: copy, platforms, repository: REPOSITORY, to: place("staged") });
    return sizes(staged);
  });
  const compiled = staged.some(({ files }) => files.includes("cpu.node"));
  if (!compiled) console.log("rehearsal: the cpu device is not built: its platform package is not part of this rehearsal");
  await step("a registry on this machine", async () => void (registry = await startRegistry()));
  const options = [`--registry=${registry.url}`, `--${registry.url.replace("http:", "")}:_authToken=rehearsal`];
  await step("publish", () => publish(staged, options).length === staged.length ? "" : "not all were published");
  await step("publishing again what is there does nothing", () => publish(staged.slice(0, 2), options).join(", "));
  await step("what the registry says of the packages", () => metadata(staged, registry));

  emptyProject(project, registry);
  writeFileSync(join(project, "text.txt"), readFileSync(join(root, "README.md")));
  steps.program("npm install @lenggen/cli in an empty project", "npm", [...npmInstall, "@lenggen/cli"]);
  await step("what is installed is what was published", () => isWhatWasPublished(staged));
  await step("a tarball that was changed is refused", () => tampered(registry, staged));
  const { newVersion } = plan.releases.find(({ name }) => name === "@lenggen/cli") ?? staged.find(({ name }) => name === "@lenggen/cli");
  steps.sh("lenggen --version", `test "$(lenggen --version)" = ${newVersion}`);
  steps.sh("lenggen doctor", `lenggen doctor --json > doctor.json; grep '"name":"cpu","available":${compiled}' doctor.json
    grep '"@lenggen/cli":"${newVersion}"' doctor.json`);
  steps.sh("lenggen train: 20 steps", train(20, "--batch 4"));
  for (const name of packages) {
    const title = `packages/${name}/README.md`;
    if (steps.file(join(root, title), title, name) === 0) steps.verdict(title, "it has no example that runs");
  }
  const entries = staged.flatMap(({ name, folder }) => Object.keys(readJson(join(folder, "package.json")).exports)
    .filter((entry) => !/\.(json|node)$/.test(entry)).map((entry) => name + entry.slice(1)));
  steps.js("imports of every entry", entries.map((entry) => `await import(${JSON.stringify(entry)});`).join("\n"));

  const bare = new Examples(place("without-optional"), "rehearsal");
  emptyProject(bare.project, registry);
  writeFileSync(join(bare.project, "text.txt"), readFileSync(join(root, "LICENSE")));
  bare.program("npm install --omit=optional @lenggen/cli", "npm", [...npmInstall, "--omit=optional", "@lenggen/cli"]);
  bare.sh("there is no cpu device then", `lenggen doctor --json | grep -q '"name":"cpu","available":false'`);
  bare.sh("lenggen train on reference", train(1, "--device reference --batch 2 --context 32"));
  registry.stop();
  return [steps.passed + bare.passed, steps.failed + bare.failed];
}

const started = performance.now();
let [passed, failed] = [0, 0];
try {
  [passed, failed] = await rehearse();
} catch {
  [passed, failed] = [steps.passed, steps.failed];
}
rmSync(scratch, { recursive: true, force: true });
console.log(`rehearsal: ${passed} passed, ${failed} failed (${((performance.now() - started) / 1000).toFixed(0)} s)`);
process.exitCode = failed > 0 ? 1 : 0;
