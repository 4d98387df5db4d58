/** A line chart that is drawn at the size in which it is shown, with its legend; and the same as a still. */
import { METHOD_STYLES } from "@lenggen/evals";
import { type Plot, plotMarkup } from "train-in-a-tab/plot";
import { element } from "./dom";

export interface LegendEntry {
  readonly name: string;
  readonly className: string;
}

/** A chart without its size. */
export interface Chart extends Omit<Plot, "width" | "height"> {
  readonly legend: readonly LegendEntry[];
  /** What it shows, for who does not see it. */
  readonly description: string;
}

const SVG = "http://www.w3.org/2000/svg";

export interface ChartView {
  readonly element: HTMLElement;
  show(chart: Chart): void;
  dispose(): void;
}

export function chartView(): ChartView {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "lgf");
  svg.setAttribute("role", "img");
  const legend = element("ul", { class: "legend" });
  const holder = element("div", { class: "chart" }, legend, svg);
  let shown: Chart | undefined;
  const draw = (): void => {
    const width = Math.round(svg.clientWidth);
    if (!shown || width === 0) return;
    const height = Math.round(Math.min(340, Math.max(230, width * 0.5)));
    svg.setAttribute("height", String(height));
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.innerHTML = plotMarkup({ ...shown, width, height });
  };
  const observer = new ResizeObserver(draw);
  observer.observe(svg);
  return {
    element: holder,
    show(chart) {
      shown = chart;
      svg.setAttribute("aria-label", chart.description);
      const entries = chart.legend.map(({ name, className }) => {
        const sample = document.createElementNS(SVG, "svg");
        sample.setAttribute("class", "lgf");
        sample.setAttribute("viewBox", "0 0 28 10");
        sample.setAttribute("aria-hidden", "true");
        sample.innerHTML = `<path class="line ${className}" d="M1 5H27"/>`;
        return element("li", {}, sample, name);
      });
      legend.replaceChildren(...entries);
      draw();
    },
    dispose: () => observer.disconnect(),
  };
}

const SOFT = "var(--lg-soft, #6b6b6b)";

/** How parts of a chart look, by their classes; colours are those of the page. */
const LOOKS: Readonly<Record<string, string>> = {
  "tint": "fill:var(--tint, #f6f3ec)",
  "grid": "fill:none;stroke:var(--rule, #dedad2)",
  "axis": `fill:none;stroke:${SOFT};stroke-opacity:.6`,
  "mark": `fill:none;stroke:${SOFT};stroke-dasharray:2 3`,
  "mark-label": "paint-order:stroke;stroke:var(--lg-ground, #fff);stroke-width:4px;stroke-linejoin:round",
  "empty": "paint-order:stroke;stroke:var(--lg-ground, #fff);stroke-width:4px;stroke-linejoin:round",
  "line": "fill:none;stroke-width:2.2;stroke-linejoin:round",
  "dot": "stroke-width:7;stroke-linecap:round",
  "faint": "stroke-width:1;stroke-opacity:.6",
  "reference": `stroke:${SOFT};stroke-width:1.6;stroke-dasharray:1.5 4`,
  "strong": "fill:var(--lg-ink, #1c1c1c);font-weight:600",
  "score": "fill:var(--lg-state-passing, #0067a8)",
  "pick": "fill:none;stroke:var(--lg-ink, #1c1c1c);stroke-width:1.2",
  "chosen": "fill:none;stroke:var(--lg-random-noise, #c44e00);stroke-width:2",
  // Told apart with all common colour vision, and without colour.
  ...Object.fromEntries(Object.entries(METHOD_STYLES).map(([name, { light, dash }]) =>
    [name, `stroke:var(--lg-${name}, ${light})${dash ? `;stroke-dasharray:${dash}` : ""}`])),
};

const TEXT = `font:12px var(--sans, system-ui, sans-serif);font-variant-numeric:tabular-nums;fill:${SOFT}`;

/** The rules of charts in the page. */
export const chartRules = (): string => `.lgf{overflow:visible}.lgf text{${TEXT}}`
  + Object.entries(LOOKS).map(([name, look]) => `.lgf .${name}{${look}}`).join("");

const WIDTH = 560;
const HEIGHT = 300;
const ROW = 20;
const LETTER = 6.4;

/** The chart as an SVG that is whole in itself, with the colours of the page that it stands in or of the system. */
export function stillMarkup(chart: Chart): string {
  const rows: LegendEntry[][] = [];
  let x = Infinity;
  const widthOf = ({ name }: LegendEntry): number => 36 + name.length * LETTER + 18;
  for (const entry of chart.legend) {
    if (x + widthOf(entry) > WIDTH) {
      rows.push([]);
      x = 0;
    }
    rows.at(-1)!.push(entry);
    x += widthOf(entry);
  }
  const top = rows.length * ROW + 8;
  const legend = rows.flatMap((row, i) => {
    let at = 0;
    return row.map((entry) => {
      const y = i * ROW + 12;
      const item = `<path class="line ${entry.className}" d="M${at} ${y - 4}h28"/>`
        + `<text x="${at + 36}" y="${y}">${escape(entry.name)}</text>`;
      at += widthOf(entry);
      return item;
    });
  });
  return stillOf(WIDTH, HEIGHT + top, chart.description,
    `${legend.join("")}<g transform="translate(0 ${top})">${plotMarkup({ ...chart, width: WIDTH, height: HEIGHT })}</g>`);
}

/** An SVG that is whole in itself: each part has its looks as an attribute. */
export function stillOf(width: number, height: number, description: string, markup: string): string {
  const looking = markup.replaceAll(/ class="([^"]*)"/g, (_, classes: string) => {
    const looks = classes.split(" ").flatMap((name) => LOOKS[name] ?? []).join(";");
    return looks === "" ? "" : ` style="${looks}"`;
  });
  return `<svg xmlns="${SVG}" role="img" aria-label="${escape(description)}" viewBox="0 0 ${width} ${height}" width="${width}" `
    + `style="${TEXT};overflow:visible">${looking}</svg>\n`;
}

/** For text and attributes of markup. */
export function escape(text: string): string {
  return text.replaceAll(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
}
