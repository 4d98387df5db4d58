/** The ten lines that a reproduction ends with. */
import { familyFacts, findings, METHOD_STYLES, type UnexploredStatesReport } from "@lenggen/evals";
import { count, duration, lengthName, percent } from "../../format";
import { table } from "../../table";

/** Ten lines of at most 80 characters: what was done, six models in a table, what it took, and where the report is. */
export function summary(report: UnexploredStatesReport, place: string): string[] {
  const found = findings(report);
  const farthest = Math.max(...found.map(({ length }) => length));
  // Far beyond the training length, but not so far that nobody recalls anything.
  const asked = report.recall?.[0]?.results[0]?.cells ?? [];
  const recallLength = asked[Math.floor(asked.length / 2)]?.length;
  const rows = found.map((finding) => {
    const { method, ratio, worstRatio, worstAt, insideBits, verdict } = finding;
    const recalled = report.recall?.find((model) => model.method === method)?.results[0]?.cells.find(({ length }) =>
      length === recallLength);
    return [
      METHOD_STYLES[method].label, insideBits.toFixed(3), ratio.toFixed(3), `${worstRatio.toFixed(3)} at ${lengthName(worstAt)}`,
      recalled ? percent(recalled.accuracy) : "", report.trial ? "" : verdict,
    ];
  });
  const head = [
    "model", `bits/byte\u2264${lengthName(report.trainLength)}`, `ratio at ${lengthName(farthest)}`, "worst ratio",
    recallLength === undefined ? "" : `recall at ${lengthName(recallLength)}`, "",
  ];
  return [
    `${report.experiment} ${report.preset}, seed ${report.seed}, T = ${lengthName(report.trainLength)}; `
      + (report.trial ? "shows only that all parts work" : "ratio = loss \u00f7 short-context loss"),
    ...table(head, rows),
    ...(report.leftOut ?? []).map(({ method }) => `left out: ${METHOD_STYLES[method].label} (the report says why)`),
    (report.model ? `${familyFacts(report.model.family).label}, ${count(report.model.parameters)} parameters; ` : "")
      + `${count(report.tokensTrained)} ${report.tokens ? "tokens" : "bytes"} trained on, ${duration(report.seconds)} in all`,
    `report: ${place}`,
  ];
}
