/**
 * Tests of WebGPU in Node on lavapipe, Mesa's software Vulkan. It has the feature shader-f16, which Chromium's SwiftShader lacks,
 * and subgroups of another size.
 *
 *     node scripts/test-lavapipe.mjs                                       # what SwiftShader can't show, as in CI
 *     node scripts/test-lavapipe.mjs packages/kernels/src/backends/webgpu  # whatever else vitest takes; compiling shaders takes its time
 *
 * Takes the driver that the system has, when it is new enough. On Debian it otherwise unpacks Mesa's package below node_modules, installing
 * nothing. Where there is neither, a line says how to get it, and nothing runs.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const unpacked = join(root, "node_modules", ".lenggen-lavapipe");
const ICDS = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";

const output = (program, args, options = {}) => spawnSync(program, args, { encoding: "utf8", ...options });

/** What keeps an ICD from being of use; undefined when it has an adapter with shader-f16. In a process of its own: drivers may crash. */
function missing(icd) {
  const code = `
    import { create } from "webgpu";
    const adapter = await create([]).requestAdapter();
    console.log(adapter ? (adapter.features.has("shader-f16") ? "has it" : "lacks the feature shader-f16") : "gives no adapter");
    process.exit();`;
  const { status, stdout } = output(process.execPath, ["--input-type=module", "-e", code],
    { cwd: root, timeout: 60_000, env: { ...process.env, ...variables(icd) } });
  const answer = stdout?.trim().split("\n").at(-1);
  return status === 0 && answer === "has it" ? undefined : `${icd} ${answer || "gives no adapter"}`;
}

/** Without a screen, Mesa's choice of a device complains on the console. */
const variables = (icd) => ({ VK_ICD_FILENAMES: icd, NODEVICE_SELECT: "1", LENGGEN_WEBGPU_FALLBACK: "1" });

/** Libraries that a shared object needs and the system lacks. */
const lacks = (library) => [...(output("ldd", [library]).stdout ?? "").matchAll(/^\s*(\S+) => not found/gm)].map(([, name]) => name);

/** Unpacks Mesa's Vulkan drivers: { icd } or { reason }. */
function unpack() {
  const system = existsSync("/etc/os-release") ? readFileSync("/etc/os-release", "utf8") : "";
  if (!/^ID=debian$/m.test(system)) return { reason: "this is not Debian; install Mesa's Vulkan drivers, version 24 or newer" };
  const codename = /^VERSION_CODENAME=(\w+)$/m.exec(system)?.[1];
  const main = (output("apt-get", ["indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)", "Created-By: Packages"]).stdout
    ?? "")
    .split("\n").map((line) => line.split(" ")).find(([, suite, component]) => suite === codename && component === "main")?.[0];
  if (!main) return { reason: "apt-get has no list of Debian's packages; run apt-get update" };
  mkdirSync(dirname(unpacked), { recursive: true });
  const scratch = mkdtempSync(`${unpacked}-`);
  try {
    // Debian 12 has Mesa 22, which is too old; lists of our own leave the system's as they are.
    const suite = codename === "bookworm" ? "bookworm-backports" : codename;
    writeFileSync(join(scratch, "list"), `deb ${existsSync(KEYRING) ? `[signed-by=${KEYRING}] ` : ""}${main} ${suite} main\n`);
    mkdirSync(join(scratch, "lists", "partial"), { recursive: true });
    const own = [`Dir::Etc::sourcelist=${join(scratch, "list")}`, "Dir::Etc::sourceparts=-", `Dir::State::lists=${join(scratch, "lists")}`,
      "Dir::Cache::pkgcache=", "Dir::Cache::srcpkgcache="]
      .flatMap((setting) => ["-o", setting]);
    for (const args of [["update"], ["download", "mesa-vulkan-drivers"]]) {
      const { status, stderr } = output("apt-get", [...own, "-qq", ...args], { cwd: scratch });
      if (status !== 0) return { reason: `apt-get ${args.join(" ")} failed: ${stderr?.trim().split("\n").at(-1)}` };
    }
    const archive = readdirSync(scratch).find((name) => name.endsWith(".deb"));
    const { status, stderr } = output("dpkg", ["-x", join(scratch, archive), join(scratch, "root")]);
    if (status !== 0) return { reason: `dpkg could not unpack ${archive}: ${stderr?.trim()}` };
    rmSync(unpacked, { recursive: true, force: true });
    renameSync(join(scratch, "root"), unpacked);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  return {};
}

/** The ICD of what was unpacked, with the place where it is now. */
function unpackedIcd() {
  const libraries = join(unpacked, "usr", "lib");
  const library = readdirSync(libraries).map((folder) => join(libraries, folder, "libvulkan_lvp.so")).find(existsSync);
  if (!library) return { reason: `there is no libvulkan_lvp.so below ${libraries}` };
  const absent = lacks(library);
  if (absent.length > 0) return { reason: `lavapipe needs ${absent.join(", ")} (on Debian 12: apt-get install libllvm15 `
    + "libwayland-client0 libxshmfence1 libxcb-{dri3-0,present0,randr0,shm0,sync1,xfixes0} libx11-xcb1)" };
  const icd = join(unpacked, "lvp_icd.json");
  writeFileSync(icd, JSON.stringify({ file_format_version: "1.0.0", ICD: { api_version: "1.3.0", library_path: library } }));
  return { icd };
}

function findLavapipe() {
  if (process.platform !== "linux") return { reason: "lavapipe is Linux's" };
  const own = ICDS.filter(existsSync).flatMap((folder) => readdirSync(folder).filter((name) => name.startsWith("lvp_icd"))
    .map((name) => join(folder, name)));
  const good = own.find((icd) => missing(icd) === undefined);
  if (good) return { icd: good };
  const { reason } = existsSync(unpacked) ? {} : unpack();
  const found = reason ? { reason } : unpackedIcd();
  const fault = found.icd && missing(found.icd);
  return fault ? { reason: fault } : found;
}

const { icd, reason } = findLavapipe();
if (!icd) {
  console.log(`tests on lavapipe: not run: ${reason}`);
  process.exit(0);
}
const asked = process.argv.slice(2);
const vitest = spawnSync(
  process.execPath,
  [join(root, "node_modules", "vitest", "vitest.mjs"), "run", "--project=node", "--testTimeout=300000",
    ...(asked.length > 0 ? asked : ["packages/kernels/src/backends/webgpu/half.test.ts"])],
  { cwd: root, stdio: "inherit", env: { ...process.env, ...variables(icd) } },
);
process.exit(vitest.status ?? 1);
