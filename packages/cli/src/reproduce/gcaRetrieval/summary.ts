/** The lines that the experiment ends with. */
import { type GcaRetrievalReport, METHOD_STYLES, retrievalFindings, streamingChange, taskName } from "@lenggen/evals";
import { bytes, count, duration, lengthName, percent } from "../../format";
import { table } from "../../table";

/** What was done, the models in a table, the long stream, what it took, and where the report is; lines of at most 80 characters. */
export function summary(report: GcaRetrievalReport, place: string): string[] {
  const all = retrievalFindings(report);
  const tasks = [...new Set(all.map(({ task }) => task))];
  const rows = report.models.map(({ method, parameters }) => [
    METHOD_STYLES[method].label, count(parameters),
    ...tasks.map((task) => {
      const found = all.find((finding) => finding.method === method && finding.task === task);
      return found ? `${percent(found.longest.accuracy)} at ${lengthName(found.longest.length)}` : "";
    }),
  ]);
  return [
    `${report.experiment} ${report.preset}, seed ${report.seed}, T = ${lengthName(report.trainLength)}; answered exactly at the longest `
      + "length",
    ...table(["model", "parameters", ...tasks.map(taskName)], rows),
    ...aboutStream(report),
    `${report.tokensTrained ? `${count(report.tokensTrained)} bytes trained on` : "from checkpoints trained before"}, `
      + `${duration(report.seconds)} in all`,
    `report: ${place}`,
  ];
}

function aboutStream({ streaming }: GcaRetrievalReport): string[] {
  const last = streaming.at(-1);
  if (!last) return [];
  const { near, speed } = streamingChange(streaming);
  const rate = `one stream: ${lengthName(last.length)} bytes, ${count(last.tokensPerSecond)} bytes/s in the end`;
  return [
    near === last ? rate : `${rate}, ${percent(speed)} of that at ${lengthName(near.length)}`,
    `memory then: ${bytes(last.residentBytes)} in all, ${bytes(last.deviceBytes)} on the device, ${bytes(last.diskBytes)} on disk`,
  ];
}
