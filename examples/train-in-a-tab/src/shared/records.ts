/** Lines of metrics for the figures. A long run has more of them than can be seen, or than should be sent about. */
import type { PhaseRecord } from "./messages";

const MOST = 4000;

/** The records, and beyond some thousands every second step only; the last step and all measurements stay. */
export function lighter(records: readonly PhaseRecord[]): readonly PhaseRecord[] {
  if (records.length <= MOST) return records;
  let kept = false;
  const half = records.toReversed().filter(({ kind }) => kind !== "step" || (kept = !kept));
  return half.length < records.length ? lighter(half.toReversed()) : records;
}
