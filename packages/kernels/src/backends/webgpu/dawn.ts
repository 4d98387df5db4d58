/** WebGPU in Node: the npm package `webgpu`, which brings Dawn. Imported by a name that bundlers do not follow. */
import { isMusl } from "../cpu/libc";
import { type DawnProbe, probeDawn } from "./dawnProbe";

/** WebGPU, with what to say when it has no adapter; or the reason why there is none. */
export type FoundGpu = { readonly gpu: GPU; readonly withoutAdapter: string } | { readonly gpu: null; readonly reason: string };

/**
 * Times as they are, for benchmarks. No zeros in a group's memory before it starts: kernels write before they read, and software
 * adapters compile that a hundred times longer. On Linux no look at OpenGL, which would print what it lacks.
 */
const options = (): string[] => ["disable-dawn-features=timestamp_quantization", "enable-dawn-features=disable_workgroup_init",
  ...(process.platform === "linux" ? ["backend=vulkan"] : [])];

const withoutAdapter = (): string => process.platform === "linux"
  ? "no GPU with a Vulkan driver was found (Debian and Ubuntu: apt-get install libvulkan1, and the GPU's own driver); " +
    "to go without a GPU, slowly, install chromium and set VK_ICD_FILENAMES=/usr/lib/chromium/vk_swiftshader_icd.json"
  : "no GPU that WebGPU can use was found; update the system and the GPU's driver";

interface Dawn {
  create(options: string[]): GPU;
}

const NAME = "webgpu";
const load = (): Promise<Dawn> => import(/* webpackIgnore: true */ /* @vite-ignore */ NAME) as Promise<Dawn>;

/** One for the whole process, and for good: an adapter or device that outlives what made it crashes or hangs Dawn. */
const INSTANCES = new Map<Dawn, GPU>();

/** How Dawn is found; tests play others. */
interface Ways {
  load(): Promise<Dawn>;
  /** A look for an adapter that leaves the terminal alone; undefined where Dawn may be asked itself. */
  probe(): Promise<DawnProbe | undefined>;
  /** Whether this system's C library is one that the package has no binary for; as it is unless given. */
  isMusl?(): Promise<boolean>;
}

let probed: Promise<DawnProbe | undefined> | undefined;
const OWN_WAYS: Ways = { load, probe: () => (probed ??= probeDawn(NAME, options())) };

/** Dawn's WebGPU, or why there is none. */
export async function dawn({ load: loading, probe, isMusl: onMusl = isMusl }: Ways = OWN_WAYS): Promise<FoundGpu> {
  let module: Dawn;
  try {
    module = await loading();
  } catch (error) {
    if (await onMusl()) {
      const reason = "Node has no WebGPU of its own, and the binaries of the npm package webgpu are for glibc, while this system's C "
        + "library is musl (Alpine); " +
        "take an image with glibc (node:20-slim for node:20-alpine)";
      return { gpu: null, reason };
    }
    const missing = (error as { code?: string }).code === "ERR_MODULE_NOT_FOUND";
    return {
      gpu: null,
      reason: missing
        ? "Node has no WebGPU of its own; install the package that brings it: npm install webgpu"
        : `the npm package webgpu does not load: ${error instanceof Error ? error.message : String(error)}`,
    };
  }
  const found = INSTANCES.has(module) ? undefined : await probe();
  if (found?.adapter === false) return { gpu: null, reason: withoutAdapter() + (found.words ? ` (Dawn says: ${found.words})` : "") };
  const gpu = INSTANCES.get(module) ?? module.create(options());
  INSTANCES.set(module, gpu);
  return { gpu, withoutAdapter: withoutAdapter() };
}
