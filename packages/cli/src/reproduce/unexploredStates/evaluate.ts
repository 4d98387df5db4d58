/** Everything that a report says about one model, measured now. */
import {
  effectiveRemembrance, lossByPosition, type Method, type ReportModel, stateStatistics, taskAccuracy, type TaskAccuracy,
  type TaskName, TASKS,
} from "@lenggen/evals";
import { foldIn, key, type Parameters, type SequenceModel, type TokenSource } from "@lenggen/kernels";
import { cutSequences } from "../../measures";
import { underBar } from "../bar";
import type { StudySettings } from "./settings";

export interface EvaluationInput {
  readonly method: Method;
  readonly model: SequenceModel;
  readonly parameters: Parameters;
  readonly heldOut: TokenSource;
  /** Bytes in each token, by its id; one in each unless given. */
  readonly tokenBytes?: ArrayLike<number>;
  readonly settings: StudySettings;
  readonly seed: number;
  readonly signal: AbortSignal;
  /** Told the losses as soon as they are measured, before everything else. */
  readonly onLosses: (losses: Pick<ReportModel, "lossByPosition" | "lossByLength">) => Promise<void>;
}

/** Loss by position, Effective Remembrance, state statistics and recall of one model. */
export async function evaluateModel({ method, model, parameters, heldOut, tokenBytes, settings, seed, signal,
  onLosses }: EvaluationInput): Promise<ReportModel> {
  const { trainLength, lengths, sequences, remembrance, states, recall, chunk } = settings;
  const measured = <R>(what: string, run: (onProgress: (done: number, total: number) => void) => Promise<R>): Promise<R> =>
    underBar(`${method}: ${what}`, run);
  const { bins, lengths: byLength } = await measured("loss by position", (onProgress) =>
    lossByPosition(model, parameters, cutSequences(heldOut, Math.max(...lengths) + 1, sequences),
      { trainLength, lengths, tokenBytes, chunk, signal, onProgress }));
  const losses = { lossByPosition: bins, lossByLength: byLength };
  await onLosses(losses);
  const remembered = await measured("Effective Remembrance", (onProgress) =>
    effectiveRemembrance(model, parameters, cutSequences(heldOut, remembrance.length, remembrance.sequences),
      { length: remembrance.length, chunk, signal, onProgress }));
  const statistics = await measured("state statistics", (onProgress) =>
    stateStatistics(model, parameters, cutSequences(heldOut, states.length, states.sequences),
      { length: states.length, chunk, signal, onProgress }));
  const recalled: TaskAccuracy[] = [];
  for (const task of recall.tasks) {
    recalled.push(await measured(task, (onProgress) =>
      taskAccuracy(model, parameters, TASKS[task as TaskName], {
        key: foldIn(key(seed), 3), lengths: recall.lengths, samples: recall.samples, text: heldOut, chunk, signal, onProgress,
      })));
  }
  // Paths only where a layer has more than one recurrent leaf: most models need none, and there are thousands of points.
  const single = new Set(statistics.heads.map(({ layer, leaf }) => `${layer} ${leaf}`)).size
    === new Set(statistics.heads.map(({ layer }) => layer)).size;
  return {
    method,
    ...losses,
    effectiveRemembrance: remembered.points,
    stateStd: statistics.heads.map(({ position, layer, leaf, head, std }) =>
      ({ position, layer, head, std, ...(!single && { leaf }) })),
    statePooledStd: statistics.pooled.map(({ position, std, ci95 }) => ({ position, std, ci95 })),
    recall: recalled,
  };
}
