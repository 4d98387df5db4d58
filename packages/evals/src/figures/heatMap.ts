/** Shares from 0 to 1 as a table of tinted cells with the numbers in them, in small multiples. */
import * as Plot from "@observablehq/plot";
import { append, draw, serialize } from "./svg";

/** One cell: a share from 0 to 1 at a row and a column. */
export interface HeatCell {
  readonly panel: string;
  readonly row: string;
  readonly column: string;
  /** 0 ... 1. */
  readonly value: number;
}

/** A heat map as data. */
export interface HeatMap {
  readonly id: string;
  /** What the figure shows, for screen readers. */
  readonly description: string;
  readonly columnLabel: string;
  readonly cells: readonly HeatCell[];
}

const [ROW, TITLE, LEFT, BOTTOM] = [26, 30, 98, 44];

/** The map as a standalone SVG: panels one under another, rows and columns in order of first appearance. */
export function heatMap(map: HeatMap, { width }: { readonly width: number }): string {
  const unique = (pick: (cell: HeatCell) => string, cells = map.cells) => [...new Set(cells.map(pick))];
  const panels = unique((cell) => cell.panel);
  const drawings = panels.map((panel) => {
    const cells = map.cells.filter((cell) => cell.panel === panel);
    const rows = unique((cell) => cell.row, cells);
    const top = panels.length > 1 ? TITLE : 6;
    const height = top + rows.length * ROW + BOTTOM;
    const drawn = draw({
      width, height, marginLeft: LEFT, marginTop: top, marginBottom: BOTTOM, marginRight: 4, padding: 0.06,
      x: { domain: unique((cell) => cell.column, cells), label: null, tickSize: 0 },
      y: { domain: rows, label: null, tickSize: 0 },
      marks: [
        Plot.cell(cells, { x: "column", y: "row", fill: "var(--lg-state-passing, #0067a8)", fillOpacity: (cell: HeatCell) => 0.06 + 0.94 * cell.value, rx: 2 }),
        // White on a strong tint, ink on a weak one.
        Plot.text(cells, {
          x: "column", y: "row", text: (cell: HeatCell) => String(Math.round(cell.value * 100)),
          fill: (cell: HeatCell) => (cell.value > 0.55 ? "var(--lg-ground, #fff)" : "var(--lg-ink, #1c1c1c)"),
        }),
      ],
    });
    append(drawn, "text", { x: width - 4, y: height - 6, "text-anchor": "end", fill: "var(--lg-soft, #6b6b6b)" }, `${map.columnLabel} \u2192`);
    if (panels.length > 1) append(drawn, "text", { x: 4, y: 16, "font-weight": 600, fill: "var(--lg-ink, #1c1c1c)" }, panel);
    return { svg: serialize(drawn, `${map.id}-${panel}`, `${map.description} ${panel}`), height };
  });
  return stack(map, drawings, width);
}

/** Puts drawings one under another into one SVG. */
function stack(map: HeatMap, drawings: readonly { svg: string; height: number }[], width: number): string {
  const height = drawings.reduce((sum, d) => sum + d.height, 0);
  let y = 0;
  const inner = drawings.map((d) => {
    const placed = d.svg.replace("<svg ", `<svg y="${y}" `);
    y += d.height;
    return placed;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" role="img" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">`
    + `<title>${map.description.replace(/[<&]/g, " ")}</title>${inner.join("")}</svg>`;
}
