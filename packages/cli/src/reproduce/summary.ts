/** The ten lines that a reproduction ends with. */
import { findings, METHOD_STYLES, type UnexploredStatesReport } from "@lenggen/evals";
import { count, duration, lengthName, percent } from "../format";
import { table } from "../table";

/** Ten lines of at most 80 characters: what was done, six models in a table, what it took, and where the report is. */
export function summary(report: UnexploredStatesReport, place: string): string[] {
  const found = findings(report);
  const farthest = Math.max(...found.map(({ length }) => length));
  const recallLength = report.models[0]?.recall?.[0]?.cells.at(-1)?.length;
  const rows = found.map((finding) => {
    const { method, ratio, worstRatio, worstAt, insideBits, verdict } = finding;
    const recalled = report.models.find((model) => model.method === method)?.recall?.[0]?.cells.at(-1);
    return [
      METHOD_STYLES[method].label, insideBits.toFixed(3), ratio.toFixed(3), `${worstRatio.toFixed(3)} at ${lengthName(worstAt)}`,
      recalled ? percent(recalled.accuracy) : "", verdict,
    ];
  });
  const head = [
    "model", `bits/byte\u2264${lengthName(report.trainLength)}`, `ratio at ${lengthName(farthest)}`, "worst ratio",
    recallLength === undefined ? "" : `${report.models[0]!.recall![0]!.task} ${lengthName(recallLength)}`, "",
  ];
  return [
    `${report.experiment} ${report.preset}, seed ${report.seed}, T = ${lengthName(report.trainLength)}; ratio = loss \u00f7 short-context loss`,
    ...table(head, rows),
    `${count(report.tokensTrained)} bytes trained on, ${duration(report.seconds)} in all`,
    `report: ${place}`,
  ];
}
