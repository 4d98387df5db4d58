/**
 * Sums up committed reproductions of "unexplored states" across families of models: reads <folder>/<any>/seed-*.json and writes
 * <folder>/README.md, one row for each family: whether it collapses beyond its training length, which methods mend it, and what the
 * paper says of it.
 *
 *   node scripts/families-table.mjs results/unexplored-states/families results/unexplored-states/quick
 *
 * Folders after the first are those of one family each.
 *
 * Needs the packages built (npm test or npm start does it).
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { familyFacts, findings, formatLength, METHOD_STYLES, METHODS } from "../packages/evals/dist/index.js";

/** A method mends what the base loses where at most so much of it is left at the end, in every seed. */
const LEFT = 0.1;
const SEED = /^seed-\d+\.json$/;

const [folder, ...others] = process.argv.slice(2);
if (!folder || !existsSync(folder))
  throw new Error("usage: node scripts/families-table.mjs <folder of folders with seed-*.json> [another folder with seed-*.json] ...");
const inside = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map(({ name }) => join(folder, name));
const runs = [...inside, ...others].map((place) => {
  const files = readdirSync(place).filter((file) => SEED.test(file)).sort();
  return { name: basename(place), reports: files.map((file) => JSON.parse(readFileSync(join(place, file), "utf8"))) };
}).filter(({ reports }) => reports.length > 0);
if (runs.length === 0) throw new Error(`${folder} holds no folder with a seed-*.json`);

const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
const spread = (values, digits) => {
  const [low, high] = [Math.min(...values).toFixed(digits), Math.max(...values).toFixed(digits)];
  return low === high ? low : `${mean(values).toFixed(digits)} (${low} to ${high})`;
};
const line = (cells) => `| ${cells.join(" | ")} |`;
const table = (head, rows) => [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
/** "holds", or "holds 2, loses 1" where the seeds differ. */
const verdictOf = (found) => {
  const verdicts = [...new Set(found.map(({ verdict }) => verdict))];
  return verdicts.length === 1 ? verdicts[0]
    : verdicts.map((verdict) => `${verdict} ${found.filter((f) => f.verdict === verdict).length}`).join(", ");
};

const families = runs.map(({ name, reports }) => {
  const found = Object.fromEntries(METHODS.map((method) =>
    [method, reports.flatMap((report) => findings(report).filter((finding) => finding.method === method))]));
  const excess = (method) => found[method].map(({ ratio }) => ratio - 1);
  const lost = excess("base");
  const mending = METHODS.filter((method) => method !== "base" && found[method].length === lost.length
    && excess(method).every((left, seed) => left <= LEFT * lost[seed]));
  const collapses = lost.every((by) => by > 0.01);
  const facts = familyFacts(reports[0].model?.family ?? "mamba2");
  return {
    name, reports, found, label: facts.label, claim: facts.shortClaim ?? "no numbers at hand",
    parameters: reports[0].model?.parameters ?? reports[0].settings.parameters,
    mended: collapses ? mending.map((method) => METHOD_STYLES[method].label).join(", ") || "none" : "",
    leftOut: reports[0].leftOut ?? [],
  };
});

const lengths = new Set(families.flatMap(({ found }) => Object.values(found).flat().map(({ length }) => length)));
const end = [...lengths].map(formatLength).join(", ");
const summary = table(
  ["family", "parameters", "seeds", "bits per byte inside", "base", `base's ratio at ${end}`, "mended by", "the paper"],
  families.map(({ label, parameters, reports, found, mended, claim }) => [
    label, parameters.toLocaleString("en"), reports.length, spread(found.base.map(({ insideBits }) => insideBits), 3),
    verdictOf(found.base), spread(found.base.map(({ ratio }) => ratio), 3), mended, claim,
  ]),
);
const ratios = table(
  ["family", ...METHODS.map((method) => METHOD_STYLES[method].label)],
  families.map(({ label, found, leftOut }) => [label, ...METHODS.map((method) => {
    if (found[method].length === 0) return leftOut.some((left) => left.method === method) ? "left out" : "";
    return `${spread(found[method].map(({ ratio }) => ratio), 3)}, ${verdictOf(found[method])}`;
  })]),
);
const worst = table(
  ["family", ...METHODS.map((method) => METHOD_STYLES[method].label)],
  families.map(({ label, found }) => [label, ...METHODS.map((method) => {
    const { worstRatio, worstAt } = found[method].reduce((a, b) => (b.worstRatio > a.worstRatio ? b : a), found[method][0] ?? {});
    return worstRatio === undefined ? "" : `${worstRatio.toFixed(3)} at ${formatLength(worstAt)}`;
  })]),
);
const reasons = families.flatMap(({ label, leftOut }) =>
  leftOut.map(({ method, why }) => `- ${label}, ${METHOD_STYLES[method].label}: ${why}`));

writeFileSync(join(folder, "README.md"), `# Unexplored states, family by family

Each family's byte model is trained on ${[...new Set(families.map(({ reports }) => formatLength(reports[0].trainLength)))].join(", ")} bytes
at a time, trained on with each method, and read to ${end} bytes. Ratio: the loss over that with a short context. A model holds with a ratio
of at most 1.01 at every length, collapses with 1.10 or more at the end, and loses with what lies between. A method mends where at most a
tenth of what the base loses is left at the end, in every seed.
Mean over the seeds, and least to most.

${summary}

## Ratio at the end, by method

${ratios}

## The worst ratio of any seed and length

${worst}
${reasons.length === 0 ? "" : `
## Left out

${reasons.join("\n")}
`}
## Made by

\`\`\`sh
${families.flatMap(({ reports }) => reports.map(({ command }) => command)).join("\n")}
node scripts/families-table.mjs ${[folder, ...others].join(" ")}
\`\`\`

Each \`report.json\` is copied here as \`<family>/seed-N.json\`; every setting stands in it. Seconds: ${
  families.map(({ label, reports }) => `${label} ${reports.map(({ seconds }) => Math.round(seconds)).join(", ")}`).join("; ")}.
`);
console.log(`${join(folder, "README.md")}: ${families.map(({ name, reports }) => `${name} (${reports.length})`).join(", ")}`);
