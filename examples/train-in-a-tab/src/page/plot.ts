/** Small line charts as SVG, drawn at the size in which they are shown, so that text and hair lines stay crisp. */

export type Point = readonly [x: number, y: number];

export interface PlotLine {
  readonly points: readonly Point[];
  /** A class of the style sheet, which gives colour and dashes. */
  readonly className: string;
}

export interface PlotAxis {
  readonly type: "linear" | "log";
  readonly domain: readonly [number, number];
  readonly format: (value: number) => string;
}

export interface Plot {
  readonly width: number;
  readonly height: number;
  readonly x: PlotAxis;
  readonly y: PlotAxis;
  /** Words at the ends of the axes. */
  readonly xLabel: string;
  readonly yLabel: string;
  readonly lines: readonly PlotLine[];
  /** Vertical lines with a word. */
  readonly marks?: readonly { readonly x: number; readonly label: string }[];
  /** The part of the x axis from here on is tinted. */
  readonly tintFrom?: number;
  /** Stands in the middle where there are no lines to draw. */
  readonly empty: string;
}

const [LEFT, RIGHT, TOP, BOTTOM] = [40, 10, 26, 38];

/** What goes inside the `svg` element. */
export function plotMarkup(plot: Plot): string {
  const { width, height, x, y, marks = [], tintFrom } = plot;
  const right = width - RIGHT;
  const bottom = height - BOTTOM;
  const placeX = scale(x, LEFT, right);
  const placeY = scale(y, bottom, TOP);
  const inside = (value: number) => value >= x.domain[0] && value <= x.domain[1];
  const parts: string[] = [];
  if (tintFrom !== undefined && tintFrom < x.domain[1]) {
    const from = Math.max(LEFT, placeX(tintFrom));
    parts.push(`<rect class="tint" x="${n(from)}" y="${TOP}" width="${n(right - from)}" height="${n(bottom - TOP)}"/>`);
  }
  const empty = plot.lines.every(({ points }) => points.length === 0);
  for (const tick of ticks(y, Math.max(2, Math.floor((bottom - TOP) / 44)))) {
    const at = n(placeY(tick));
    parts.push(`<path class="grid" d="M${LEFT} ${at}H${right}"/>`);
    // Numbers beside an axis that nothing is measured on would be made up.
    if (!empty) parts.push(`<text class="tick" x="${LEFT - 8}" y="${at}" dy="0.32em" text-anchor="end">${escape(y.format(tick))}</text>`);
  }
  for (const tick of ticks(x, Math.max(2, Math.floor((right - LEFT) / 56)))) {
    parts.push(`<text class="tick" x="${n(placeX(tick))}" y="${bottom + 17}" text-anchor="middle">${escape(x.format(tick))}</text>`);
  }
  parts.push(`<path class="axis" d="M${LEFT} ${bottom}H${right}"/>`);
  for (const { x: value, label } of marks.filter((mark) => inside(mark.x))) {
    const at = placeX(value);
    const end = at > LEFT + 0.66 * (right - LEFT);
    parts.push(`<path class="mark" d="M${n(at)} ${TOP}V${bottom}"/>`);
    parts.push(`<text class="mark-label" x="${n(at + (end ? -6 : 6))}" y="${TOP + 11}" `
      + `text-anchor="${end ? "end" : "start"}">${escape(label)}</text>`);
  }
  for (const { points, className } of plot.lines) {
    const shown = points.filter(([px, py]) => inside(px) && Number.isFinite(py));
    const at = ([px, py]: Point) => `${n(placeX(px))} ${n(Math.min(bottom, Math.max(TOP, placeY(py))))}`;
    if (shown.length > 1) parts.push(`<path class="line ${className}" d="M${shown.map(at).join("L")}"/>`);
    else if (shown[0]) parts.push(`<path class="line dot ${className}" d="M${at(shown[0])}h0.01"/>`);
  }
  if (empty) {
    parts.push(`<text class="empty" x="${n((LEFT + right) / 2)}" y="${n((TOP + bottom) / 2)}" dy="0.32em" `
      + `text-anchor="middle">${escape(plot.empty)}</text>`);
  }
  parts.push(`<text class="axis-label" x="0" y="11">${escape(plot.yLabel)}</text>`);
  parts.push(`<text class="axis-label" x="${right}" y="${height - 4}" text-anchor="end">${escape(plot.xLabel)}</text>`);
  return parts.join("");
}

function scale({ type, domain: [low, high] }: PlotAxis, from: number, to: number): (value: number) => number {
  const f = type === "log" ? Math.log : (value: number) => value;
  const [start, span] = [f(low), f(high) - f(low) || 1];
  return (value) => from + ((f(value) - start) / span) * (to - from);
}

function ticks({ type, domain: [low, high] }: PlotAxis, most: number): number[] {
  return type === "log" ? powers(low, high, most) : roundNumbers(low, high, most);
}

/** Powers of 2, 4, 8, 16 ... inside a range, few enough for the labels. */
function powers(low: number, high: number, most: number): number[] {
  for (let step = 1; ; step++) {
    const found: number[] = [];
    for (let power = Math.ceil(Math.log2(low) / step) * step; 2 ** power <= high * 1.0001; power += step) found.push(2 ** power);
    if (found.length <= most) return found;
  }
}

/** Round numbers inside a range, at most so many. */
function roundNumbers(low: number, high: number, most: number): number[] {
  const raw = (high - low) / most;
  if (!(raw > 0)) return [low];
  const decade = 10 ** Math.floor(Math.log10(raw));
  const step = decade * [1, 2, 2.5, 5, 10].find((factor) => factor * decade >= raw * 0.999)!;
  const found: number[] = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}

/** Means of neighbouring points, so that no more than `most` are drawn. */
export function thinned(points: readonly Point[], most: number): readonly Point[] {
  if (points.length <= most) return points;
  const size = Math.ceil(points.length / most);
  const means: Point[] = [];
  for (let i = 0; i < points.length; i += size) {
    const group = points.slice(i, i + size);
    means.push([group.reduce((sum, [x]) => sum + x, 0) / group.length, group.reduce((sum, [, y]) => sum + y, 0) / group.length]);
  }
  return means;
}

/**
 * An exponential mean, so that the trend shows through the noise. Its memory grows to `memory` points, so that a steep beginning
 * stays steep.
 */
export function smoothed(points: readonly Point[], memory: number): Point[] {
  let mean = 0;
  return points.map(([x, y], i) => {
    mean += (y - mean) / Math.min(1 + i / 10, memory);
    return [x, mean];
  });
}

const n = (value: number): string => value.toFixed(1);

function escape(text: string): string {
  return text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
}
