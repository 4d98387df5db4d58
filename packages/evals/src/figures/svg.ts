/** Observable Plot outside a browser: a DOM from linkedom in, a standalone SVG string out. */
import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import { methodVariables } from "../methods";

const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif";

/** Point sizes in a figure's own units; figures are drawn near the width at which they are shown. */
export const TEXT_SIZE = 12;

/** The little of the DOM that is used here; the full types would make browser globals look available in Node. */
interface SvgNode {
  textContent: string | null;
}

interface SvgElement extends SvgNode {
  outerHTML: string;
  setAttribute(name: string, value: string): void;
  appendChild(child: SvgNode): unknown;
}

interface SvgDocument {
  createElementNS(namespace: string, name: string): SvgElement;
}

/** A drawn chart, its document (to add nodes), and its scales. */
export interface Drawn {
  readonly svg: SvgElement;
  readonly document: SvgDocument;
  readonly scale: Plot.Plot["scale"];
  readonly height: number;
}

export function draw(options: Plot.PlotOptions & { readonly height: number }): Drawn {
  const { document } = parseHTML("<!doctype html><html><body></body></html>");
  const chart = Plot.plot({
    ...options,
    document,
    className: "lg-plot",
    style: { fontFamily: FONT, fontSize: `${TEXT_SIZE}px`, background: "none", overflow: "visible" },
  });
  return {
    svg: chart, document,
    scale: (name) => chart.scale(name), height: options.height,
  };
}

/** Adds an SVG element with attributes and text. */
export function append({ document, svg }: Drawn, name: string, attributes: Readonly<Record<string, string | number>>, text = ""): void {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries({ ...(name === "text" ? { "text-anchor": "start" } : {}), ...attributes }))
    node.setAttribute(key, String(value));
  if (text !== "") node.textContent = text;
  svg.appendChild(node);
}

const VARIABLES = `:root{color-scheme:light dark;${methodVariables("light")};--lg-ink:#1c1c1c;--lg-soft:#6b6b6b;--lg-ground:#ffffff}`
  + `@media(prefers-color-scheme:dark){:root{${methodVariables("dark")};--lg-ink:#e8e6e1;--lg-soft:#a3a09a;--lg-ground:#16181b}}`;

/**
 * The SVG as text: complete in itself, described for screen readers, light or dark as the reader's system is.
 * `id` must be unique in a page; it names clip paths.
 */
export function serialize({ svg }: Drawn, id: string, description: string): string {
  svg.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", DESCRIPTION);
  let count = 0;
  const names = new Map<string, string>();
  const text = svg.outerHTML.replace(/plot-clip-\d+/g, (name: string) => {
    if (!names.has(name)) names.set(name, `${id}-clip-${++count}`);
    return names.get(name)!;
    // To readers of screens it is one picture; Plot's names for the parts ("rule", "area") stand where none may.
  }).replaceAll(/ aria-(?:label="(?!description-of)[^"]*"|description="[^"]*")/g, "");
  // linkedom writes attributes as HTML does; an SVG on its own is XML, where & and < must be escaped.
  const escaped = description.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
  return text.replace(/<style>[\s\S]*?<\/style>/, `<style>${STYLE}</style>`).replace(DESCRIPTION, () => escaped);
}

const DESCRIPTION = "description-of-the-figure";

// Variables with fallbacks: a page may set them; alone, the figure follows the reader's system.
const STYLE = `${VARIABLES}.lg-plot{color:var(--lg-ink,#1c1c1c);--plot-background:var(--lg-ground,#fff)}`
  + ".lg-plot text,.lg-plot tspan{white-space:pre}";
