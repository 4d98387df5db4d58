/**
 * What the tests need to run on WebGPU without a GPU: a Chromium for those that run in a browser, and Chromium's
 * SwiftShader, a Vulkan driver that is software, for those in Node. A real GPU comes first.
 */
import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, mkdirSync, rmSync, statSync, symlinkSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge",
  "microsoft-edge-stable"];
const PLACES = {
  darwin: ["/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", "/Applications/Chromium.app/Contents/MacOS/Chromium"],
  win32: ["PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA"]
    .map((name) => join(process.env[name] ?? "C:\\", "Google\\Chrome\\Application\\chrome.exe")),
};
const HOW = process.platform === "linux" ? "apt-get install chromium, on Debian" : "install Chrome or Chromium";

/** Folders where a Chromium keeps vk_swiftshader_icd.json. */
const SWIFTSHADER = [
  "/usr/lib/chromium", "/usr/lib64/chromium", "/usr/lib64/chromium-browser", "/usr/lib/chromium-browser", "/opt/google/chrome",
  "/opt/microsoft/msedge", "/snap/chromium/current/usr/lib/chromium-browser",
];

function isProgram(path) {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/**
 * A Chromium: the one that LENGGEN_CHROMIUM names (`none`: go without), else from PATH, else from the usual places.
 * { path } or { reason }.
 */
export function findChromium() {
  const given = process.env.LENGGEN_CHROMIUM;
  if (given === "none") return { reason: "LENGGEN_CHROMIUM is none" };
  if (given) return isProgram(given) ? { path: given } : { reason: `LENGGEN_CHROMIUM is ${given}, which is no program` };
  const folders = (process.env.PATH ?? "").split(delimiter).filter(Boolean);
  const candidates = [...NAMES.flatMap((name) => folders.map((folder) => join(folder, name))), ...(PLACES[process.platform] ?? [])];
  const path = candidates.find(isProgram);
  return path ? { path } : { reason: `there is no Chromium (${HOW}; or LENGGEN_CHROMIUM=path)` };
}

/** What an adapter is called under these variables; undefined without one. In a process of its own: drivers may crash. */
function adapterUnder(variables) {
  const code = `
    import { create } from "webgpu";
    const adapter = await create([]).requestAdapter();
    if (adapter) console.log(adapter.info.description || adapter.info.vendor || "an adapter");
    process.exit();`;
  const { stdout, status } = spawnSync(process.execPath, ["--input-type=module", "-e", code], {
    cwd: root, encoding: "utf8", timeout: 60_000, env: { ...process.env, ...variables },
  });
  return status === 0 && stdout.trim() ? stdout.trim().split("\n").at(-1) : undefined;
}

/**
 * Variables that give Node a WebGPU adapter: { variables, adapter }, or { reason }. None are needed where the machine has
 * a GPU with a driver, or where VK_ICD_FILENAMES says what to take.
 */
export function webgpuInNode() {
  // Mesa's device selection asks for a screen and complains on the console when there is none.
  const quiet = { NODEVICE_SELECT: "1" };
  const own = adapterUnder(quiet);
  if (own) return { variables: quiet, adapter: own };
  if (process.platform !== "linux") return { reason: "Dawn finds no adapter" };
  if (process.env.VK_ICD_FILENAMES) return { reason: `VK_ICD_FILENAMES is ${process.env.VK_ICD_FILENAMES}, which gives no adapter` };
  const chromium = findChromium().path;
  const folder = [...(chromium ? [dirname(chromium)] : []), ...SWIFTSHADER]
    .find((place) => existsSync(join(place, "vk_swiftshader_icd.json")));
  if (!folder) return { reason: "there is neither a GPU with a Vulkan driver nor Chromium's SwiftShader (apt-get install chromium "
    + "libvulkan1, on Debian)" };
  const software = { ...quiet, VK_ICD_FILENAMES: join(folder, "vk_swiftshader_icd.json") };
  const adapter = adapterUnder(software);
  if (adapter) return { variables: software, adapter };
  // Dawn looks for libvulkan.so.1 where the linker does; Chromium has one: linked into a folder of its own, so that nothing else is taken.
  const library = join(folder, "libvulkan.so.1");
  if (existsSync(library)) {
    const vulkanFolder = join(root, "node_modules", ".lenggen-vulkan");
    mkdirSync(vulkanFolder, { recursive: true });
    rmSync(join(vulkanFolder, "libvulkan.so.1"), { force: true });
    symlinkSync(library, join(vulkanFolder, "libvulkan.so.1"));
    const path = [vulkanFolder, process.env.LD_LIBRARY_PATH].filter(Boolean).join(delimiter);
    const again = adapterUnder({ ...software, LD_LIBRARY_PATH: path });
    if (again) return { variables: { ...software, LD_LIBRARY_PATH: path }, adapter: again };
  }
  return { reason: `Dawn gets no adapter from ${software.VK_ICD_FILENAMES} (is libvulkan1 installed?)` };
}
