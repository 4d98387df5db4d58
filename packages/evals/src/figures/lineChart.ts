/**
 * Line charts with bands for intervals, in one panel or in small multiples, labelled at the line's end when there
 * is room and by a legend above when there is not.
 */
import * as Plot from "@observablehq/plot";
import { METHOD_STYLES, methodColor, type Styled } from "../methods";
import { binaryTicks, decimalTicks, formatLength } from "./format";
import { append, draw, type Drawn, serialize, TEXT_SIZE } from "./svg";

/** A point of a line, with its interval. */
export interface LinePoint {
  readonly x: number;
  readonly y: number;
  /** The 95% interval, drawn as a band. */
  readonly interval?: readonly [number, number] | null;
}

/** One line. */
export interface Series {
  readonly label: string;
  readonly points: readonly LinePoint[];
  /** Gives colour and dashes; a series without one is drawn in grey dots. */
  readonly method?: Styled;
  /** Which of the small multiples it belongs to. */
  readonly panel?: string;
  /** Drawn thin and unlabelled, as one of many. */
  readonly faint?: boolean;
}

/** An axis of a chart. */
export interface Axis {
  readonly label: string;
  readonly type?: "log" | "linear";
  /** Taken from the points unless given; what lies outside is cut off. */
  readonly domain?: readonly [number, number];
  readonly format?: (value: number) => string;
}

/** A line chart as data, for {@link lineChart} and for the terminal. */
export interface LineChart {
  readonly id: string;
  /** What the figure shows, for screen readers. */
  readonly description: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly series: readonly Series[];
  /** Vertical lines with a word, e.g. the training length; and horizontal ones. */
  readonly marks?: readonly { readonly x?: number; readonly y?: number; readonly label?: string }[];
  /** Small multiples in a row, when there is room and when there is not. */
  readonly columns?: { readonly wide: number; readonly narrow: number };
}

/** How large a chart is drawn. */
export interface ChartSize {
  /** In CSS pixels. Under 560 a legend above replaces the labels at the lines' ends. */
  readonly width: number;
  /** Of one panel. */
  readonly height?: number;
  /** Small multiples in a row, for charts that do not say it themselves. */
  readonly columns?: number;
}

interface Row extends LinePoint {
  readonly series: string;
  readonly panel: string;
}

const NARROW = 560;
const LEGEND_ROW = 18;
const [LEFT, BOTTOM, ROW_GAP] = [46, 46, 52];
const colorOf = ({ method }: Series) => (method ? methodColor(method) : "var(--lg-soft, #6b6b6b)");
const dashOf = ({ method }: Series) => (method ? METHOD_STYLES[method].dash : "1.5 3");

/** The chart as a standalone SVG. */
export function lineChart(chart: LineChart, size: ChartSize): string {
  const panels = [...new Set(chart.series.map((s) => s.panel ?? ""))];
  const single = panels.length === 1;
  const columns = single ? 1 : Math.min(panels.length, chart.columns?.[size.width < NARROW ? "narrow" : "wide"] ?? size.columns ?? 3);
  const rows = Math.ceil(panels.length / columns);
  const named = chart.series.filter((s) => !s.faint && s.label !== "");
  const ends = single && size.width >= NARROW;
  const legend = ends ? [] : legendRows(uniqueLabels(named), size.width);

  const marginRight = ends ? 14 + 7 * Math.max(0, ...named.map((s) => s.label.length)) : 14;
  const labelAt = 14 + legend.length * LEGEND_ROW + (legend.length > 0 ? 6 : 0);
  const marginTop = labelAt + (single ? 12 : 30);
  const panelHeight = size.height ?? (single ? 340 : 170);
  const domains = { x: chart.x.domain ?? extent(chart.series, "x", chart.x.type),
    y: chart.y.domain ?? extent(chart.series, "y", chart.y.type) };
  const place = (panel: string) => ({ fx: panels.indexOf(panel) % columns, fy: Math.floor(panels.indexOf(panel) / columns) });
  const facet = single ? {} : { fx: (d: { panel: string }) => place(d.panel).fx, fy: (d: { panel: string }) => place(d.panel).fy };
  const panelWidth = (size.width - LEFT - marginRight) / columns;

  const drawn = draw({
    width: size.width,
    height: marginTop + BOTTOM + rows * panelHeight + (rows - 1) * ROW_GAP,
    marginTop, marginRight, marginBottom: BOTTOM, marginLeft: LEFT,
    x: { type: chart.x.type ?? "log", domain: [...domains.x], label: null },
    y: { type: chart.y.type ?? "linear", domain: [...domains.y], label: null },
    ...(single ? {} : { fx: { axis: null, paddingOuter: 0, paddingInner: 0.14, domain: range(columns) },
      fy: { axis: null, paddingOuter: 0, paddingInner: rows > 1 ? ROW_GAP / (panelHeight + ROW_GAP) : 0, domain: range(rows) } }),
    marks: [
      ...axes(chart, domains, panelWidth, panelHeight),
      ...(chart.marks ?? []).flatMap(({ x, y, label }) => [
        ...(x === undefined ? [] : [Plot.ruleX([x], { stroke: "var(--lg-soft, #6b6b6b)", strokeDasharray: "2 3" })]),
        ...(y === undefined ? [] : [Plot.ruleY([y], { stroke: "var(--lg-soft, #6b6b6b)", strokeWidth: 1 })]),
        ...(x === undefined || !label || !single ? [] : [Plot.text([label], {
          x, frameAnchor: "top", ...besideRule(shareOf(x, domains.x, chart.x.type)), dy: 2, fill: "var(--lg-soft, #6b6b6b)",
          stroke: "var(--lg-ground, #fff)", strokeWidth: 4,
        })]),
      ]),
      // A logarithm has no place for what reaches to 0 or below: a band goes on to the edge there.
      ...chart.series.flatMap((s) => lines(s, facet, chart.y.type === "log" ? domains.y[0] : -Infinity)),
      ...(single ? [] : [Plot.text(panels.map((panel) => ({ panel })), {
        ...facet, text: "panel", frameAnchor: "top-left", dy: -16, fontWeight: 600, fill: "var(--lg-ink, #1c1c1c)",
      })]),
    ],
  });
  const quiet = { fill: "var(--lg-soft, #6b6b6b)" };
  append(drawn, "text", { ...quiet, x: 4, y: labelAt }, `\u2191 ${chart.y.label}`);
  append(drawn, "text", { ...quiet, x: size.width - marginRight, y: drawn.height - 6, "text-anchor": "end" }, `${chart.x.label} \u2192`);
  if (ends) endLabels(drawn, named, size.width - marginRight, [marginTop, marginTop + panelHeight]);
  legend.forEach((row, i) => drawLegendRow(drawn, row, 14 + i * LEGEND_ROW));
  return serialize(drawn, `${chart.id}-${size.width}`, chart.description);
}

function axes(chart: LineChart, domains: { x: readonly [number, number]; y: readonly [number, number] }, width: number,
  height: number): Plot.Markish[] {
  const most = Math.max(3, Math.floor(height / 48));
  const yTicks = chart.y.type === "log" ? decimalTicks(domains.y, most) : most;
  const xTicks = (chart.x.type ?? "log") === "log" ? binaryTicks(domains.x, width / 46) : undefined;
  const format = (axis: Axis, otherwise: (value: number) => string) => axis.format ?? otherwise;
  const quiet = { color: "var(--lg-soft, #6b6b6b)", tickSize: 0, tickPadding: 6 };
  return [
    Plot.gridY({ stroke: "var(--lg-soft, #6b6b6b)", strokeOpacity: 0.18, ticks: yTicks }),
    Plot.axisX({ ...quiet, ticks: xTicks ?? width / 60, text: format(chart.x, formatLength), label: null, facetAnchor: null }),
    Plot.axisY({
      ...quiet, ticks: yTicks, text: format(chart.y, (value) => String(Number(value.toPrecision(3)))), label: null,
    }),
    Plot.ruleY([domains.y[0]], { stroke: "var(--lg-soft, #6b6b6b)", strokeOpacity: 0.6 }),
  ];
}

function lines(s: Series, facet: object, lowest: number): Plot.Markish[] {
  const rows: Row[] = s.points.map((point) => ({ ...point, series: s.label, panel: s.panel ?? "" }));
  const banded = rows.filter((row) => row.interval);
  return [
    ...(banded.length > 1 ? [Plot.areaY(banded, {
      ...facet, x: "x", y1: (row: Row) => Math.max(lowest, row.interval![0]), y2: (row: Row) => row.interval![1], fill: colorOf(s),
      fillOpacity: 0.13, clip: true,
    })] : []),
    Plot.line(rows, {
      ...facet, x: "x", y: "y", stroke: colorOf(s), strokeWidth: s.faint ? 0.9 : 2, strokeOpacity: s.faint ? 0.55 : 1,
      ...(dashOf(s) && !s.faint ? { strokeDasharray: dashOf(s)! } : {}), clip: true,
    }),
  ];
}

/** Where x lies between the ends of the axis, 0 ... 1. */
function shareOf(x: number, [low, high]: readonly [number, number], type: Axis["type"] = "log"): number {
  return type === "log" ? Math.log(x / low) / Math.log(high / low) : (x - low) / (high - low);
}

/** The word of a vertical line stands to its right, or to its left where it would leave the figure. */
function besideRule(share: number): { textAnchor: "start" | "end"; dx: number } {
  return share > 0.6 ? { textAnchor: "end", dx: -5 } : { textAnchor: "start", dx: 5 };
}

/** Names at the lines' ends, pushed apart until none overlap, with a hair line to where each belongs. */
function endLabels(drawn: Drawn, series: readonly Series[], x: number, [top, bottom]: readonly [number, number]): void {
  const scale = drawn.scale("y")!;
  const gap = TEXT_SIZE + 3;
  const labels = series
    .filter((s) => s.points.length > 0)
    .map((s) => ({ s, at: Math.min(bottom, Math.max(top, Number(scale.apply(s.points.at(-1)!.y)))) }))
    .sort((a, b) => a.at - b.at)
    .map((label) => ({ ...label, y: label.at }));
  for (let i = 1; i < labels.length; i++) labels[i]!.y = Math.max(labels[i]!.y, labels[i - 1]!.y + gap);
  const over = (labels.at(-1)?.y ?? 0) - bottom;
  if (over > 0) {
    labels.at(-1)!.y -= over;
    for (let i = labels.length - 2; i >= 0; i--) labels[i]!.y = Math.min(labels[i]!.y, labels[i + 1]!.y - gap);
  }
  for (const { s, at, y } of labels) {
    append(drawn, "path", { d: `M${x + 2},${at}L${x + 11},${y}`, stroke: colorOf(s), "stroke-opacity": 0.5, fill: "none" });
    append(drawn, "text", { x: x + 14, y: y + TEXT_SIZE * 0.35, fill: colorOf(s), "font-weight": 600 }, s.label);
  }
}

function uniqueLabels(series: readonly Series[]): Series[] {
  return series.filter((s, i) => s.panel === undefined && series.findIndex((other) => other.label === s.label) === i);
}

interface LegendItem {
  readonly s: Series;
  readonly x: number;
}

function legendRows(series: readonly Series[], width: number): LegendItem[][] {
  const rows: LegendItem[][] = [];
  let x = Infinity;
  for (const s of series) {
    const needed = 30 + s.label.length * 6.8 + 14;
    if (x + needed > width) {
      rows.push([]);
      x = 4;
    }
    rows.at(-1)!.push({ s, x });
    x += needed;
  }
  return rows;
}

function drawLegendRow(drawn: Drawn, row: readonly LegendItem[], y: number): void {
  for (const { s, x } of row) {
    append(drawn, "path", {
      d: `M${x},${y - 4}h22`, stroke: colorOf(s), "stroke-width": 2.4, fill: "none",
      ...(dashOf(s) ? { "stroke-dasharray": dashOf(s)! } : {}),
    });
    append(drawn, "text", { x: x + 28, y, fill: "var(--lg-ink, #1c1c1c)" }, s.label);
  }
}

function extent(series: readonly Series[], axis: "x" | "y", type: Axis["type"]): [number, number] {
  const values = series.flatMap((s) => s.points.map((point) => point[axis])).filter((v) => Number.isFinite(v) && (axis === "y" || v > 0));
  const [low, high] = values.length === 0 ? [1, 2] : [Math.min(...values), Math.max(...values)];
  if (axis === "x") return low === high ? [low, low * 2] : [low, high];
  if (type === "log") return [low / 1.05, high * 1.05];
  const pad = (high - low || Math.abs(high) || 1) * 0.06;
  return [low - pad, high + pad];
}

function range(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i);
}
