import { charts, type UnexploredStatesReport } from "@lenggen/evals";
import type { View } from "../experiment";

/** What people see of a report; drawing is loaded when it is wanted. */
export async function viewOf(report: UnexploredStatesReport): Promise<View> {
  const { buildUnexploredStatesReport } = await import("@lenggen/evals/figures");
  return { page: buildUnexploredStatesReport(report), chart: charts(report).ratio };
}
