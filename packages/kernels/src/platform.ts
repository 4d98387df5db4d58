/**
 * All that only Node has and that modules of the browser would otherwise import. Bundles for the browser take
 * platform.browser.ts in its place (tsup.config.ts; the tests in vitest.config.ts).
 */
import { dawn as loadDawn } from "./backends/webgpu/dawn";

export { cpu } from "./backends/cpu";

/** WebGPU for Node; undefined where Node is not. */
export const dawn: (() => ReturnType<typeof loadDawn>) | undefined = typeof process !== "undefined" && process.versions?.node
  ? () => loadDawn() : undefined;
