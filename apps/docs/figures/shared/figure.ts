/** What every figure begins with: its rules, its stage, and the device that it may compute on. */
import { chartRules } from "./chart";
import figureStyle from "./figure.css?inline";

let styled = false;

/** Puts the rules of figures into the page, once. */
function addRules(): void {
  if (styled) return;
  styled = true;
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(chartRules() + figureStyle);
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
}

/** What a worker computes on. */
export interface DeviceChoice {
  readonly kind: "webgpu" | "reference";
  /** Whether software may stand in for a GPU, see the page's address. */
  readonly fallback: boolean;
}

/** A GPU where there is one, else plain JavaScript. `?fallback` takes software for a GPU, to try a figure's other half. */
async function findDevice(): Promise<DeviceChoice> {
  const fallback = new URLSearchParams(location.search).has("fallback");
  try {
    const adapter = await navigator.gpu?.requestAdapter();
    if (adapter && (fallback || !adapter.info.isFallbackAdapter)) return { kind: "webgpu", fallback };
  } catch {
    // No adapter is no GPU.
  }
  return { kind: "reference", fallback: false };
}

/** Prepares the page for a figure: what was recorded for it, from its own file, and the device that it may compute on. */
export async function begin<Recorded>(address: URL): Promise<[Recorded, DeviceChoice]> {
  addRules();
  return Promise.all([fetch(address).then((response) => response.json() as Promise<Recorded>), findDevice()]);
}

export type { Tools } from "../../theme/figure";
