/** What `reproduce gca-retrieval` found, in numbers by length and in words made from them. Nothing here presumes how it came out. */
import { fixed, formatLength, group } from "../figures/format";
import { METHOD_STYLES, type Retriever } from "../methods";
import { type Interval, wilsonInterval } from "../statistics";
import type { GcaRetrievalReport, RetrievalCell, RetrievalModel, StreamingPoint } from "./gcaRetrievalTypes";
import { capital, list } from "./words";

/** The tasks as people call them. */
const TASK_NAMES: Readonly<Record<string, string>> = {
  "key-retrieval": "one key", "many-key": "one of many keys", "two-hop": "two hops", "passkey-text": "passkey in real text",
  passkey: "passkey in filler",
};

/** The name of a task in words, for titles and sentences; its own name where it has no other. */
export function taskName(task: string): string {
  return TASK_NAMES[task] ?? task;
}

/** Answers at one length, all depths together. */
export interface RetrievalPoint {
  readonly length: number;
  readonly samples: number;
  readonly accuracy: number;
  readonly ci95: Interval;
  readonly teacherForced: number;
}

/** Accuracy by length, ascending; of questions that stand anywhere, unless those at a chunk's border are asked for. */
export function retrievalByLength({ retrieval }: RetrievalModel, task: string, { aligned = false } = {}): RetrievalPoint[] {
  const cells = retrieval.filter((cell) => cell.task === task && cell.aligned === aligned);
  return [...new Set(cells.map(({ length }) => length))].sort((a, b) => a - b).map((length) => {
    const here = cells.filter((cell) => cell.length === length);
    const sum = (of: (cell: RetrievalCell) => number) => here.reduce((total, cell) => total + of(cell), 0);
    const [samples, correct] = [sum((cell) => cell.samples), sum((cell) => cell.correct)];
    return {
      length, samples, accuracy: correct / samples, ci95: wilsonInterval(correct, samples),
      teacherForced: sum((cell) => cell.teacherForced * cell.samples) / samples,
    };
  });
}

/** The tasks that were asked, in order of first appearance. */
export function tasksOf({ models }: GcaRetrievalReport): string[] {
  return [...new Set(models.flatMap(({ retrieval }) => retrieval.map(({ task }) => task)))];
}

/** What the numbers say about one model and task. */
export interface RetrievalFinding {
  readonly method: Retriever;
  readonly task: string;
  /** At the training length, or the shortest that was asked. */
  readonly first: RetrievalPoint;
  readonly longest: RetrievalPoint;
  /** The worst from there on; the shortest such length. */
  readonly worst: RetrievalPoint;
}

/** The finding on each model and task that was asked. */
export function retrievalFindings(report: GcaRetrievalReport): RetrievalFinding[] {
  return tasksOf(report).flatMap((task) => report.models.flatMap((model): RetrievalFinding[] => {
    const points = retrievalByLength(model, task);
    const from = points.filter(({ length }) => length >= report.trainLength);
    const judged = from.length > 0 ? from : points;
    if (judged.length === 0) return [];
    const worst = judged.reduce((a, b) => (b.accuracy < a.accuracy ? b : a));
    return [{ method: model.method, task, first: judged[0]!, longest: judged.at(-1)!, worst }];
  }));
}

/** A few sentences that say what the run found, without markup. */
export function retrievalInWords(report: GcaRetrievalReport): string {
  const all = retrievalFindings(report);
  if (all.length === 0) return "This run asked no questions, so nothing can be said about retrieval.";
  const tasks = tasksOf(report);
  const [main, ...others] = tasks;
  return [
    aboutMain(all.filter(({ task }) => task === main), report.trainLength),
    ...others.map((task) => aboutOther(task, all.filter((finding) => finding.task === task))),
    aboutStream(report),
    aboutReading(report),
  ].filter((sentence) => sentence !== "").join(" ");
}

/** All models on the first task, at the training length and as far as each was asked. */
function aboutMain(found: readonly RetrievalFinding[], trainLength: number): string {
  const each = found.map(({ method, first, longest, worst }, i) => {
    const opening = `${METHOD_STYLES[method].label} answers ${percent(first.accuracy)} at ${formatLength(first.length)}`;
    if (longest.length === first.length) return opening;
    const multiple = longest.length / trainLength;
    const far = i === 0 && multiple >= 2 ? `, ${group(multiple)} times as far` : "";
    const least = worst.accuracy < Math.min(first.accuracy, longest.accuracy)
      ? ` (at its worst ${percent(worst.accuracy)}, at ${formatLength(worst.length)})` : "";
    return `${opening} and ${percent(longest.accuracy)} at ${formatLength(longest.length)}${far}${least}`;
  });
  return `Trained on sequences of at most ${formatLength(trainLength)} bytes and asked for ${taskName(found[0]!.task)}: `
    + `${each.join("; ")}.`;
}

/** All models on a further task, at the longest length that each was asked at. */
function aboutOther(task: string, found: readonly RetrievalFinding[]): string {
  if (found.length === 0) return "";
  const lengths = new Set(found.map(({ longest }) => longest.length));
  const shared = lengths.size === 1 ? ` at ${formatLength(found[0]!.longest.length)}` : "";
  const each = found.map(({ method, longest }) =>
    `${METHOD_STYLES[method].label} ${percent(longest.accuracy)}${shared === "" ? ` at ${formatLength(longest.length)}` : ""}`);
  return `${capital(taskName(task))}${shared}: ${list(each)}.`;
}

function aboutStream({ streaming, stream }: GcaRetrievalReport): string {
  const last = streaming.at(-1);
  if (!last) return "";
  const { near, speed, memory } = streamingChange(streaming);
  const reader = stream ? ` (${METHOD_STYLES[stream.method].label}, its chunks on the ${stream.tier})` : "";
  if (near.length === last.length)
    return `Reading ${formatLength(last.length)} bytes${reader} went at ${group(last.tokensPerSecond)} bytes a second.`;
  return `Reading ${formatLength(last.length)} bytes${reader} went at ${group(last.tokensPerSecond)} bytes a second in the end, `
    + `${percent(speed)} of the rate at `
    + `${formatLength(near.length)}; the process held ${mebibytes(last.residentBytes)} MiB, ${fixed(memory, 2)} times what it held `
    + `there, ${mebibytes(last.diskBytes)} MiB lay on disk.`;
}

/** The models that were trained on text alone, at the longest length that all were measured at. */
function aboutReading({ models }: GcaRetrievalReport): string {
  const read = models.flatMap(({ method, reading }) => (reading?.lossByLength?.length ? [{ method, losses: reading.lossByLength }] : []));
  const shared = (read[0]?.losses ?? []).map(({ position }) => position)
    .filter((position) => read.every(({ losses }) => losses.some((loss) => loss.position === position)));
  if (shared.length === 0) return "";
  const far = Math.max(...shared);
  const each = read.map(({ method, losses }) =>
    `${METHOD_STYLES[method].label} ${fixed(losses.find(({ position }) => position === far)!.bitsPerByte, 3)}`);
  return `Trained on text alone, all for about as long, and read to ${formatLength(far)}: ${list(each)} bits per byte.`;
}

/** Where a stream's end is compared to: 64k, or the nearest measured. */
const NEAR = 65536;

/** How the end of a stream compares to its beginning. */
export function streamingChange(streaming: readonly StreamingPoint[]): { near: StreamingPoint; speed: number; memory: number } {
  const last = streaming.at(-1)!;
  const distance = ({ length }: StreamingPoint) => Math.abs(Math.log(length / NEAR));
  const near = streaming.reduce((a, b) => (distance(b) < distance(a) ? b : a));
  return { near, speed: last.tokensPerSecond / near.tokensPerSecond, memory: last.residentBytes / near.residentBytes };
}

/** 0.9967 -> `99.7%`: a whole number only where it is exact, so that nothing is rounded up to 100%. */
export function percent(share: number): string {
  const value = share * 100;
  if (Math.abs(value - Math.round(value)) < 1e-9) return `${Math.round(value)}%`;
  return `${fixed(Math.floor(value * 10) / 10, 1)}%`;
}

export function mebibytes(bytes: number): string {
  const value = bytes / 2 ** 20;
  return value >= 100 || value === 0 ? group(value) : fixed(value, 1);
}
