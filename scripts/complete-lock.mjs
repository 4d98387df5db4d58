/**
 * Adds to package-lock.json the binaries of other platforms that npm left out, as it does when a registry mirror serves
 * only some of them. Without those entries `npm ci` fails under npm 12 everywhere, and under npm 11 it leaves the
 * binaries out where they are needed. With --check it only says what is missing.
 *
 * A platform binary is an optional dependency with an exact version, so that its entry follows from its parent's; npm
 * fetches it by name and version where os and cpu fit.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const FILE = fileURLToPath(new URL("../package-lock.json", import.meta.url));
const OS = { darwin: "darwin", linux: "linux", win32: "win32", windows: "win32", freebsd: "freebsd", android: "android",
  openharmony: "openharmony", netbsd: "netbsd", openbsd: "openbsd", sunos: "sunos", aix: "aix" };
const CPU = { x64: "x64", 64: "x64", arm64: "arm64", arm: "arm", ia32: "ia32", ppc64: "ppc64", riscv64: "riscv64", s390x: "s390x",
  loong64: "loong64", mips64el: "mips64el", wasm32: "wasm32" };
const LIBC = { gnu: "glibc", gnueabihf: "glibc", musl: "musl", musleabihf: "musl" };

/** os, cpu and libc in a package's name, e.g. `@oxlint/binding-linux-arm64-musl`; undefined when it names none. */
function platformOf(name) {
  const words = name.split("/").at(-1).split("-");
  const pick = (table) => words.map((word) => table[word]).find((value) => value !== undefined);
  const cpu = pick(CPU);
  const os = pick(OS);
  if (cpu === undefined || (os === undefined && cpu !== "wasm32")) return undefined;
  const libc = os === "linux" ? pick(LIBC) : undefined;
  return { cpu: [cpu], ...(libc ? { libc: [libc] } : {}), ...(os ? { os: [os] } : {}) };
}

const lock = JSON.parse(readFileSync(FILE, "utf8"));
const added = [];
for (const [place, parent] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(parent.optionalDependencies ?? {})) {
    // Node looks in the parent's own folder first, then upwards.
    const folders = place.split("/node_modules/").map((_, i, parts) => parts.slice(0, i + 1).join("/node_modules/"));
    const places = ["node_modules", ...folders.filter((folder) => folder !== "").map((folder) => `${folder}/node_modules`)]
      .map((folder) => `${folder}/${name}`);
    if (places.some((candidate) => lock.packages[candidate])) continue;
    const platform = platformOf(name);
    if (!platform || !/^\d+\.\d+\.\d+/.test(version)) continue;
    lock.packages[`node_modules/${name}`] = { version, ...(parent.dev ? { dev: true } : {}), optional: true, ...platform,
      ...(parent.engines ? { engines: parent.engines } : {}) };
    added.push(`${name}@${version}`);
  }
}
if (process.argv.includes("--check")) {
  for (const name of added) console.error(`package-lock.json lacks ${name}`);
  if (added.length > 0) {
    console.error("run: node scripts/complete-lock.mjs");
    process.exitCode = 1;
  } else console.log("package-lock.json has the binaries of all platforms");
} else {
  const { "": project, ...rest } = lock.packages;
  lock.packages = { "": project, ...Object.fromEntries(Object.entries(rest).sort(([a], [b]) => a.localeCompare(b, "en"))) };
  writeFileSync(FILE, `${JSON.stringify(lock, null, 2)}\n`);
  console.log(`package-lock.json: ${added.length} entries added`);
}
