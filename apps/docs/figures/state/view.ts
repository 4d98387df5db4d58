/** The figure as data. No DOM here. */
import type { Point } from "train-in-a-tab/plot";
import type { Chart } from "../shared/chart";
import type { Table } from "../shared/dom";
import { MEMBER_NAMES, MEMBERS, type Member, TRAINED_TO } from "../shared/members";
import { count, short } from "../shared/words";

/** How far the models read, in bytes. */
export const READ = 8192;

/** The state after so many bytes. */
export interface StatePoint {
  readonly position: number;
  /** Square root of the sum of squares. */
  readonly norm: number;
  /** Standard deviation of the elements. */
  readonly spread: number;
}

export interface Sizes {
  /** The state of all layers and heads together. */
  readonly whole: readonly StatePoint[];
  readonly heads: readonly (readonly StatePoint[])[];
}

export type Measure = "norm" | "spread";

export interface Shown {
  readonly sizes: Readonly<Partial<Record<Member, Sizes>>>;
  readonly measure: Measure;
  /** How far the text has been read; the whole unless given. */
  readonly upTo?: number;
  /** Whether each head has a line of its own. */
  readonly heads: boolean;
}

/** `recorded.json`. */
export interface Recorded {
  readonly device: string;
  readonly command: string;
  readonly sizes: Readonly<Record<Member, Sizes>>;
}

export const MEASURES: Readonly<Record<Measure, string>> = { norm: "norm", spread: "spread (standard deviation)" };

/** The first moment that is shown. */
const FIRST = 8;

/** The moments that the slider steps through. */
export const moments = (sizes: Sizes): number[] => sizes.whole.map(({ position }) => position).filter((position) => position >= FIRST);

export function chartOf({ sizes, measure, upTo = READ, heads }: Shown): Chart {
  const read = (points: readonly StatePoint[]): Point[] => points.filter(({ position }) => position >= FIRST && position <= upTo)
    .map((point): Point => [point.position, point[measure]]);
  const shown = MEMBERS.flatMap((member) => (sizes[member] ? [{ member, sizes: sizes[member] }] : []));
  const lines = [
    ...(heads ? shown.flatMap(({ member, sizes }) =>
      sizes.heads.map((points) => ({ points: read(points), className: `${member} faint` }))) : []),
    ...shown.map(({ member, sizes }) => ({ points: read(sizes.whole), className: member })),
  ];
  // The axis is that of the whole way, so that lines grow into it.
  const all = shown.flatMap(({ sizes }) => [...(heads ? sizes.heads.flat() : []), ...sizes.whole])
    .filter(({ position }) => position >= FIRST).map((point) => point[measure]);
  const top = Math.max(...all, 0) * 1.06 || 1;
  return {
    x: { type: "log", domain: [FIRST, READ], format: short },
    y: { type: "linear", domain: [0, top], format: short },
    xLabel: "bytes read \u2192",
    yLabel: `\u2191 ${measure === "norm" ? "norm of the state" : "spread of the state's elements"}`,
    lines,
    marks: [{ x: TRAINED_TO, label: `trained to ${count(TRAINED_TO)}` }],
    tintFrom: TRAINED_TO,
    empty: "nothing is read yet",
    legend: shown.map(({ member }) => ({ name: MEMBER_NAMES[member], className: member })),
    description: `The state's ${MEASURES[measure]} by how much of a text is read. ${findingOf({ sizes, measure, upTo, heads })}`,
  };
}

/** The last point not behind a position. */
const at = (points: readonly StatePoint[], position: number): StatePoint | undefined =>
  points.findLast((point) => point.position <= position);

/** What the figure shows, in a sentence. */
export function findingOf({ sizes, measure, upTo = READ }: Shown): string {
  const parts = MEMBERS.flatMap((member) => {
    const [then, now] = [TRAINED_TO, upTo].map((position) => sizes[member] && at(sizes[member].whole, position));
    if (!then || !now) return [];
    const times = now[measure] / then[measure];
    const grown = upTo <= TRAINED_TO ? "" : `, ${times.toFixed(1)} times that at ${count(TRAINED_TO)}`;
    return [`${short2(now[measure])}${grown} (${MEMBER_NAMES[member]})`];
  });
  return parts.length === 0 ? "Nothing is read yet." : `After ${count(upTo)} bytes the ${measure} is ${parts.join("; ")}.`;
}

const short2 = (value: number): string => String(Number(value.toPrecision(3)));

export function tableOf({ sizes, measure }: Shown): Table {
  const shown = MEMBERS.filter((member) => sizes[member]);
  const positions = shown[0] ? moments(sizes[shown[0]]!).filter((position) => Math.log2(position) % 1 === 0) : [];
  return {
    head: ["bytes read", ...shown.map((member) => MEMBER_NAMES[member])],
    rows: positions.map((position) => [count(position), ...shown.map((member) => short2(at(sizes[member]!.whole, position)![measure]))]),
  };
}
