/**
 * Sums up the committed reproductions: reads <folder>/seed-*.json and writes <folder>/README.md, with every number over
 * the seeds, and <folder>/ratio.svg, the picture of the first seed.
 *
 *   node scripts/summarise-results.mjs results/unexplored-states/quick
 *
 * Needs the packages built (npm test or npm start does it).
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { charts, findings, formatLength, lineChart, METHOD_STYLES } from "../packages/evals/dist/index.js";

const folder = process.argv[2];
if (!folder) throw new Error("usage: node scripts/summarise-results.mjs <folder with seed-*.json>");
const files = readdirSync(folder).filter((name) => /^seed-\d+\.json$/.test(name)).sort();
if (files.length === 0) throw new Error(`${folder} holds no seed-*.json`);
const reports = files.map((name) => JSON.parse(readFileSync(join(folder, name), "utf8")));
const [first] = reports;
const methods = first.models.map(({ method }) => method);
const models = (method) => reports.map((report) => report.models.find((model) => model.method === method));
const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
const spread = (values, digits) => {
  const shown = values.map((value) => value.toFixed(digits));
  return values.length === 1 ? shown[0] : `${mean(values).toFixed(digits)} (${[...shown].sort((a, b) => a - b).filter((_, i, all) => i === 0 || i === all.length - 1).join(" to ")})`;
};
const row = (cells) => `| ${cells.join(" | ")} |`;
const table = (head, rows) => [row(head), row(head.map(() => "---")), ...rows.map(row)].join("\n");

const lengths = first.models[0].lossByLength.map(({ position }) => position);
const ratios = table(
  ["initial states", "bits per byte inside", ...lengths.map(formatLength)],
  methods.map((method) => [
    METHOD_STYLES[method].label,
    spread(reports.map((report) => findings(report).find((finding) => finding.method === method).insideBits), 3),
    ...lengths.map((length) => spread(models(method).map(({ lossByLength }) => lossByLength.find(({ position }) => position === length).ratio), 3)),
  ]),
);
const inside = table(
  ["initial states", "bits per byte inside, over the base's"],
  methods.filter((method) => method !== "base").map((method) => [
    METHOD_STYLES[method].label, spread(reports.map((report) => findings(report).find((finding) => finding.method === method).insideRatio), 4),
  ]),
);
const recall = (first.models[0].recall ?? []).map(({ task, cells }) => `### ${task}\n\n${table(
  ["initial states", ...cells.map(({ length }) => formatLength(length))],
  methods.map((method) => [
    METHOD_STYLES[method].label,
    ...cells.map((_, i) => spread(models(method).map((model) => 100 * model.recall.find((result) => result.task === task).cells[i].accuracy), 0)),
  ]),
)}`);

writeFileSync(join(folder, "ratio.svg"), lineChart(charts(first).ratio, { width: 760 }));
writeFileSync(join(folder, "README.md"), `# ${first.experiment}, preset ${first.preset}

Trained on ${formatLength(first.trainLength)} bytes at a time; ${reports.length} seeds: mean, and least to most. Made by

\`\`\`sh
${reports.map(({ command }) => command).join("\n")}
node scripts/summarise-results.mjs ${folder}
\`\`\`

Seconds: ${reports.map(({ seconds }) => Math.round(seconds)).join(", ")}. Bytes trained on, all six models: ${first.tokensTrained.toLocaleString("en")}.
Every setting stands in the reports, \`seed-*.json\`.

## Loss over short-context reference, by length

The mean over positions (L/2, L] for each length L. Above 1, the long history hurts.

${ratios}

![Ratio of loss to short-context reference by position](ratio.svg)

## Cost inside the training length

${inside}

## Recall: exact answers, per cent

${recall.join("\n\n")}
`);
console.log(`${join(folder, "README.md")} and ratio.svg from ${files.join(", ")}`);
