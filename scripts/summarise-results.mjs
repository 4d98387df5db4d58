/**
 * Sums up the committed reproductions: reads <folder>/seed-*.json and writes <folder>/README.md, with every number over
 * the seeds, and a picture of the first seed.
 *
 *   node scripts/summarise-results.mjs results/unexplored-states/quick
 *   node scripts/summarise-results.mjs results/gca-retrieval/full
 *
 * Needs the packages built (npm test or npm start does it).
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { lineChart } from "../packages/evals/dist/figures/index.js";
import { charts, findings, formatLength, METHOD_STYLES, retrievalByLength, retrievalCharts,
  taskName } from "../packages/evals/dist/index.js";

const folder = process.argv[2];
if (!folder) throw new Error("usage: node scripts/summarise-results.mjs <folder with seed-*.json>");
const files = readdirSync(folder).filter((name) => /^seed-\d+\.json$/.test(name)).sort();
if (files.length === 0) throw new Error(`${folder} holds no seed-*.json`);
const reports = files.map((name) => JSON.parse(readFileSync(join(folder, name), "utf8")));
const [first] = reports;
const methods = first.models.map(({ method }) => method);
const models = (method) => reports.map((report) => report.models.find((model) => model.method === method));
const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
/** Mean of the seeds, and least to most. */
const spread = (values, digits) => {
  const shown = values.map((value) => value.toFixed(digits));
  return values.length === 1 ? shown[0]
    : `${mean(values).toFixed(digits)} (${
      [...shown].sort((a, b) => a - b).filter((_, i, all) => i === 0 || i === all.length - 1).join(" to ")})`;
};
/** The same, but one number where all seeds agree. */
const agreed = (values, digits) => (new Set(values.map((value) => value.toFixed(digits))).size === 1 ? values[0].toFixed(digits)
  : spread(values, digits));
const row = (cells) => `| ${cells.join(" | ")} |`;
const table = (head, rows) => [row(head), row(head.map(() => "---")), ...rows.map(row)].join("\n");
const label = (method) => METHOD_STYLES[method].label;

function unexploredStates() {
  const lengths = first.models[0].lossByLength.map(({ position }) => position);
  const ratios = table(
    ["initial states", "bits per byte inside", ...lengths.map(formatLength)],
    methods.map((method) => [
      label(method),
      spread(reports.map((report) => findings(report).find((finding) => finding.method === method).insideBits), 3),
      ...lengths.map((length) =>
        spread(models(method).map(({ lossByLength }) => lossByLength.find(({ position }) => position === length).ratio), 3)),
    ]),
  );
  const inside = table(
    ["initial states", "bits per byte inside, over the base's"],
    methods.filter((method) => method !== "base").map((method) => [
      label(method), spread(reports.map((report) => findings(report).find((finding) => finding.method === method).insideRatio), 4),
    ]),
  );
  const recall = (first.models[0].recall ?? []).map(({ task, cells }) => `### ${task}\n\n${table(
    ["initial states", ...cells.map(({ length }) => formatLength(length))],
    methods.map((method) => [
      label(method),
      ...cells.map((_, i) => spread(models(method)
        .map((model) => 100 * model.recall.find((result) => result.task === task).cells[i].accuracy), 0)),
    ]),
  )}`);
  return {
    picture: { name: "ratio.svg", chart: charts(first).ratio },
    body: `## Loss over short-context reference, by length

The mean over positions (L/2, L] for each length L. Above 1, the long history hurts.

${ratios}

![Ratio of loss to short-context reference by position](ratio.svg)

Seed ${first.seed} alone, with 95 % intervals over the sequences; the tables have all seeds.

## Cost inside the training length

${inside}

## Recall: exact answers, per cent

${recall.join("\n\n")}
`,
  };
}

function gcaRetrieval() {
  const tasks = [...new Set(first.models.flatMap(({ retrieval }) => retrieval.map(({ task }) => task)))];
  const points = (model, task, length, aligned) => retrievalByLength(model, task, { aligned }).find((point) => point.length === length);
  /** One row for each model that was asked, in the way wanted; what was measured by some seeds alone is left out. */
  const answers = (task, aligned, value) => {
    const asked = [...new Set(first.models.flatMap((model) => retrievalByLength(model, task, { aligned }).map(({ length }) => length)))]
      .sort((a, b) => a - b);
    const rows = methods.filter((method) => models(method).every((model) => retrievalByLength(model, task, { aligned }).length > 0))
      .map((method) => [
      label(method),
      ...asked.map((length) => {
        const found = models(method).map((model) => points(model, task, length, aligned));
        return found.every((point) => point) ? agreed(found.map((point) => 100 * value(point)), 1) : "";
      }),
    ]);
    return rows.length === 0 ? "" : table(["model", ...asked.map(formatLength)], rows);
  };
  const parts = tasks.map((task) => [
    `## Task ${task}, ${taskName(task)}: answered exactly, per cent\n`,
    answers(task, false, ({ accuracy }) => accuracy),
    ...[["Teacher-forced: bytes of the answer that are right, given those before",
      answers(task, false, ({ teacherForced }) => teacherForced)],
      ["With the question at a chunk's border", answers(task, true, ({ accuracy }) => accuracy)]]
      .filter(([, content]) => content !== "").map(([title, content]) => `\n${title}:\n\n${content}`),
  ].join("\n"));
  const lengths = first.streaming.map(({ length }) => length);
  const along = (value, digits) => lengths.map((_, i) => agreed(reports.map(({ streaming }) => value(streaming[i])), digits));
  const MiB = 2 ** 20;
  const stream = lengths.length === 0 ? ""
    : `## One stream, ${label(first.stream.method)}, its chunks on ${first.stream.tier}\n\n${table(["", ...lengths.map(formatLength)], [
    ["bytes a second", ...along(({ tokensPerSecond }) => tokensPerSecond, 0)],
    ["resident, MiB", ...along(({ residentBytes }) => residentBytes / MiB, 0)],
    // Reports before this was measured had the most as residentBytes.
    ...(reports.every(({ streaming }) => streaming[0].mostResidentBytes)
      ? [["resident with garbage, at most, MiB", ...along(({ mostResidentBytes }) => mostResidentBytes / MiB, 0)]] : []),
    ["device, MiB", ...along(({ deviceBytes }) => deviceBytes / MiB, 1)],
    ["of it landmarks, MiB", ...along(({ landmarkBytes }) => landmarkBytes / MiB, 1)],
    ["disk, MiB", ...along(({ diskBytes }) => diskBytes / MiB, 0)],
  ])}\n`;
  const timed = methods.filter((method) => models(method).every(({ trainingSpeed }) => trainingSpeed?.length > 0));
  const training = timed.length === 0 ? "" : `## Training: bytes a second, by length\n\n${table(
    ["model", ...models(timed[0])[0].trainingSpeed.map(({ length }) => formatLength(length))],
    timed.map((method) => [label(method),
      ...models(method)[0].trainingSpeed.map((_, i) =>
        agreed(models(method).map(({ trainingSpeed }) => trainingSpeed[i].tokensPerSecond), 0))]),
  )}\n`;
  const read = methods.filter((method) => models(method).every(({ lossByLength }) => lossByLength?.length > 0));
  const loss = read.length === 0 ? "" : `## Bits per byte of held-out text, by length\n\n${table(
    ["model", ...models(read[0])[0].lossByLength.map(({ position }) => formatLength(position))],
    read.map((method) => [label(method),
      ...models(method)[0].lossByLength.map((_, i) => agreed(models(method).map(({ lossByLength }) => lossByLength[i].bitsPerByte), 3))]),
  )}\n`;
  const readers = methods.filter((method) => models(method).every(({ reading }) => reading));
  const reading = readers.length === 0 ? ""
    : `## Reading at equal cost: trained on text alone, bits per byte of held-out text by length\n\n${table(
    ["model", "steps", "seconds", ...models(readers[0])[0].reading.lossByLength.map(({ position }) => formatLength(position))],
    readers.map((method) => {
      const found = models(method).map((model) => model.reading);
      return [
        label(method), found[0].steps, agreed(found.map(({ seconds }) => seconds), 0),
        ...found[0].lossByLength.map((_, i) => agreed(found.map(({ lossByLength }) => lossByLength[i].bitsPerByte), 3)),
      ];
    }),
  )}\n`;
  return {
    picture: { name: "accuracy.svg", chart: retrievalCharts(first).accuracy },
    body: ["![Questions answered exactly, by length](accuracy.svg)\n", ...parts.map((part) => `${part}\n`), stream, training, loss, reading]
      .filter((part) => part !== "").join("\n"),
  };
}

/** Where the models come from, which may differ by seed. */
function origin() {
  const trained = reports.filter(({ tokensTrained }) => tokensTrained > 0);
  const bytes = trained.length === 0 ? ""
    : `Bytes trained on by all models, those of the tasks included: ${trained[0].tokensTrained.toLocaleString("en")}.`;
  if (trained.length === reports.length) return bytes;
  if (trained.length === 0) return "The models come from the committed checkpoints.";
  const seeds = (some) => some.map(({ seed }) => seed).join(", ");
  return `The models of seed ${seeds(reports.filter((report) => !trained.includes(report)))} come from the committed checkpoints, `
    + `those of seed ${seeds(trained)} were trained in the run. ${bytes}`;
}

const { picture, body } = { "unexplored-states": unexploredStates, "gca-retrieval": gcaRetrieval }[first.experiment]();
writeFileSync(join(folder, picture.name), lineChart(picture.chart, { width: 760 }));
writeFileSync(join(folder, "README.md"), `# ${first.experiment}, preset ${first.preset}

Trained on ${formatLength(first.trainLength)} bytes at a time; ${reports.length === 1 ? `seed ${first.seed}`
  : `${reports.length} seeds: mean, and least to most`}. Made by

\`\`\`sh
${reports.map(({ command }) => command).join("\n")}
node scripts/summarise-results.mjs ${folder}
\`\`\`

Seconds: ${reports.map(({ seconds }) => Math.round(seconds)).join(", ")}. ${origin()}
Every setting stands in the reports, \`seed-*.json\`.

${body}`);
console.log(`${join(folder, "README.md")} and ${picture.name} from ${files.join(", ")}`);
