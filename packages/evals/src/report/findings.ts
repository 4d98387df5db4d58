/** What a reproduction found, in words made from its numbers. Nothing here presumes how it came out. */
import { fixed, formatLength, group } from "../figures/format";
import { type Method, METHOD_STYLES } from "../methods";
import { quotient } from "../statistics";
import type { ReportLoss, ReportModel, UnexploredStatesReport } from "./types";
import { familyFacts } from "./families";
import { capital, list, unitOf } from "./words";

/** Ratios from which on a long history counts as collapse, and up to which as harmless. */
const COLLAPSE_FROM = 1.1;
const HOLDS_TO = 1.01;

/**
 * How a model fares beyond its training length. `collapses`: a ratio of 1.10 or more at the end; `holds`: at most 1.01 everywhere
 * beyond T; else `loses`.
 */
export type Verdict = "collapses" | "loses" | "holds";

/** The same for readers. */
export const VERDICTS_IN_WORDS =
  `Ratio: the loss over that with a short context. A model holds with ${fixed(HOLDS_TO, 2)} or less at every length, collapses with `
  + `${fixed(COLLAPSE_FROM, 2)} or more at the end, and loses with what lies between.`;

/** What the numbers of one model say. */
export interface Finding {
  readonly method: Method;
  /** Longest position measured. */
  readonly length: number;
  /** Loss over short-context reference at the longest length. */
  readonly ratio: number;
  /** The worst ratio beyond the training length, and where. */
  readonly worstRatio: number;
  readonly worstAt: number;
  /** Mean bits per byte with no more history than in training: that of the short-context reference. */
  readonly insideBits: number;
  /** That, over the base's; 1 for the base itself, null without a base. */
  readonly insideRatio: number | null;
  readonly verdict: Verdict;
}

export function ratioOf(loss: ReportLoss): number {
  return loss.ratio ?? quotient(loss.bitsPerByte, loss.referenceBitsPerByte);
}

/** The finding on each model that has losses. */
export function findings(report: UnexploredStatesReport): Finding[] {
  const measured = report.models.filter((model) => model.lossByPosition.length > 0);
  const base = measured.find((model) => model.method === "base");
  const baseInside = base && insideBits(base);
  return measured.map((model) => {
    const judged = judgedLosses(model);
    const last = judged.at(-1)!;
    const beyond = judged.filter((loss) => loss.position > report.trainLength);
    const worst = beyond.reduce((a, b) => (ratioOf(b) > ratioOf(a) ? b : a), beyond[0] ?? last);
    const inside = insideBits(model);
    return {
      method: model.method,
      length: last.position,
      ratio: ratioOf(last),
      worstRatio: ratioOf(worst),
      worstAt: worst.position,
      insideBits: inside,
      insideRatio: baseInside === undefined ? null : inside / baseInside,
      verdict: ratioOf(last) >= COLLAPSE_FROM ? "collapses" : ratioOf(worst) <= HOLDS_TO ? "holds" : "loses",
    };
  });
}

/**
 * What verdicts rest on: the means over (L/2, L] of each length L asked for where there are any, since single bins
 * hold few tokens and noise alone can carry one over a border; else the bins.
 */
function judgedLosses({ lossByLength, lossByPosition }: ReportModel): readonly ReportLoss[] {
  return lossByLength?.length ? [...lossByLength].sort((a, b) => a.position - b.position) : lossByPosition;
}

/**
 * Mean loss within the training length: that of the short-context reference, whose windows all over the text have no
 * more history than training sequences. (The first T positions of a few streamed sequences would be too few bytes to
 * tell a per cent.) Each bin is weighted by its width.
 */
function insideBits({ lossByPosition }: ReportModel): number {
  let [sum, width, previous] = [0, 0, 0];
  for (const loss of lossByPosition) {
    const span = loss.position - (loss.from ?? previous);
    sum += loss.referenceBitsPerByte * span;
    width += span;
    previous = loss.position;
  }
  return sum / width;
}

/** Two to four sentences that say what the run found, without markup. */
export function findingInWords(report: UnexploredStatesReport): string {
  const all = findings(report);
  if (report.trial) return aboutTrial(report);
  if (all.length === 0) return "This run measured no loss by position, so nothing can be said about length.";
  const length = formatLength(all[0]!.length);
  const multiple = all[0]!.length / report.trainLength;
  const base = all.find((f) => f.method === "base");
  const others = all.filter((f) => f.method !== "base" && f.method !== "control");
  const control = all.find((f) => f.method === "control");
  return [
    `${subject(report)} on ${formatLength(report.trainLength)} ${unitOf(report)}s at a time and read to ${length}, `
      + `${multiple >= 2 ? `${group(multiple)} times as far, ` : ""}${aboutBase(base, report)}`,
    control ? aboutControl(control, base) : "",
    others.length > 0 ? aboutOthers(others) : "",
    aboutInside([...others, ...(control ? [control] : [])]),
  ].filter((sentence) => sentence !== "").join(" ");
}

/** Whose training length follows. */
function subject({ model, origin }: UnexploredStatesReport): string {
  if (!model) return "Trained";
  const { label } = familyFacts(model.family);
  return origin ? `${label} as others trained it (${origin.checkpoint}), taken to be trained` : `${label}, trained`;
}

function aboutTrial({ preset, models }: UnexploredStatesReport): string {
  const steps = models.find(({ method }) => method === "base")?.steps;
  return `The preset ${preset} shows that all parts work, and no more: ${!steps ? "so little training teaches a model nothing"
    : `a base model of ${group(steps)} updates has learnt nothing`}, and what stands below says nothing about lengths or methods.`;
}

function aboutBase(base: Finding | undefined, report: UnexploredStatesReport): string {
  if (!base) return "no base model was measured.";
  const { trainLength } = report;
  const window = `${formatLength(Math.floor(trainLength / 2))} to ${formatLength(trainLength)} ${unitOf(report)}s`;
  const percent = Math.abs((base.ratio - 1) * 100);
  if (base.verdict === "collapses") {
    return `the base model collapses: at the end it needs ${fixed(percent, 1)}% more bits per byte than when it is shown only the last `
      + `${window}.`;
  }
  if (base.verdict === "loses") {
    return `the base model does not collapse, but its long history hurts: the loss is up to ${fixed((base.worstRatio - 1) * 100, 1)}% `
      + "above "
      + `that with only the last ${window} (at ${formatLength(base.worstAt)}; ${signed(base.ratio)} at the end).`;
  }
  const worst = fixed(Math.max(0, base.worstRatio - 1) * 100, 1);
  return `the base model does not collapse: its loss is ${worst === "0.0" ? "nowhere" : `at most ${worst}%`} above that with only the last `
    + `${window} (${signed(base.ratio)} at the end).`;
}

function aboutControl(control: Finding, base: Finding | undefined): string {
  const also = base && base.verdict === control.verdict ? "too " : "";
  return `Trained on for the same extra steps from zero states, the control ${also}${control.verdict} (ratio ${fixed(control.ratio)}).`;
}

function aboutOthers(others: readonly Finding[]): string {
  const say = (verdict: Verdict, words: string) => {
    const found = others.filter((f) => f.verdict === verdict);
    if (found.length === 0) return "";
    const ratios = found.map((f) => `${METHOD_STYLES[f.method].label} (${fixed(verdict === "holds" ? f.worstRatio : f.ratio)})`);
    return `${list(ratios)} ${found.length === 1 ? words : words.replace(/^(\w+?)s\b/, "$1")}`;
  };
  const parts = [
    say("holds", "holds at every length (in brackets: the worst ratio of loss to short-context reference)"),
    say("loses", "loses some (the ratio at the end)"),
    say("collapses", "collapses (the ratio at the end)"),
  ].filter((part) => part !== "");
  return capital(`${parts.join("; ")}.`);
}

function aboutInside(others: readonly Finding[]): string {
  const known = others.filter((f) => f.insideRatio !== null);
  if (known.length === 0) return "";
  const costs = known.filter((f) => f.insideRatio! > 1.01);
  return costs.length === 0
    ? "Inside the training length none of them is more than 1% worse than the base."
    : `Inside the training length ${
      list(costs.map((f) => `${METHOD_STYLES[f.method].label} is ${fixed((f.insideRatio! - 1) * 100, 1)}% worse`))} than the base.`;
}

function signed(ratio: number): string {
  const percent = fixed(Math.abs(ratio - 1) * 100, 1);
  return `${percent === "0.0" ? "\u00b1" : ratio > 1 ? "+" : "\u2212"}${percent}%`;
}
