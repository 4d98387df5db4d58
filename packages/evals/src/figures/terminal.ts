/**
 * Line charts in a terminal, after the same description as the SVG ones: braille dots in colour, or one letter per
 * line where there is no colour.
 */
import { METHOD_STYLES } from "../methods";
import { binaryTicks, formatLength, significant } from "./format";
import type { LineChart, Series } from "./lineChart";

/** Size and colour of a chart in a terminal. */
export interface TerminalOptions {
  /** In characters; 80 unless given, at least 30. */
  readonly width?: number;
  /** In lines, axis and legend not counted; 12 unless given. */
  readonly height?: number;
  /** Whether to use ANSI colours; false unless given. Give `process.stderr.isTTY`, say. */
  readonly color?: boolean;
}

/** For lines that belong to no method, by their place among the series. */
const SIGNS: readonly Pen[] = [
  { letter: "*", code: 39 }, { letter: "o", code: 208 }, { letter: "+", code: 42 }, { letter: "x", code: 176 }, { letter: "#", code: 244 },
];
/** Bits of a braille cell's dots, by row and column. */
const DOTS = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]] as const;
const BRAILLE = 0x2800;

/** Draws all panels into one; faint series are left out. The result has no line wider than `width`. */
export function terminalChart(chart: LineChart, options: TerminalOptions = {}): string {
  const { height = 12, color = false } = options;
  const width = Math.max(30, options.width ?? 80);
  const series = chart.series.filter((s) => !s.faint && s.points.length > 0);
  if (series.length === 0) return "";
  const xs = new Scale(chart.x.domain ?? spread(series, "x"), (chart.x.type ?? "log") === "log");
  const ys = new Scale(chart.y.domain ?? spread(series, "y"), chart.y.type === "log");
  const yLabel = chart.y.format ?? ys.format();
  const labels = Array.from({ length: height }, (_, row) =>
    (row % 3 === 0 || row === height - 1 ? yLabel(ys.invert(1 - row / Math.max(1, height - 1))) : ""));
  const margin = Math.max(...labels.map((label) => label.length));
  const columns = width - margin - 2;
  const canvas = new Canvas(columns, height, color);
  series.forEach((s, i) => canvas.line(s, xs, ys, styleOf(s, i)));

  const lines = canvas.rows().map((row, i) => `${labels[i]!.padStart(margin)} ${labels[i] === "" ? "│" : "┤"}${row}`);
  const ticks = binaryTicks(xs.domain, columns / 9)
    .map((value) => ({ at: Math.round(xs.at(value) * (columns - 1)), text: (chart.x.format ?? formatLength)(value) }));
  return [
    chart.y.label,
    ...lines.map((line) => line.trimEnd()),
    `${" ".repeat(margin + 1)}└${ruler(ticks, columns)}`,
    `${" ".repeat(margin + 2)}${tickLine(ticks, columns)}`,
    `${" ".repeat(margin + 2)}${chart.x.label.padStart(columns)}`,
    ...legend(series, width, color),
  ].join("\n");
}

interface Pen {
  readonly letter: string;
  readonly code: number;
}

function styleOf({ method }: Series, index: number): Pen {
  return method ? METHOD_STYLES[method].terminal : SIGNS[index % SIGNS.length]!;
}

class Scale {
  constructor(readonly domain: readonly [number, number], readonly log: boolean) {}
  /** 0 ... 1 inside the domain. */
  at(value: number): number {
    const [low, high] = this.domain.map((v) => this.#warp(v)) as [number, number];
    return high === low ? 0.5 : (this.#warp(value) - low) / (high - low);
  }
  invert(share: number): number {
    const [low, high] = this.domain.map((v) => this.#warp(v)) as [number, number];
    const value = low + share * (high - low);
    return this.log ? 2 ** value : value;
  }
  /** Writes values so that labels a fraction of the axis apart differ, with the same decimals each. */
  format(): (value: number) => string {
    const [low, high] = this.domain;
    const decimals = 1 - Math.floor(Math.log10(high - low));
    if (this.log || !(decimals <= 8)) return (value) => significant(value, 4);
    return (value) => value.toFixed(Math.max(0, decimals));
  }
  #warp(value: number): number {
    return this.log ? Math.log2(value) : value;
  }
}

/** Braille has 2 x 4 dots in a character and one colour for all of them: the line drawn last wins. */
class Canvas {
  readonly #dots: Uint8Array;
  readonly #pens: (Pen | undefined)[];
  constructor(readonly columns: number, readonly height: number, readonly color: boolean) {
    this.#dots = new Uint8Array(columns * height);
    this.#pens = Array.from({ length: columns * height });
  }

  line({ points }: Series, xs: Scale, ys: Scale, pen: Pen): void {
    const dots = points.map((p) => [xs.at(p.x) * (this.columns * 2 - 1), (1 - ys.at(p.y)) * (this.height * 4 - 1)] as const);
    dots.forEach(([x, y], i) => {
      const [x0, y0] = dots[Math.max(0, i - 1)]!;
      const steps = Math.max(1, Math.ceil(Math.max(Math.abs(x - x0), Math.abs(y - y0))));
      for (let s = 0; s <= steps; s++) this.#dot(Math.round(x0 + ((x - x0) * s) / steps), Math.round(y0 + ((y - y0) * s) / steps), pen);
    });
  }

  #dot(x: number, y: number, pen: Pen): void {
    if (!(x >= 0 && x < this.columns * 2 && y >= 0 && y < this.height * 4)) return; // also refuses NaN
    const cell = Math.floor(y / 4) * this.columns + Math.floor(x / 2);
    this.#dots[cell]! |= DOTS[y % 4]![x % 2]!;
    this.#pens[cell] = pen;
  }

  rows(): string[] {
    return Array.from({ length: this.height }, (_, row) => {
      let line = "";
      for (let column = 0; column < this.columns; ) {
        const pen = this.#pens[row * this.columns + column];
        let run = "";
        // One escape code for a run of cells in one colour.
        for (; column < this.columns && this.#pens[row * this.columns + column] === pen; column++) {
          run += !pen ? " " : this.color ? String.fromCharCode(BRAILLE + this.#dots[row * this.columns + column]!) : pen.letter;
        }
        line += pen && this.color ? paint(run, pen) : run;
      }
      return line;
    });
  }
}

function paint(text: string, { code }: Pen): string {
  return `\u001b[38;5;${code}m${text}\u001b[0m`;
}

function legend(series: readonly Series[], width: number, color: boolean): string[] {
  const lines: string[] = [];
  let used = Infinity;
  series.forEach((s, i) => {
    const pen = styleOf(s, i);
    const label = s.label || (s.method ? METHOD_STYLES[s.method].label : "");
    const item = color ? `${paint("━━", pen)} ${label}` : `${pen.letter} ${label}`;
    const length = label.length + (color ? 3 : 2);
    if (used + 3 + length > width) {
      lines.push(item);
      used = length;
    } else {
      lines[lines.length - 1] += `   ${item}`;
      used += 3 + length;
    }
  });
  return lines;
}

function ruler(ticks: readonly { at: number }[], columns: number): string {
  return Array.from({ length: columns }, (_, i) => (ticks.some(({ at }) => at === i) ? "┴" : "─")).join("");
}

function tickLine(ticks: readonly { at: number; text: string }[], columns: number): string {
  let line = "";
  for (const { at, text } of ticks) {
    const start = Math.max(0, Math.min(columns - text.length, at - Math.floor(text.length / 2)));
    if (start > line.length || line === "") line = line.padEnd(start) + text;
  }
  return line;
}

function spread(series: readonly Series[], axis: "x" | "y"): [number, number] {
  const values = series.flatMap((s) => s.points.map((p) => p[axis])).filter(Number.isFinite);
  return [Math.min(...values), Math.max(...values)];
}
