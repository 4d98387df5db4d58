/** Shares from 0 to 1 as a table of tinted cells with the numbers in them, in small multiples. */
import * as Plot from "@observablehq/plot";
import { append, draw, serialize, TEXT_SIZE } from "./svg";

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
  readonly rowLabel?: string;
  /** The columns of all panels, in order, written under the last one only; those of its own cells unless given. */
  readonly columns?: readonly string[];
  readonly cells: readonly HeatCell[];
}

const [ROW, TITLE, BOTTOM, BETWEEN] = [26, 30, 44, 8];
/** Room for a character of a label. */
const CHARACTER = 7;
/** Cells under this width take smaller figures. */
const NARROW_CELL = 26;

/** The map as a standalone SVG: panels one under another, rows and columns in order of first appearance. */
export function heatMap(map: HeatMap, { width }: { readonly width: number }): string {
  const unique = (pick: (cell: HeatCell) => string, cells = map.cells) => [...new Set(cells.map(pick))];
  const panels = unique((cell) => cell.panel);
  const left = CHARACTER * Math.max(...map.cells.map(({ row }) => row.length),
    map.rowLabel === undefined ? 0 : map.rowLabel.length + 2) + 12;
  const drawings = panels.map((panel, index) => {
    const cells = map.cells.filter((cell) => cell.panel === panel);
    const rows = unique((cell) => cell.row, cells);
    const columns = [...(map.columns ?? unique((cell) => cell.column, cells))];
    const cellWidth = (width - left - 4) / columns.length;
    // Where names of columns would meet, only every second or third is written, the last one always.
    const apart = Math.ceil((CHARACTER * Math.max(...columns.map(({ length }) => length)) + 4) / cellWidth);
    const top = panels.length > 1 ? TITLE : 6;
    const named = map.columns === undefined || index === panels.length - 1;
    const bottom = named ? BOTTOM : BETWEEN;
    const height = top + rows.length * ROW + bottom;
    const drawn = draw({
      width, height, marginLeft: left, marginTop: top, marginBottom: bottom, marginRight: 4, padding: 0.06,
      x: { domain: columns, label: null, tickSize: 0, tickFormat: (name: string) =>
        (named && (columns.length - 1 - columns.indexOf(name)) % apart === 0 ? name : "") },
      y: { domain: rows, label: null, tickSize: 0 },
      marks: [
        Plot.cell(cells, { x: "column", y: "row", fill: "var(--lg-state-passing, #0067a8)", fillOpacity: (cell: HeatCell) =>
          0.06 + 0.94 * cell.value, rx: 2 }),
        // White on a strong tint, ink on a weak one.
        Plot.text(cells, {
          x: "column", y: "row", text: (cell: HeatCell) => String(Math.floor(cell.value * 100 + 1e-9)), fontSize: cellWidth < NARROW_CELL
            ? 10 : TEXT_SIZE,
          fill: (cell: HeatCell) => (cell.value > 0.55 ? "var(--lg-ground, #fff)" : "var(--lg-ink, #1c1c1c)"),
        }),
      ],
    });
    if (named) append(drawn, "text", { x: width - 4, y: height - 6, "text-anchor": "end", fill: "var(--lg-soft, #6b6b6b)" },
      `${map.columnLabel} \u2192`);
    if (named && map.rowLabel !== undefined)
      append(drawn, "text", { x: 4, y: height - 6, fill: "var(--lg-soft, #6b6b6b)" }, `\u2191 ${map.rowLabel}`);
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
