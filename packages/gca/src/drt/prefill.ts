/**
 * Reading what lies far back for the memory alone. The memory is made below the upper layers, which therefore can be left out, retrieval
 * with them: what they know of a token reaches no further than their windows. Their part of the state begins anew behind it.
 */
import type { DrtConfig } from "./config";
import type { Pass, Running } from "./pass";
import { type DrtState, emptyState } from "./state";

/**
 * Tokens to be read in full behind a prefill before hidden states are the ones of a stream that was read in full. Each upper layer sees
 * what is right below it over a window; a group's retrieval is right from the first landmark on that the group below has made right, at
 * most a whole chunk and its landmark later. Counted in places of the stream, of which there are more than tokens.
 */
export function recentTokens({ groups, window, chunk }: DrtConfig): number {
  const windows = (layers: number) => layers * (window - 1);
  return groups.reduce((places, layers) => places + Math.max(windows(1), chunk + 1) + windows(layers - 1), 0);
}

/** The state behind a pass whose lower layers have run. */
export function prefilled({ parts, config: c, parameters, tokens }: Pass, { windows, pending, memory }: Running): DrtState {
  const { device, dtype } = parameters.norm.weight; // what is computed in; matrices may be f16
  const empty = emptyState(parts, tokens.shape[0]!, device, dtype);
  return { windows: [...windows, ...empty.windows.slice(c.lower)], pending, retrieved: empty.retrieved, memory };
}
