/** The figures of `reproduce gca-retrieval` as descriptions, which the page draws as SVG and the terminal in braille. */
import { fixed, formatLength, group } from "../figures/format";
import type { HeatMap } from "../figures/heatMap";
import type { LineChart, Series } from "../figures/lineChart";
import { METHOD_STYLES } from "../methods";
import { retrievalByLength, taskName, tasksOf } from "./gcaRetrievalFindings";
import type { GcaRetrievalReport, RetrievalModel, StreamingPoint } from "./gcaRetrievalTypes";
import { capital } from "./words";

/** The figures of a report. */
export type RetrievalChartName = "accuracy" | "training" | "speed" | "memory" | "loss" | "reading";

const MEBIBYTE = 2 ** 20;
/** Bins of positions before this one hold so few bytes that they are mostly noise. */
const SMOOTH = 128;
const share = (value: number): string => `${Math.round(value * 100)}%`;

/** Every line chart that the report has numbers for. */
export function retrievalCharts(report: GcaRetrievalReport): Partial<Record<RetrievalChartName, LineChart>> {
  const { models, streaming, stream, trainLength } = report;
  const marks = [{ x: trainLength, label: `training length ${formatLength(trainLength)}` }];
  const tasks = tasksOf(report);
  const x = (label: string) => ({ label, type: "log" as const });
  const each = (points: (model: RetrievalModel) => Series["points"], panel?: string): Series[] => models
    .map((model) => ({ label: METHOD_STYLES[model.method].label, method: model.method, panel, points: points(model) }))
    .filter((series) => series.points.length > 0);
  const along = (value: (point: StreamingPoint) => number, panel?: string): Series =>
    ({ label: stream ? METHOD_STYLES[stream.method].label : "", method: stream?.method ?? "drt-1", panel,
      points: streaming.map((point) => ({ x: point.length, y: value(point) })) });

  const rates = each((model) => (model.trainingSpeed ?? []).map(({ length, tokensPerSecond }) => ({ x: length, y: tokensPerSecond })));
  const speed = streaming.length === 0 ? [] : [along(({ tokensPerSecond }) => tokensPerSecond)];
  const places = ["in memory, all", "on the device", "on disk"] as const;
  const sizes = [({ residentBytes }: StreamingPoint) => residentBytes, ({ deviceBytes }: StreamingPoint) => deviceBytes,
    ({ diskBytes }: StreamingPoint) => diskBytes];
  // A logarithmic axis has no place for a tier that holds nothing.
  const memory = places.map((panel, i) => along((point) => sizes[i]!(point) / MEBIBYTE, panel))
    .map((series) => ({ ...series, points: series.points.filter(({ y }) => y > 0) }))
    .filter(({ points }) => points.length > 0);
  const loss = each((model) =>
    (model.lossByLength ?? []).map(({ position, bitsPerByte, ci95 }) => ({ x: position, y: bitsPerByte, interval: ci95 })));
  // Without intervals: they tell how texts differ, which is the same for all models, and would hide how these do.
  const reading = each((model) => (model.reading?.lossByPosition ?? []).filter(({ position }) => position >= SMOOTH)
    .map(({ position, bitsPerByte }) => ({ x: position, y: bitsPerByte })));

  const made: Record<RetrievalChartName, LineChart> = {
    accuracy: {
      id: "accuracy", description: "Share of questions answered exactly by length, for each model, one panel for each task.",
      x: x("length (bytes)"), y: { label: "answered exactly", type: "linear", domain: [0, 1], format: share },
      series: tasks.flatMap((task) => each((model) => retrievalByLength(model, task)
        .map(({ length, accuracy, ci95 }) => ({ x: length, y: accuracy, interval: ci95 })), capital(taskName(task)))),
      marks, columns: { wide: 2, narrow: 1 },
    },
    training: {
      id: "training", description: "Bytes trained on per second by the length of the sequences, for each model.",
      x: x("length of a training sequence (bytes)"),
      y: { label: "bytes a second, trained on", type: "linear", domain: [0, highest(rates)], format: compact }, series: rates,
    },
    speed: {
      id: "speed", description: "Bytes read per second by how much of the stream has been read.",
      x: x("bytes read"), y: { label: "bytes a second", type: "linear", domain: [0, highest(speed)], format: compact }, series: speed,
    },
    memory: {
      id: "memory", description: "Memory of the process, of the device and on disk by how much of the stream has been read.",
      x: x("bytes read"), y: { label: "MiB", type: "log", domain: around(memory), format: group }, series: memory,
      columns: { wide: 3, narrow: 1 },
    },
    loss: {
      id: "loss", description: "Bits per byte of held-out text by length, for each model.",
      x: x("length (bytes)"), y: { label: "bits per byte", type: "linear", format: (value) => fixed(value, spreadOf(loss) < 0.06 ? 3 : 2) },
      series: loss, marks,
    },
    reading: {
      id: "reading", description: "Bits per byte of held-out text by position, for each model trained on text alone.",
      x: x("position (bytes)"),
      y: { label: "bits per byte", type: "linear", format: (value) => fixed(value, spreadOf(reading) < 0.06 ? 3 : 2) },
      series: reading, marks,
    },
  };
  return Object.fromEntries(Object.entries(made).filter(([, chart]) => chart.series.some((s) => s.points.length > 0)));
}

/** A heat map with its words. */
export interface DepthMap extends HeatMap {
  readonly title: string;
  readonly caption: string;
}

/** One map per task: for each model, depths down and lengths across. Questions that stand anywhere, not those at a chunk's border. */
export function depthMaps(report: GcaRetrievalReport): DepthMap[] {
  return tasksOf(report).map((task) => {
    const cells = report.models.flatMap(({ method, retrieval }) => {
      const asked = retrieval.filter((cell) => cell.task === task && !cell.aligned);
      return asked.toSorted((a, b) => a.depth - b.depth || a.length - b.length).map((cell) => ({ method, cell }));
    });
    // Columns in one order for all panels, and one cell where questions with texts of their own stand beside those to one stream.
    const lengths = [...new Set(cells.map(({ cell }) => cell.length))].sort((a, b) => a - b);
    const merged = new Map<string, { panel: string; row: string; column: string; length: number; correct: number; samples: number }>();
    for (const { method, cell } of cells) {
      const place = { panel: METHOD_STYLES[method].label, row: `${Math.round(cell.depth * 100)}%`, column: formatLength(cell.length) };
      const name = Object.values(place).join("|");
      const before = merged.get(name);
      merged.set(name, { ...place, length: cell.length, correct: (before?.correct ?? 0) + cell.correct,
        samples: (before?.samples ?? 0) + cell.samples });
    }
    const all = [...merged.values()];
    const counts = all.map(({ samples }) => samples);
    const [fewest, most] = [Math.min(...counts), Math.max(...counts)];
    return {
      id: `depths-${task}`, description: `Percent of questions for ${taskName(task)} answered exactly, by depth and length.`,
      columnLabel: "length (bytes)", rowLabel: "depth", columns: lengths.map(formatLength),
      cells: all.map(({ panel, row, column, correct, samples }) => ({ panel, row, column, value: correct / samples })),
      title: capital(taskName(task)),
      caption: `Percent answered exactly, by where the key stood (0% at the start, 100% at the end) and the length; `
        + `${fewest === most ? fewest : `${fewest} to ${most}`} samples in a cell.`,
    };
  }).filter(({ cells }) => cells.length > 0);
}

function highest(series: readonly Series[]): number {
  return 1.08 * Math.max(1e-9, ...series.flatMap(({ points }) => points.map(({ y }) => y)));
}

function spreadOf(series: readonly Series[]): number {
  const values = series.flatMap(({ points }) => points.map(({ y }) => y));
  return Math.max(...values) - Math.min(...values);
}

function around(series: readonly Series[]): [number, number] {
  const values = series.flatMap(({ points }) => points.map(({ y }) => y));
  return values.length === 0 ? [1, 2] : [Math.min(...values) / 1.3, Math.max(...values) * 1.3];
}

/** 12500 -> `12.5k`, on axes. */
function compact(value: number): string {
  return value >= 1000 ? `${Number((value / 1000).toPrecision(3))}k` : String(Number(value.toPrecision(3)));
}
