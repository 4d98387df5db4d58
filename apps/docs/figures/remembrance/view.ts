/** The figure as data. No DOM here. */
import type { Chart } from "../shared/chart";
import type { Table } from "../shared/dom";
import { MEMBER_NAMES, MEMBERS, type Member, TRAINED_TO } from "../shared/members";
import { count, short } from "../shared/words";

/** Lengths of texts, T, to choose from. */
export const LENGTHS = [64, 128, 256, 512, 1024] as const;
export const FIRST_LENGTH = 1024;

/** How far the next byte's distribution moves when the first t bytes are cut off. */
export interface CutPoint {
  readonly t: number;
  readonly distance: number;
}

export type Curves = Readonly<Partial<Record<Member, readonly CutPoint[]>>>;

/** `recorded.json`. */
export interface Recorded {
  readonly device: string;
  readonly command: string;
  readonly lengths: Readonly<Record<number, Readonly<Record<Member, readonly CutPoint[]>>>>;
}

export interface Shown {
  readonly length: number;
  readonly curves: Curves;
  /** How much is cut off, of those t that were measured. */
  readonly cut: number;
}

/** The nearest cut that was measured. */
export const cutNear = (points: readonly CutPoint[], t: number): number =>
  points.reduce((best, point) => (Math.abs(point.t - t) < Math.abs(best - t) ? point.t : best), points[0]!.t);

export function chartOf(shown: Shown): Chart {
  const { length, curves, cut } = shown;
  const members = MEMBERS.filter((member) => curves[member]);
  return {
    x: { type: "linear", domain: [0, length], format: short },
    y: { type: "linear", domain: [0, 0.6], format: short },
    xLabel: "bytes cut off, t \u2192", yLabel: "\u2191 distance of the predictions",
    lines: members.map((member) => ({ className: member, points: curves[member]!.map(({ t, distance }) => [t, distance] as const) })),
    marks: [{ x: cut, label: `${count(cut)} cut off` }],
    empty: "nothing is measured yet",
    legend: members.map((member) => ({ name: MEMBER_NAMES[member], className: member })),
    description: `Effective Remembrance over ${count(length)} bytes. ${findingOf(shown)}`,
  };
}

/** What the figure shows, in a sentence. */
export function findingOf({ length, curves, cut }: Shown): string {
  const parts = MEMBERS.flatMap((member) => {
    const point = curves[member]?.find(({ t }) => t === cut);
    return point ? [`${point.distance.toFixed(2)} (${MEMBER_NAMES[member]})`] : [];
  });
  if (parts.length === 0) return "Nothing is measured yet.";
  const much = length > TRAINED_TO ? ` Both were trained on ${count(TRAINED_TO)} bytes at a time.` : "";
  return `Without the first ${count(cut)} of ${count(length)} bytes, the prediction of the next one moves by `
    + `${parts.join(", or ")}.${much}`;
}

export function tableOf({ curves }: Shown): Table {
  const members = MEMBERS.filter((member) => curves[member]);
  const [first] = members;
  return {
    head: ["bytes cut off", ...members.map((member) => MEMBER_NAMES[member])],
    rows: first ? curves[first]!.map(({ t }, i) =>
      [count(t), ...members.map((member) => curves[member]![i]!.distance.toFixed(3))]) : [],
  };
}
