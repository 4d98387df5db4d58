/** The report of `reproduce gca-retrieval`: what was found, the figures, every number as a table. */
import { fixed, formatLength, formatSeconds, group } from "../figures/format";
import { heatMap } from "../figures/heatMap";
import { lineChart } from "../figures/lineChart";
import { METHOD_STYLES, type Retriever } from "../methods";
import { depthMaps, type RetrievalChartName, retrievalCharts } from "./gcaRetrievalCharts";
import {
  mebibytes, percent, retrievalByLength, type RetrievalFinding, retrievalFindings, retrievalInWords, type RetrievalPoint, taskName,
  tasksOf,
} from "./gcaRetrievalFindings";
import type { GcaRetrievalReport, RetrievalModel } from "./gcaRetrievalTypes";
import { details, escape, figure, methodKey, page, paragraph, section, settingsTable, stillRunning, table } from "./html";
import type { ReportLoss } from "./types";
import { capital } from "./words";

const label = (method: Retriever) => METHOD_STYLES[method].label;
const NONE = "\u2013";

/** A self-contained HTML document. Parts without numbers are left out. */
export function buildGcaRetrievalReport(report: GcaRetrievalReport): string {
  const figures = retrievalCharts(report);
  const maps = depthMaps(report);
  const T = formatLength(report.trainLength);
  const draw = (name: RetrievalChartName, title: string, caption: string) => {
    const chart = figures[name];
    return chart ? figure((size) => lineChart(chart, size), title, caption) : "";
  };
  const parts = (title: string, text: string, ...blocks: readonly string[]) =>
    (blocks.every((block) => block === "") ? "" : section(title, paragraph(text), ...blocks));
  const chunk = report.chunk === undefined ? "a chunk" : `a chunk of ${report.chunk} bytes`;

  return page(
    "Retrieval far beyond the training length",
    `<h1>Retrieval far beyond the training length</h1>`,
    paragraph([
      `Preset ${report.preset}`, `seed ${report.seed}`, `training length ${T}`,
      ...(report.tokensTrained === undefined ? []
        : [report.tokensTrained === 0 ? "trained before" : `${group(report.tokensTrained)} tokens trained`]),
      formatSeconds(report.seconds),
    ].join(" \u00b7 "), "byline"),
    stillRunning(report.pending),
    paragraph(retrievalInWords(report), "lead"),
    summaryTable(report),
    methodKey(report.models.map(({ method }) => method)),
    parts(
      "Accuracy by length",
      `A key is hidden in text and asked for at the end; an answer counts when all of it is generated exactly. `
      + `Questions stand anywhere: where one ends in the midst of ${chunk}, `
        + `the running chunk is closed early, so that its landmark can retrieve for the answer.`,
      draw("accuracy", "Questions answered exactly, by length.", "All depths together; bands: 95% Wilson intervals."),
    ),
    parts(
      "Accuracy by length and depth",
      "Where in the text the key stood. What a window reaches is found near the end alone; what is retrieved is found anywhere.",
      ...maps.map((map) => figure((size) => heatMap(map, size), `${map.title}.`, map.caption)),
    ),
    parts(
      "Aligned and unaligned, generated and teacher-forced",
      `Published evaluations put the question's last byte at the start of a chunk (aligned) and score the answer teacher-forced: `
      + "each byte given the right ones before it. "
        + `The figures above are the harder ones, unaligned and generated. All four, all depths together; in brackets, bytes of the `
        + "answer that are right when teacher-forced:",
      ...waysTables(report),
    ),
    parts(
      "Training time by length",
      "Each training step reads the same number of bytes, in sequences of different lengths. A flat line is a cost that grows with "
        + "length and no faster.",
      draw("training", "Bytes trained on per second, by the length of the sequences.", "Forward, backward and update."),
    ),
    parts(
      "Reading one long stream",
      `One stream, read to its end${report.stream ? ` by ${label(report.stream.method)}, its chunks on the ${report.stream.tier}` : ""}. `
        + `Every chunk scores the landmarks of all chunks before it, which is the one cost that grows; memory should grow by the `
        + "landmarks alone.",
      draw("speed", "Bytes read per second, by how much has been read.", "Over the last eighth of the stream so far."),
      draw("memory", "Memory, by how much has been read.",
        "Of the whole process, of tensors on the device (a part of it on the CPU), and of the chunks on disk."),
    ),
    parts(
      "Loss on held-out text",
      "The models were trained to answer; how well they read text along the way.",
      draw("loss", "Bits per byte by length.",
        `Mean over positions L/2 to L.${
          (report.sequences ?? 0) > 1 ? ` Bands: 95% t-intervals over ${report.sequences} held-out sequences.` : ""}`),
    ),
    parts(
      "Reading at equal cost",
      "The same models from fresh parameters, trained on text alone and each for about as long as the others, so that a model whose "
        + "steps cost more takes fewer.",
      readingTable(report),
      draw("reading", "Bits per byte of held-out text by position.",
        `Bins of positions; those before 128 are left out. `
          + ((report.readingSequences ?? 1) > 1
            ? `Mean over ${report.readingSequences} held-out sequences, the same for all models.` : "")),
    ),
    section("Numbers", paragraph("Every number behind the figures."), ...numberTables(report)),
    section(
      "Settings",
      ...(report.command ? [`<p>Made by <code>${escape(report.command)}</code></p>`] : []),
      settingsTable({
        experiment: report.experiment, preset: report.preset, seed: report.seed, trainLength: report.trainLength, seconds: report.seconds,
        ...(report.device === undefined ? {} : { device: report.device }),
      }),
      ...(report.settings ? [details("Settings of the measures", settingsTable(report.settings))] : []),
      ...report.models.filter((model) => model.settings)
        .map((model) => details(`Settings of ${label(model.method)}`, settingsTable(model.settings!))),
    ),
    `<footer>Model and tasks after X. Hu and others, \u201cEfficient Length-Generalizable Attention via Causal Retrieval for `
    + `Long-Context Language Modeling\u201d, ICML 2025. `
      + `Made by lenggen; every sentence and figure is computed from report.json.</footer>`,
  );
}

/** One row per model: parameters, and for each task the share right at the training length and at the longest. */
function summaryTable(report: GcaRetrievalReport): string {
  const all = retrievalFindings(report);
  if (all.length === 0) return "";
  const find = (model: RetrievalModel, task: string) => all.find((finding) => finding.method === model.method && finding.task === task);
  const describe = (finding: RetrievalFinding | undefined) =>
    (finding ? `${percent(finding.longest.accuracy)} at ${formatLength(finding.longest.length)}` : NONE);
  return table(report.models, [
    { title: "Model", value: ({ method }) => label(method) },
    { title: "Parameters", value: ({ parameters }) => group(parameters), numeric: true },
    ...tasksOf(report).map((task) => ({ title: capital(taskName(task)), value: (model: RetrievalModel) => describe(find(model, task)),
      numeric: true })),
  ], "Questions answered exactly, at the longest length that each was asked at");
}

/** One row per model that was trained on text alone: for how long, and its loss at the longest length. */
function readingTable({ models }: GcaRetrievalReport): string {
  const read = models.flatMap(({ method, reading }) => {
    const last = reading?.lossByLength?.at(-1);
    return reading && last ? [{ method, reading, last }] : [];
  });
  if (read.length === 0) return "";
  return table(read, [
    { title: "Model", value: ({ method }) => label(method) },
    { title: "Seconds of training", value: ({ reading }) => group(reading.seconds), numeric: true },
    { title: "Steps", value: ({ reading }) => group(reading.steps), numeric: true },
    { title: "Bytes", value: ({ reading }) => group(reading.tokensTrained), numeric: true },
    { title: `Bits per byte at ${formatLength(read[0]!.last.position)}`, value: ({ last }) => fixed(last.bitsPerByte, 3), numeric: true },
  ]);
}

/** For each task, one row per model and length that was asked both ways. */
function waysTables(report: GcaRetrievalReport): string[] {
  return tasksOf(report).map((task) => {
    const rows = report.models.flatMap((model) => {
      const aligned = retrievalByLength(model, task, { aligned: true });
      return retrievalByLength(model, task).flatMap((anywhere) => {
        const other = aligned.find(({ length }) => length === anywhere.length);
        return other ? [{ model, anywhere, other }] : [];
      });
    });
    if (rows.length === 0) return "";
    return table(rows, [
      { title: "Model", value: ({ model }) => label(model.method) },
      { title: "Length", value: ({ anywhere }) => formatLength(anywhere.length), numeric: true },
      { title: "Unaligned", value: ({ anywhere }) => bothWays(anywhere), numeric: true },
      { title: "Aligned", value: ({ other }) => bothWays(other), numeric: true },
    ], capital(taskName(task)));
  });
}

const bothWays = ({ accuracy, teacherForced }: RetrievalPoint): string => `${percent(accuracy)} (${percent(teacherForced)})`;

function numberTables(report: GcaRetrievalReport): string[] {
  const { models, streaming } = report;
  const speeds = models.filter(({ trainingSpeed }) => trainingSpeed?.length);
  const byLength = (title: string, losses: (model: RetrievalModel) => readonly ReportLoss[] | undefined) => {
    const measured = models.filter((model) => losses(model)?.length);
    return measured.length === 0 ? [] : [details(title, across(measured, "Length", "Bits per byte", (model) =>
      losses(model)!.map(({ position, bitsPerByte }) => [position, fixed(bitsPerByte)])))];
  };
  return [
    ...tasksOf(report).map((task) => byLengthTable(report, task)),
    ...models.filter(({ retrieval }) => retrieval.length > 0).map((model) => cellTable(model)),
    ...(speeds.length > 0 ? [details("Training speed", across(speeds, "Length", "Bytes per second", (model) =>
      model.trainingSpeed!.map(({ length, tokensPerSecond }) => [length, group(tokensPerSecond)])))] : []),
    ...(streaming.length > 0 ? [details("Streaming", table(streaming, [
      { title: "Length", value: ({ length }) => formatLength(length), numeric: true },
      { title: "Bytes/s", value: ({ tokensPerSecond }) => group(tokensPerSecond), numeric: true },
      { title: "Resident, MiB", value: ({ residentBytes }) => mebibytes(residentBytes), numeric: true },
      { title: "At most, MiB", value: ({ mostResidentBytes }) => (mostResidentBytes === undefined ? NONE : mebibytes(mostResidentBytes)),
        numeric: true },
      { title: "Device, MiB", value: ({ deviceBytes }) => mebibytes(deviceBytes), numeric: true },
      { title: "Landmarks, MiB", value: ({ landmarkBytes }) => (landmarkBytes === undefined ? NONE : mebibytes(landmarkBytes)),
        numeric: true },
      { title: "Disk, MiB", value: ({ diskBytes }) => mebibytes(diskBytes), numeric: true },
    ]))] : []),
    ...byLength("Loss on held-out text", ({ lossByLength }) => lossByLength),
    ...byLength("Loss on held-out text, trained on text alone", ({ reading }) => reading?.lossByLength),
  ];
}

/** Lengths down, models across; open, since this is what most readers look for. */
function byLengthTable({ models }: GcaRetrievalReport, task: string): string {
  const asked = models.filter((model) => retrievalByLength(model, task).length > 0);
  return across(asked, "Length", `${capital(taskName(task))}: answered exactly, with 95% Wilson intervals`, (model) =>
    retrievalByLength(model, task).map(({ length, accuracy, ci95 }) =>
      [length, `${percent(accuracy)} (${fixed(100 * ci95[0], 0)}\u2013${fixed(100 * ci95[1], 0)})`]));
}

/** One row per length, one column per model. */
function across(
  models: readonly RetrievalModel[], place: string, caption: string,
  values: (model: RetrievalModel) => readonly (readonly [length: number, value: string])[],
): string {
  const columns = models.map((model) => ({ method: model.method, values: new Map(values(model)) }));
  const lengths = [...new Set(columns.flatMap((column) => [...column.values.keys()]))].sort((a, b) => a - b);
  return table(lengths, [
    { title: place, value: (length) => formatLength(length), numeric: true },
    ...columns.map(({ method, values: found }) => ({ title: label(method), value: (length: number) => found.get(length) ?? NONE,
      numeric: true })),
  ], caption);
}

/** Every cell of a model. */
function cellTable(model: RetrievalModel): string {
  return details(`Every cell of ${label(model.method)}`, table(model.retrieval, [
    { title: "Task", value: ({ task }) => taskName(task) },
    { title: "Length", value: ({ length }) => formatLength(length), numeric: true },
    { title: "Depth", value: ({ depth }) => `${Math.round(depth * 100)}%`, numeric: true },
    { title: "Question", value: ({ aligned, perStream }) =>
      `${aligned ? "aligned" : "anywhere"}${perStream > 1 ? `, ${perStream} in a stream` : ""}` },
    { title: "Right", value: ({ correct, samples }) => `${correct}/${samples}`, numeric: true },
    { title: "Teacher-forced", value: ({ teacherForced }) => percent(teacherForced), numeric: true },
    { title: "Bits per byte", value: ({ answerBits }) => fixed(answerBits), numeric: true },
  ]));
}
