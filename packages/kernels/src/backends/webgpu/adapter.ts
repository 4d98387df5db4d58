/** Finds WebGPU: the browser's own, or in Node what dawn.ts loads. Says what is missing and how to get it. */
import { dawn } from "../../platform";
import type { FoundGpu } from "./dawn";

export type FoundAdapter =
  | { readonly adapter: GPUAdapter; readonly reason: "" }
  | { readonly adapter: null; readonly reason: string };

interface Surroundings {
  readonly navigator?: { readonly gpu?: GPU; readonly userAgent?: string };
  readonly isSecureContext?: boolean;
}

async function findGpu(): Promise<FoundGpu> {
  const { navigator, isSecureContext } = globalThis as unknown as Surroundings;
  if (navigator?.gpu) {
    const flags = linuxFlags(navigator.userAgent ?? "");
    return {
      gpu: navigator.gpu,
      withoutAdapter: "this browser has WebGPU, but gives it no GPU: hardware acceleration is off in its settings, or it does not trust "
        + "this GPU or its driver " +
        `(chrome://gpu and about:support say why); ${flags === "" ? "" : `${flags}; or `}update the driver, or try another browser`,
    };
  }
  if (dawn) return dawn();
  if (isSecureContext === false) {
    return { gpu: null, reason: "this page did not come over https, and browsers give WebGPU to secure pages only; serve it over https, "
      + "or open it from http://localhost" };
  }
  return { gpu: null, reason: `this browser has no WebGPU, or has it turned off; ${remedyFor(navigator?.userAgent ?? "")}` };
}

/**
 * What users of Chrome and Edge on Linux turn on; empty for all others. Newer ones show WebGPU to pages all the same, and then have
 * no adapter.
 */
function linuxFlags(userAgent: string): string {
  if (!CHROMIUM.test(userAgent) || !/Linux(?!.*Android)/.test(userAgent)) return "";
  const flag = `${chromiumName(userAgent)}://flags/#enable-`;
  return `on Linux it is on for some GPUs only: turn on ${flag}unsafe-webgpu and ${flag}vulkan, and start the browser anew`;
}

const CHROMIUM = /Chrom(e|ium)\/|Edg\//;
const chromiumName = (userAgent: string): string => (userAgent.includes("Edg/") ? "edge" : "chrome");

/** Where a browser's users find WebGPU. */
function remedyFor(userAgent: string): string {
  if (userAgent.includes("Firefox/")) {
    return "Firefox has it from 141 on Windows and from 145 on Macs with Apple's chips; elsewhere set dom.webgpu.enabled in "
      + "about:config, or take Chrome";
  }
  if (CHROMIUM.test(userAgent)) {
    return linuxFlags(userAgent) ||
      `Chrome and Edge have it from 113 (Android 121); update the browser, or turn on `
      + `${chromiumName(userAgent)}://flags/#enable-unsafe-webgpu and start it anew`;
  }
  if (userAgent.includes("Safari/")) return "Safari has it from 26 (macOS, iOS and iPadOS); update the system, or take Chrome on a Mac";
  return "Chrome and Edge have it from 113, Safari from 26, Firefox from 141 on Windows";
}

/** An adapter, or the reason why there is none. */
export async function findAdapter(): Promise<FoundAdapter> {
  const found = await findGpu();
  if (!found.gpu) return { adapter: null, reason: found.reason };
  const { gpu, withoutAdapter } = found;
  try {
    const adapter = await gpu.requestAdapter();
    return adapter ? { adapter, reason: "" } : { adapter: null, reason: withoutAdapter };
  } catch (error) {
    return { adapter: null, reason: `WebGPU refused an adapter: ${error instanceof Error ? error.message : String(error)}` };
  }
}
