/** The report of `reproduce unexplored-states`: the paper's figures from the run's own numbers, every number as a table. */
import { fixed, formatLength, formatSeconds, group } from "../figures/format";
import { heatMap } from "../figures/heatMap";
import { lineChart } from "../figures/lineChart";
import { METHOD_STYLES, type Method } from "../methods";
import type { Interval } from "../statistics";
import { charts, recallMaps, recallTitle } from "./charts";
import { type Finding, findingInWords, findings, ratioOf, VERDICTS_IN_WORDS } from "./findings";
import { claimInWords, familyFacts } from "./families";
import { details, escape, figure, methodKey, page, paragraph, section, settingsTable, stillRunning, table } from "./html";
import type { ReportModel, UnexploredStatesReport } from "./types";
import { unitOf } from "./words";

const label = (method: Method) => METHOD_STYLES[method].label;

/** A self-contained HTML document. Parts without numbers are left out. */
export function buildUnexploredStatesReport(report: UnexploredStatesReport): string {
  const figures = charts(report);
  const maps = recallMaps(report);
  const T = formatLength(report.trainLength);
  const unit = unitOf(report);
  const draw = (name: keyof typeof figures, title: string, caption: string) => {
    const chart = figures[name];
    return chart ? figure((size) => lineChart(chart, size), title, caption) : "";
  };
  const window = `${formatLength(Math.floor(report.trainLength / 2))} to ${T}`;
  const interval = (report.sequences ?? 0) > 1 ? ` Bands: 95% t-intervals over ${report.sequences} held-out sequences.` : "";

  return page(
    "Reading beyond the training length",
    `<h1>Reading beyond the training length</h1>`,
    paragraph([
      ...(report.model ? [`${familyFacts(report.model.family).label}, ${group(report.model.parameters)} parameters`] : []),
      `${report.model ? "preset" : "Preset"} ${report.preset}`, `seed ${report.seed}`, `training length ${T}`,
      `${group(report.tokensTrained)} ${unit}s trained on`, formatSeconds(report.seconds),
    ].join(" \u00b7 "), "byline"),
    stillRunning(report.pending),
    paragraph(findingInWords(report), "lead"),
    report.model && !report.trial ? paragraph(claimInWords(report.model.family)) : "",
    ...(report.leftOut ?? []).map(({ method, why }) => paragraph(`Left out: ${label(method)}, since ${why.replace(/\.?$/, ".")}`)),
    summaryTable(report),
    methodKey(report.models.map(({ method }) => method), report.origin && { base: `${report.origin.checkpoint}, as others trained it.` }),
    report.tokens ? paragraph(`Positions and lengths are in tokens of ${report.tokens.tokenizer}, of `
      + `${fixed(report.tokens.bytesPerToken, 2)} bytes on average in the held-out text; losses are in bits per byte of the text, so that `
      + "models with different tokenizers compare.") : "",
    section(
      "Loss by position",
      paragraph(`A text is harder in some places than in others, so that a loss by position says little alone. `
        + `Each ${unit} is therefore scored twice: `
        + `by the model that has read everything before it, and by the same model shown only the last ${window} ${unit}s. `
        + "Their ratio says what the long history did: above 1 it hurts."),
      draw("ratio", "Loss over its short-context reference, by position.",
        `Up to ${T} ${unit}s both sides have the same history, so that the ratio is 1.${interval}`),
      draw("loss", "Loss by position.", "All models on the same held-out text, which is harder in some places than in others."),
      draw("panels", "The interventions side by side.",
        `Line: loss by position. Dots: the same ${unit}s with only the last ${window} ${unit}s of history.${interval}`),
    ),
    section(
      "Effective Remembrance",
      paragraph(`How much the first t ${unit}s still matter `
        + `${report.remembranceLength ? `after ${formatLength(report.remembranceLength)} ${unit}s` : "at the end"}: `
        + `the total variation between the next-${unit} `
        + `distribution given the whole text and given the text from t on. 0 means that they no longer matter; `
        + `a model that has overfitted to the start of its context is changed by a loss of its very first ${unit}s.`),
      draw("remembrance", "Effective Remembrance.", `Total variation distance, from 0 to 1, by the number of ${unit}s cut off.${interval}`),
    ),
    section(
      "State statistics",
      paragraph("A state whose spread goes on changing beyond the training length reaches values that training from zero states never "
        + "showed the model."),
      draw("state", "Standard deviation of the full state, by position.", `Pooled over layers, heads and sequences.${interval}`),
      draw("heads", "Standard deviation of the state of each head, by layer.", "One thin line for each head."),
    ),
    maps.length === 0 ? "" : section(
      "Recall",
      paragraph(`Loss over long text rewards memory little. These tasks ask for it: a key to be found again, or a string to be copied, `
        + `by the length of the prompt.${aboutRecall(report)}`),
      ...maps.map((map) => figure((size) => heatMap(map, size), `${map.title}.`, map.caption)),
    ),
    section("Numbers", paragraph("Every number behind the figures; the state of each single head is in report.json."),
      ...numberTables(report)),
    section(
      "Settings",
      ...(report.command ? [`<p>Made by <code>${escape(report.command)}</code></p>`] : []),
      settingsTable({
        experiment: report.experiment, preset: report.preset, seed: report.seed, trainLength: report.trainLength,
        tokensTrained: report.tokensTrained, seconds: report.seconds, ...report.settings,
      }),
      ...report.models.filter((model) => model.settings)
        .map((model) => details(`Settings of ${label(model.method)}`, settingsTable(model.settings!))),
    ),
    `<footer>Hypothesis, interventions and measures after R. Buitrago Ruiz and A. Gu, \u201cUnderstanding and Improving Length `
    + `Generalization in Recurrent Models\u201d, ICML 2025. `
      + `Made by lenggen; every sentence and figure is computed from report.json.</footer>`,
  );
}

/** Which models answered which tasks. */
function aboutRecall({ models, recall }: UnexploredStatesReport): string {
  const tasksOf = (results: readonly { readonly task: string }[]) =>
    [...new Set(results.map(({ task }) => recallTitle(task).toLowerCase()))].join(", ");
  const own = tasksOf((recall ?? []).flatMap(({ results }) => results));
  const untrained = tasksOf(models.flatMap((model) => model.recall ?? []));
  return [
    own === "" ? "" : ` Models of their own were trained on this task, and then trained on with each method: ${own}.`,
    untrained === "" ? "" : ` The models above answer without ever having seen such a task: ${untrained}.`,
  ].join("");
}

function summaryTable(report: UnexploredStatesReport): string {
  const all = findings(report);
  if (all.length === 0) return "";
  const end = formatLength(all[0]!.length);
  const verdicts = table(all, [
    { title: "Model", value: (f) => label(f.method) },
    ...(report.trial ? [] : [{ title: "Verdict", value: (f: Finding) => f.verdict }]),
    { title: `Ratio at ${end}`, value: (f) => fixed(f.ratio), numeric: true },
    { title: "Worst", value: (f) => `${fixed(f.worstRatio)} at ${formatLength(f.worstAt)}`, numeric: true },
    { title: `Bits/byte inside ${formatLength(report.trainLength)}`, value: (f) => fixed(f.insideBits), numeric: true },
  ]);
  // A caption would be cut off where the table is wider than a phone.
  return verdicts + (report.trial ? "" : paragraph(VERDICTS_IN_WORDS, "byline"));
}

function numberTables({ models, recall }: UnexploredStatesReport): string[] {
  const loss = models.filter((model) => model.lossByPosition.length > 0);
  const remembrance = models.filter((model) => model.effectiveRemembrance.length > 0);
  const byLength = models.filter((model) => model.lossByLength?.length);
  const state = models.filter((model) => model.statePooledStd?.length);
  return [
    ...(byLength.length > 0 ? [matrix("Ratio by length L: mean over positions L/2 to L", byLength,
      (m) => m.lossByLength!.map((l) => [formatLength(l.position), fixed(ratioOf(l))]), true)] : []),
    ...(loss.length > 0 ? [
      matrix("Bits per byte by position, with half the 95% interval", loss,
        (m) => m.lossByPosition.map((l) => [formatLength(l.position), withHalf(l.bitsPerByte, l.ci95)])),
      matrix("Bits per byte of the short-context reference", loss,
        (m) => m.lossByPosition.map((l) => [formatLength(l.position), fixed(l.referenceBitsPerByte)])),
      matrix("Ratio by position, with half the 95% interval", loss,
        (m) => m.lossByPosition.map((l) => [formatLength(l.position), withHalf(ratioOf(l), l.ratioCi95)])),
    ] : []),
    ...(remembrance.length > 0
      ? [matrix("Effective Remembrance by t", remembrance, (m) => m.effectiveRemembrance.map((p) => [group(p.t), significant(p.distance)]))]
        : []),
    ...(state.length > 0 ? [matrix("Standard deviation of the full state by position", state,
      (m) => m.statePooledStd!.map((p) => [formatLength(p.position), significant(p.std)]))] : []),
    ...recallTables({ models, recall }),
  ];
}

/** Three digits, however small a number is: the figures show these on logarithmic axes, or by their own scale. */
function significant(value: number): string {
  return Math.abs(value) < 1e-4 && value !== 0 ? value.toExponential(2) : String(Number(value.toPrecision(3)));
}

function withHalf(value: number, interval: Interval | null | undefined): string {
  return interval ? `${fixed(value)} \u00b1${fixed((interval[1] - interval[0]) / 2)}` : fixed(value);
}

/** One row per place, one column per model. */
function matrix(title: string, models: readonly ReportModel[], values: (model: ReportModel) => readonly (readonly [string, string])[],
  open = false): string {
  const columns = models.map((model) => ({ method: model.method, values: new Map(values(model)) }));
  const places = [...new Set(columns.flatMap((column) => [...column.values.keys()]))];
  const content = table(places, [
    { title: "Position", value: (place) => place, numeric: true },
    ...columns.map(({ method, values: found }) => ({ title: label(method), value: (place: string) => found.get(place) ?? "\u2013",
      numeric: true })),
  ], open ? title : "");
  return open ? content : details(title, content);
}

/** One table per task: lengths (and depths, where they were set) down, models across. */
function recallTables({ models, recall }: Pick<UnexploredStatesReport, "models" | "recall">): string[] {
  const measured = [...models.map((m) => ({ method: m.method, results: m.recall ?? [] })), ...(recall ?? [])];
  const tasks = [...new Set(measured.flatMap(({ results }) => results.map(({ task }) => task)))];
  return tasks.map((task) => {
    const columns = measured.flatMap(({ method, results }) => results.filter((result) => result.task === task)
      .map(({ cells }) => ({ method, cells })));
    const places = [...new Map(columns.flatMap(({ cells }) =>
      cells.map(({ length, depth }) => [`${length} ${depth}`, { length, depth }] as const))).values()];
    const deep = places.some(({ depth }) => depth !== null);
    const content = table(places, [
      { title: "Length", value: ({ length }) => group(length), numeric: true },
      ...(deep ? [{ title: "Depth", value: ({ depth }: TaskPlace) => String(depth ?? "any"), numeric: true }] : []),
      ...columns.map(({ method, cells }) => ({
        title: label(method), numeric: true,
        value: (place: TaskPlace) => {
          const cell = cells.find(({ length, depth }) => length === place.length && depth === place.depth);
          return cell ? `${fixed(cell.accuracy, 2)} (${fixed(cell.ci95[0], 2)}\u2013${fixed(cell.ci95[1], 2)})` : "\u2013";
        },
      })),
    ], `Share answered exactly, with 95% Wilson intervals; ${columns[0]?.cells[0]?.samples ?? 0} samples in a cell`);
    return details(`Recall: ${task}`, content);
  });
}

interface TaskPlace {
  readonly length: number;
  readonly depth: number | null;
}
