/** The figures of a report as descriptions, which the page draws as SVG and the terminal in braille. */
import type { HeatMap } from "../figures/heatMap";
import { fixed, formatLength } from "../figures/format";
import type { LineChart, Series } from "../figures/lineChart";
import { METHOD_STYLES } from "../methods";
import type { TaskAccuracy } from "../measures/taskAccuracy";
import { familyFacts } from "./families";
import { ratioOf } from "./findings";
import type { ReportLoss, ReportModel, UnexploredStatesReport } from "./types";
import { unitOf } from "./words";

/** The figures of a report. */
export type ChartName = "ratio" | "loss" | "panels" | "remembrance" | "state" | "heads";

/** Losses at the first few positions are high and the same for all: the axes begin where differences can show. */
const firstShown = (trainLength: number) => Math.max(4, trainLength / 16);
/** Above this spread a linear axis would press the good models into one line. */
const LOG_FROM = 2.5;
/** How far a logarithmic axis goes beyond its lines to show their bands, as a factor. */
const BAND_ROOM = 1.5;

/** Every line chart that the report has numbers for. */
export function charts(report: UnexploredStatesReport): Partial<Record<ChartName, LineChart>> {
  const { models, trainLength } = report;
  const shown = (losses: readonly ReportLoss[]) => losses.filter((loss) => loss.position >= firstShown(trainLength));
  const x = { label: `position (${unitOf(report)}s)`, type: "log" as const };
  const reach = Math.max(...models.flatMap((m) => m.lossByPosition.map((loss) => loss.position)));
  const first = Math.min(...models.flatMap((m) => shown(m.lossByPosition).map(centre)));
  const xLoss = { ...x, domain: [first, reach] as const };
  const marks = [{ x: trainLength, label: `training length ${formatLength(trainLength)}` }];
  const each = (points: (model: ReportModel) => Series["points"]): Series[] => models
    .map((model) => ({ label: METHOD_STYLES[model.method].label, method: model.method, points: points(model) }))
    .filter((series) => series.points.length > 0);

  const loss = each((m) => shown(m.lossByPosition).map((l) => ({ x: centre(l), y: l.bitsPerByte })));
  const ratio = each((m) => shown(m.lossByPosition).map((l) => ({ x: centre(l), y: ratioOf(l), interval: l.ratioCi95 })));
  const panels: Series[] = models.filter((m) => m.lossByPosition.length > 0).flatMap((m) => {
    const panel = METHOD_STYLES[m.method].label;
    return [
      { label: "", panel, points: shown(m.lossByPosition).map((l) => ({ x: centre(l), y: l.referenceBitsPerByte })) },
      { label: panel, panel, method: m.method, points: shown(m.lossByPosition)
        .map((l) => ({ x: centre(l), y: l.bitsPerByte, interval: l.ci95 })) },
    ];
  });
  const remembrance = each((m) => m.effectiveRemembrance.map((p) => ({ x: p.t, y: p.distance, interval: p.ci95 })));
  const state = each((m) => (m.statePooledStd ?? []).map((p) => ({ x: p.position, y: p.std, interval: p.ci95 })));

  const whose = report.model ? ` of ${familyFacts(report.model.family).label}` : "";
  const made: Record<ChartName, LineChart> = {
    ratio: {
      id: "ratio", description: "Ratio of loss to short-context reference by position, for each model.",
      x: xLoss, y: { label: "loss \u00f7 short-context reference", format: (v) => fixed(v, decimals(ratio)), ...around(ratio, 1) },
      series: ratio, marks: [...marks, { y: 1 }],
    },
    loss: { id: "loss", description: "Bits per byte by position, for each model.", x: xLoss, y: { label: "bits per byte", ...around(loss) },
      series: loss, marks },
    panels: {
      id: "panels", description: "Bits per byte by position beside the short-context reference, one panel for each model.",
      x: xLoss, y: { label: "bits per byte", ...around(panels) }, series: panels, marks,
    },
    remembrance: {
      id: "remembrance", description: `Effective Remembrance by the number of ${unitOf(report)}s cut off, for each model.`,
      x: { label: `t (${unitOf(report)}s cut off)`, type: "log" },
      y: { label: "total variation", domain: [0, Math.min(1, 1.06 * highest(remembrance))] },
      series: remembrance, marks,
    },
    state: { id: "state", description: "Standard deviation of the full state by position, for each model.", x,
      y: { label: "standard deviation", ...around(state) }, series: state, marks },
    heads: headChart(models, x, marks),
  };
  return Object.fromEntries(Object.entries(made).filter(([, chart]) => chart.series.some((s) => s.points.length > 0))
    .map(([name, chart]) => [name, { ...chart, description: chart.description.replace(/\.$/, `${whose}.`) }]));
}

/** Bins are drawn at their geometric centre. */
function centre({ from, position }: ReportLoss): number {
  return from ? Math.sqrt(from * position) : position;
}

/** Domain of the y axis with a little air; logarithmic when the spread asks for it. */
function around(series: readonly Series[], include?: number): { domain?: [number, number]; type: "log" | "linear" } {
  const values = series.flatMap((s) => s.points.map((p) => p.y)).filter((v) => Number.isFinite(v) && v > 0);
  if (include !== undefined) values.push(include);
  if (values.length === 0) return { type: "linear" };
  const [low, high] = [Math.min(...values), Math.max(...values)];
  if (high / low > LOG_FROM) {
    const ends = series.flatMap((s) => s.points.flatMap(({ interval }) => interval ?? [])).filter((v) => Number.isFinite(v) && v > 0);
    // Bands too, but few sequences have such wide ones that the lines would be pressed into one.
    return { type: "log", domain: [Math.max(low / BAND_ROOM, Math.min(low, ...ends)) / 1.1,
      Math.min(high * BAND_ROOM, Math.max(high, ...ends)) * 1.1] };
  }
  const pad = Math.max((high - low) * 0.08, 0.005 * high);
  return { type: "linear", domain: [low - pad, high + pad] };
}

function highest(series: readonly Series[]): number {
  return Math.max(1e-3, ...series.flatMap((s) => s.points.flatMap((p) => [p.y, p.interval?.[1] ?? 0])));
}

/** Decimals that tell the ticks of a ratio axis apart. */
function decimals(series: readonly Series[]): number {
  const values = series.flatMap((s) => s.points.map((p) => p.y));
  return Math.max(...values) - Math.min(...values) < 0.06 ? 3 : 2;
}

/** The models that differ most in what they show: the base, and state passing (or the last one there is). */
function headChart(models: readonly ReportModel[], x: LineChart["x"], marks: LineChart["marks"]): LineChart {
  const measured = models.filter((m) => m.stateStd.length > 0);
  const base = measured.find((m) => m.method === "base") ?? measured[0];
  const other = measured.find((m) => m.method === "state-passing") ?? measured.at(-1);
  const compared = [...new Set([base, other])];
  const series = compared.flatMap((model): (Series & { layer: number })[] => {
    if (!model) return [];
    const heads = new Map<string, Series["points"][number][]>();
    for (const { position, layer, head, leaf = "", std } of model.stateStd) {
      const key = `${layer}.${head}.${leaf}`;
      heads.set(key, [...(heads.get(key) ?? []), { x: position, y: std }]);
    }
    const name = METHOD_STYLES[model.method].label;
    return [...heads].map(([key, points]) => ({
      label: name, method: model.method, faint: true, panel: `${name}, layer ${layerOf(key) + 1}`, points: points.sort((a, b) => a.x - b.x),
      layer: layerOf(key),
    }));
  }).sort((a, b) => a.layer - b.layer); // the models of a layer stand side by side
  return {
    id: "heads", description: "Standard deviation of the state by position, one line for each head, one panel for each layer.",
    x, y: { label: "standard deviation", ...around(series) }, series, marks,
    columns: { wide: 2 * compared.length, narrow: compared.length },
  };
}

function layerOf(key: string): number {
  return Number(key.split(".")[0]);
}

/** One map per task: models down, lengths across. */
export function recallMaps(report: UnexploredStatesReport): (HeatMap & { title: string; caption: string })[] {
  const results = [
    ...(report.recall ?? []),
    ...report.models.map(({ method, recall }) => ({ method, results: recall ?? [] })),
  ];
  const tasks = [...new Set(results.flatMap((r) => r.results.map(({ task }) => task)))];
  return tasks.map((task) => {
    const found = results.flatMap(({ method, results: all }) => all.filter((r) => r.task === task).map((result) => ({ method, result })));
    const cells = found.flatMap(({ method, result }) => byLength(result).map(({ length, share }) => (
      { panel: task, row: METHOD_STYLES[method].label, column: formatLength(length), value: share })));
    const samples = found[0]?.result.cells[0]?.samples ?? 0;
    return {
      id: `recall-${task}`, description: `Percent of right answers to ${task} by prompt length.`, columnLabel: "prompt length", cells,
      title: recallTitle(task), caption: `Percent answered exactly, over ${samples} samples or more in each cell.`,
    };
  });
}

const RECALL_TITLES: Readonly<Record<string, string>> = {
  passkey: "Passkey in repeated filler", "passkey-text": "Passkey in real text", recall: "Three letters in real text", copying: "Copying",
};

export function recallTitle(task: string): string {
  return RECALL_TITLES[task] ?? task;
}

/** Mean over depths. */
function byLength({ cells }: TaskAccuracy): { length: number; share: number }[] {
  return [...new Set(cells.map((cell) => cell.length))].map((length) => {
    const here = cells.filter((cell) => cell.length === length);
    return { length, share: here.reduce((sum, c) => sum + c.correct, 0) / here.reduce((sum, c) => sum + c.samples, 0) };
  });
}
