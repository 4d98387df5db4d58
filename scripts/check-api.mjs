/**
 * The API reports: of each entry of each package, all that its types say, in packages/<name>/api/<entry>.api.md. They are committed, so
 * that a change of what users see stands in every diff.
 *
 *   node scripts/check-api.mjs            fails with a diff where a report is not what the built packages say, and where something broke
 *                                         since the last release without a changeset that says so
 *   node scripts/check-api.mjs --write    writes the reports
 *
 * Needs built packages, with declarations.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, relative } from "node:path";
import { CompilerState, Extractor, ExtractorConfig } from "@microsoft/api-extractor";
import semver from "semver";
import { breaksBetween } from "./api-breaks.mjs";
import { rooms, root } from "./pack.mjs";
import { planIn } from "./release-plan.mjs";

const scratch = mkdtempSync(join(tmpdir(), "lenggen-api-"));
const SILENT = { default: { logLevel: "none" } };
const COMPILER = { target: "ES2022", lib: ["ES2023", "ESNext.Disposable", "DOM"], module: "ESNext", moduleResolution: "Bundler",
  strict: true, skipLibCheck: true, types: ["node", "@webgpu/types"] };

/** The entries of a package: { declarations, report }. */
function entriesOf({ folder, manifest }) {
  return Object.entries(manifest.exports).filter(([, target]) => typeof target !== "string").map(([entry, { types }]) => ({
    declarations: join(folder, types),
    report: `${entry === "." ? "index" : entry.slice(2)}.api.md`,
  }));
}

/** Writes the reports of a package into the scratch folder; its entries share one program. Returns { name, text, file } of each. */
function reportsOf(room) {
  const entries = entriesOf(room);
  for (const { declarations } of entries) if (!existsSync(declarations)) throw new Error(`${relative(root, declarations)} is not built`);
  const configs = entries.map(({ declarations, report }) => ExtractorConfig.prepare({
    configObject: {
      projectFolder: room.folder, mainEntryPointFilePath: declarations,
      compiler: { overrideTsconfig: { compilerOptions: COMPILER, include: [declarations] } },
      apiReport: { enabled: true, reportFolder: scratch, reportTempFolder: join(scratch, "temp"), reportFileName: report,
        includeForgottenExports: true },
      docModel: { enabled: false }, dtsRollup: { enabled: false }, tsdocMetadata: { enabled: false }, newlineKind: "lf",
      messages: { extractorMessageReporting: SILENT, compilerMessageReporting: SILENT, tsdocMessageReporting: SILENT },
    },
    configObjectFullPath: undefined, packageJsonFullPath: join(room.folder, "package.json"),
  }));
  const additionalEntryPoints = entries.slice(1).map(({ declarations }) => declarations);
  const compilerState = CompilerState.create(configs[0], { additionalEntryPoints });
  return entries.map(({ report }, i) => {
    const messageCallback = (message) => { message.handled = true; };
    const { succeeded } = Extractor.invoke(configs[i], { localBuild: true, compilerState, messageCallback });
    if (!succeeded) throw new Error(`no report of ${room.manifest.name}, ${report}`);
    const text = readFileSync(join(scratch, report), "utf8");
    rmSync(join(scratch, report));
    return { report, text, file: join(room.folder, "api", report) };
  });
}

/** A report that is not what is committed, as a diff; undefined when it is. */
function difference({ text, file }) {
  const now = join(scratch, basename(file));
  writeFileSync(now, text);
  const { status, stdout } = spawnSync("git", ["diff", "--no-index", "--no-color", existsSync(file) ? file : "/dev/null", now],
    { encoding: "utf8" });
  rmSync(now);
  return status === 0 ? undefined : stdout.split("\n").slice(4).join("\n");
}

const git = (...args) => spawnSync("git", args, { cwd: root, encoding: "utf8" }).stdout;

/** The reports of the last release of a package, by name: those of the commit that wrote its version. None before the first release. */
function releasedReports({ folder, manifest }) {
  const place = relative(root, folder);
  const commit = manifest.version === "0.0.0" ? ""
    : git("log", "-1", "--format=%H", "-G\"version\":", "--", `${place}/package.json`).trim();
  if (commit === "") return new Map();
  const names = git("ls-tree", "--name-only", commit, `${place}/api/`).trim().split("\n").filter((name) => name.endsWith(".api.md"));
  return new Map(names.map((name) => [basename(name), git("show", `${commit}:${name}`)]));
}

/** What broke since the last release, where the version that the changesets give does not say so. */
function unannounced(room, reports, plan) {
  const version = plan.releases.find(({ name }) => name === room.manifest.name)?.newVersion ?? room.manifest.version;
  if (!semver.satisfies(version, `^${room.manifest.version}`)) return [];
  return [...releasedReports(room)].flatMap(([report, before]) => {
    const after = reports.find((one) => one.report === report);
    return (after ? breaksBetween(before, after.text, room.folder) : ["this entry is gone"]).map((line) => `${report}: ${line}`);
  });
}

const write = process.argv.includes("--write");
const { plan } = await planIn(root);
let failed = 0;
for (const room of rooms()) {
  const reports = reportsOf(room);
  const folder = join(room.folder, "api");
  if (write) {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder);
    for (const { text, file } of reports) writeFileSync(file, text);
    console.log(`api: ${room.manifest.name}: ${reports.length} reports written`);
    continue;
  }
  const stale = reports.map((report) => ({ ...report, diff: difference(report) })).filter(({ diff }) => diff !== undefined);
  const left = existsSync(folder) ? readdirSync(folder).filter((name) => !reports.some(({ report }) => report === name)) : [];
  const broken = unannounced(room, reports, plan);
  for (const { file, diff } of stale) console.log(`${relative(root, file)} is not what the package says now:\n${diff}`);
  for (const name of left) console.log(`${relative(root, join(folder, name))} is of no entry`);
  for (const line of broken) console.log(`${room.manifest.name} breaks programs since ${room.manifest.version}: ${line}`);
  if (stale.length + left.length > 0) console.log("If that is meant: node scripts/check-api.mjs --write");
  if (broken.length > 0) console.log(`If that is meant: a changeset that calls it ${
    semver.lt(room.manifest.version, "1.0.0") ? "minor" : "major"}`);
  if (stale.length + left.length + broken.length > 0) failed++;
  else console.log(`api: ${room.manifest.name}: ok (${reports.length} reports)`);
}
rmSync(scratch, { recursive: true });
if (failed > 0) process.exitCode = 1;
