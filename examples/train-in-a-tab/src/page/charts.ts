/** The three figures and the table of numbers, drawn from the state. */
import type { LossByPosition } from "@lenggen/evals";
import type { PhaseView, ProjectView } from "../shared/messages";
import { plotMarkup, type Point, smoothed, thinned } from "./plot";
import { currentPhase, type PageState, ratesOf } from "./state";
import { count, lastMeasurement, length, meanRate, METHOD_NAMES } from "./words";

const NATS = Math.LN2;
const NOTHING = "while it trains";
/** Points that a line has at most. */
const MOST_POINTS = 400;

/** A measured phase, for the figure and its legend and table. */
interface Measured {
  readonly phase: PhaseView;
  readonly result: LossByPosition & { readonly step: number };
  readonly name: string;
  /** The last one stands out. */
  readonly current: boolean;
}

/** The last measurements of the last two phases that have one. */
function measuredPhases(project: ProjectView | undefined): Measured[] {
  const all = (project?.phases ?? []).flatMap((phase) => {
    const result = lastMeasurement(phase);
    return result ? [{ phase, result }] : [];
  });
  return all.slice(-2).map(({ phase, result }, i, shown) => ({
    phase, result, current: i === shown.length - 1,
    name: phase.folder === "0-loaded" ? "as loaded" : `${METHOD_NAMES[phase.method]}, step ${count(result.step)}`,
  }));
}

const classOf = ({ phase, current }: Measured) => `${phase.method}${current ? "" : " past"}`;

export interface Size {
  readonly width: number;
  readonly height: number;
}

export interface Figure {
  readonly markup: string;
  /** For screen readers. */
  readonly description: string;
}

/** Loss by position: one line for each of the last two phases, and the short-memory loss of the last. */
export function positionFigure({ project, plan }: PageState, size: Size): Figure {
  const phases = measuredPhases(project);
  const trainLength = phases.at(-1)?.result.trainLength ?? plan.context;
  const longest = phases.at(-1)?.result.lengths.at(-1)?.to ?? 64 * plan.context;
  const first = Math.max(4, Math.round(trainLength / 16));
  const pointsOf = (result: LossByPosition, of: "bitsPerByte" | "referenceBitsPerByte"): Point[] =>
    result.bins.filter(({ to }) => to > first).map((bin) => [Math.sqrt(Math.max(bin.from, first) * bin.to), bin[of]]);
  const lines = phases.map((measured) => ({ points: pointsOf(measured.result, "bitsPerByte"), className: classOf(measured) }));
  const last = phases.at(-1);
  const reference = last ? [{ points: pointsOf(last.result, "referenceBitsPerByte"), className: "reference" }] : [];
  const described = phases.map(({ name, result }) =>
    `${name}: ${result.lengths.map((l) => `${l.bitsPerByte.toFixed(2)} bits per byte at ${length(l.to)}`).join(", ")}`);
  return {
    markup: plotMarkup({
      ...size,
      x: { type: "log", domain: [first, longest], format: length },
      y: { type: "linear", domain: around([...reference, ...lines].flatMap(({ points }) => points.map(([, y]) => y)), [1, 5]),
        format: short },
      xLabel: "position in the text, bytes \u2192",
      yLabel: "\u2191 loss, bits per byte",
      lines: [...reference, ...lines],
      marks: [{ x: trainLength, label: `trained to ${length(trainLength)}` }],
      tintFrom: trainLength,
      empty: "not measured yet",
    }),
    description: `Loss by position. ${described.length > 0 ? described.join("; ") : "Nothing is measured yet"}.`,
  };
}

/** Name and style of each line of the figure above. */
export function positionLegend({ project }: PageState): { readonly name: string; readonly className: string }[] {
  const phases = measuredPhases(project);
  if (phases.length === 0) return [];
  return [...phases.map((measured) => ({ name: measured.name, className: classOf(measured) })),
    { name: "same text, short memory", className: "reference" }];
}

/** The numbers behind the figure: a row for each length. */
export function positionTable({ project }: PageState): { readonly head: readonly string[]; readonly rows: readonly (readonly string[])[] } {
  const phases = measuredPhases(project);
  const last = phases.at(-1);
  if (!last) return { head: [], rows: [] };
  return {
    head: ["bytes", ...phases.map(({ name }) => name), "short memory"],
    rows: last.result.lengths.map((l, i) => [
      length(l.to), ...phases.map(({ result }) => result.lengths[i]?.bitsPerByte.toFixed(3) ?? "\u2013"), l.referenceBitsPerByte.toFixed(3),
    ]),
  };
}

/** Loss over all steps so far: each phase after the one before. */
export function lossFigure({ project, plan }: PageState, size: Size): Figure {
  let offset = 0;
  const lines: { points: readonly Point[]; className: string }[] = [];
  const marks: { x: number; label: string }[] = [];
  const bounds: number[] = [];
  let latest: Point | undefined;
  (project?.phases ?? []).forEach((phase, i, phases) => {
    const points: Point[] = phase.records.flatMap((record) =>
      (record.kind === "step" ? [[offset + record.step, record.loss / NATS] as const] : []));
    if (offset > 0 && points.length > 0) marks.push({ x: offset, label: METHOD_NAMES[phase.method] });
    const raw = thinned(points, MOST_POINTS);
    lines.unshift({ points: raw, className: `${phase.method} raw` });
    lines.push({ points: thinned(smoothed(points, 20), MOST_POINTS), className: phase.method });
    bounds.push(...raw.map(([, y]) => y));
    latest = points.at(-1) ?? latest;
    // A phase that was left early is as long as it came.
    offset += i < phases.length - 1 ? (points.at(-1)?.[0] ?? offset) - offset : phase.steps;
  });
  return {
    markup: plotMarkup({
      ...size,
      x: { type: "linear", domain: [0, offset > 0 ? offset : plan.steps], format: count },
      y: { type: "linear", domain: around(bounds, [1, 8]), format: short },
      xLabel: "step \u2192", yLabel: "\u2191 loss, bits per byte", lines, marks, empty: NOTHING,
    }),
    description: latest ? `Training loss by step: ${latest[1].toFixed(2)} bits per byte at step ${count(latest[0])}.`
      : "Training loss by step. Nothing yet.",
  };
}

/** Bytes per second over the steps of the phase. */
export function rateFigure(state: PageState, size: Size): Figure {
  const phase = currentPhase(state);
  const rates = ratesOf(phase);
  const points = thinned(rates.map((_, i): Point => [i + 1, meanRate(rates.slice(Math.max(0, i - 7), i + 1))]), MOST_POINTS);
  const top = Math.max(1, ...points.map(([, y]) => y)) * 1.15;
  return {
    markup: plotMarkup({
      ...size,
      x: { type: "linear", domain: [0, phase?.steps ?? state.plan.steps], format: count },
      y: { type: "linear", domain: [0, top], format: thousands },
      xLabel: "step of this phase \u2192", yLabel: "\u2191 bytes per second", lines: [{ points, className: "rate" }], empty: NOTHING,
    }),
    description: rates.length > 0 ? `Training speed: ${count(rates.at(-1)!)} bytes per second.` : "Training speed. Nothing yet.",
  };
}

/** The range of values with room around it; another where there are none. */
function around(values: readonly number[], otherwise: readonly [number, number]): [number, number] {
  const finite = values.filter((value) => Number.isFinite(value));
  if (finite.length === 0) return [...otherwise];
  const [low, high] = [Math.min(...finite), Math.max(...finite)];
  const room = Math.max(0.1, (high - low) * 0.08);
  return [Math.max(0, low - room), high + room];
}

const short = (value: number): string => String(Number(value.toPrecision(3)));

function thousands(value: number): string {
  return value >= 1000 ? `${short(value / 1000)}k` : short(value);
}
