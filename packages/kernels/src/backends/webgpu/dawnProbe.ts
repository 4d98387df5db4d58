/**
 * Asks in a process of its own whether Dawn finds a GPU. Where there is none, Dawn and the Vulkan loader print warnings on the terminal
 * that no option turns off; there they are caught and belong into the reason.
 */

/** What a probe found: an adapter, or none with what Dawn said about it. */
export type DawnProbe = { readonly adapter: true } | { readonly adapter: false; readonly words: string };

/** Longest that drivers may take. */
const LIMIT_MS = 30_000;
const LONGEST_WORDS = 200;

/**
 * Where Linux shows GPUs that Vulkan drivers use, and where the drivers say that they are there (the loader's own order of search; see
 * https://github.com/KhronosGroup/Vulkan-Loader, docs/LoaderDriverInterface.md).
 */
const DEVICES = [/^dri$/, /^nvidia\d+$/, /^dxg$/, /^kfd$/, /^mali\d+$/, /^kgsl-3d0$/];
const MANIFESTS = ["/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/usr/share/vulkan/icd.d"];
const CHOSEN = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES", "VK_ADD_DRIVER_FILES"];

/** Whether a GPU and a driver for it seem to be there, so that Dawn will hardly complain; always where this is not Linux. */
async function looksLikeGpu(): Promise<boolean> {
  if (process.platform !== "linux" || CHOSEN.some((name) => process.env[name])) return true;
  const { readdir } = await import("node:fs/promises");
  const namesIn = (folder: string): Promise<string[]> => readdir(folder).catch(() => []);
  const devices = await namesIn("/dev");
  if (!devices.some((name) => DEVICES.some((pattern) => pattern.test(name)))) return false;
  return (await Promise.all(MANIFESTS.map(namesIn))).some((names) => names.some((name) => name.endsWith(".json")));
}

/**
 * Looks for an adapter without a word on the terminal. Undefined where a look would tell nothing new: there seems to be a GPU, or no
 * process can be started.
 */
export async function probeDawn(name: string, options: readonly string[]): Promise<DawnProbe | undefined> {
  if (await looksLikeGpu()) return undefined;
  const { createRequire } = await import("node:module");
  const { pathToFileURL } = await import("node:url");
  const { execFile } = await import("node:child_process");
  let place: string;
  try {
    place = pathToFileURL(createRequire(import.meta.url).resolve(name)).href;
  } catch {
    return undefined;
  }
  const code = `
    const { create } = await import(${JSON.stringify(place)});
    const adapter = await create(${JSON.stringify(options)}).requestAdapter();
    process.stdout.write(adapter ? "adapter" : "none", () => process.exit());`;
  return new Promise((resolve) => {
    execFile(process.execPath, ["--input-type=module", "-e", code], { timeout: LIMIT_MS }, (error, said, warnings) => {
      if (error || !/^(adapter|none)$/.test(said)) resolve(undefined);
      else resolve(said === "adapter" ? { adapter: true } : { adapter: false, words: wordsOf(warnings) });
    });
  });
}

/** Dawn's warnings as one line, without the places in its source. */
function wordsOf(warnings: string): string {
  const lines = warnings.split("\n").map((line) => line.trim().replace(/^Warning: /, ""))
    .filter((line) => line !== "" && !line.startsWith("at "));
  return lines.join("; ").slice(0, LONGEST_WORDS);
}
