/** The figure as data: which lines there are, what they are called, and what they say. No DOM here. */
import { METHOD_STYLES } from "@lenggen/evals";
import type { Point } from "train-in-a-tab/plot";
import type { Chart } from "../shared/chart";
import type { Table } from "../shared/dom";
import { count, short } from "../shared/words";
import { type Curves, meanBetween, type Snapshot } from "./curves";
import { REACH, type Way } from "./plan";

/** What is shown: curves up to a moment of the training. */
export interface Shown {
  readonly length: number;
  readonly way: Way;
  readonly curves: Curves;
  /** Snapshots of base and way that are shown, the last ones unless given; no way yet where `way` is absent. */
  readonly at?: { readonly base: number; readonly way?: number };
}

/** Names of the ways in controls and legends. */
export const WAY_NAMES: Readonly<Record<Way, string>> = {
  "zero": "none (zero states)",
  "random-noise": METHOD_STYLES["random-noise"].label,
  "fitted-noise": METHOD_STYLES["fitted-noise"].label,
  "state-passing": METHOD_STYLES["state-passing"].label,
  "tbtt": METHOD_STYLES.tbtt.label,
};

const classOf = (way: Way): string => (way === "zero" ? "control" : way);

/** The first position that is shown: before it there is next to nothing to predict from. */
const FIRST = 8;

function pointsOf(ends: readonly number[], values: readonly number[]): Point[] {
  return values.flatMap((value, i): Point[] => {
    const [from, to] = [ends[i - 1] ?? 0, ends[i]!];
    return to > FIRST ? [[Math.sqrt(Math.max(from, FIRST) * to), value]] : [];
  });
}

function snapshots({ way, curves, at }: Shown): { base: Snapshot | undefined; later: Snapshot | undefined } {
  const later = curves.ways[way];
  return at ? { base: curves.base[at.base], later: at.way === undefined ? undefined : later?.[at.way] }
    : { base: curves.base.at(-1), later: later?.at(-1) };
}

export function chartOf(shown: Shown): Chart {
  const { length, way, curves } = shown;
  const { base, later } = snapshots(shown);
  const line = (values: readonly number[] | undefined, className: string) =>
    ({ points: values ? pointsOf(curves.ends, values) : [], className });
  return {
    x: { type: "log", domain: [FIRST, REACH], format: short },
    y: { type: "linear", domain: [2, 7], format: short },
    xLabel: "position in the text, bytes \u2192", yLabel: "\u2191 loss, bits per byte",
    lines: [line((later ?? base)?.short, "reference"), line(base?.bits, "base"), line(later?.bits, classOf(way))],
    marks: [{ x: length, label: `trained to ${count(length)}` }],
    tintFrom: length,
    empty: "nothing is measured yet",
    legend: [
      { name: `trained from zero states${base ? `, step ${count(base.step)}` : ""}`, className: "base" },
      ...(later ? [{ name: `then ${WAY_NAMES[way]}, ${count(later.step)} more`, className: classOf(way) }] : []),
      { name: "same text, short memory", className: "reference" },
    ],
    description: `Loss by position. ${findingOf(shown)}`,
  };
}

/** What the figure shows, in a sentence or two. */
export function findingOf(shown: Shown): string {
  const { length, way, curves } = shown;
  const { base, later } = snapshots(shown);
  if (!base) return "Nothing is measured yet.";
  const { inside, far } = ends(length, curves.ends, base);
  const first = `Trained on ${count(length)} bytes at a time, the model needs ${bits(inside)} bits per byte just before that length `
    + `and ${bits(far)} at ${count(REACH)}`;
  if (!later) return `${first}.`;
  const then = ends(length, curves.ends, later);
  const what = way === "zero" ? "more training from zero states" : WAY_NAMES[way];
  return `${first}; after ${count(later.step)} steps with ${what}, ${bits(then.inside)} and ${bits(then.far)}.`;
}

const bits = (value: number): string => value.toFixed(2);

/** The loss in the second half of the training length, and in that of the whole way. */
function ends(length: number, edges: readonly number[], { bits }: Snapshot): { inside: number; far: number } {
  return { inside: meanBetween(edges, bits, length / 2, length), far: meanBetween(edges, bits, REACH / 2, REACH) };
}

export function tableOf(shown: Shown): Table {
  const { curves, way, length } = shown;
  const { base, later } = snapshots(shown);
  const rows = curves.ends.flatMap((end, i) => {
    if (Math.log2(end / length) % 1 !== 0 || end < FIRST) return [];
    const cell = (snapshot: Snapshot | undefined, of: "bits" | "short") => (snapshot ? bits(snapshot[of][i]!) : "\u2013");
    return [[count(end), cell(base, "bits"), ...(later ? [cell(later, "bits")] : []), cell(later ?? base, "short")]];
  });
  return { head: ["up to byte", "from zero states", ...(later ? [`then ${WAY_NAMES[way]}`] : []), "short memory"], rows };
}
