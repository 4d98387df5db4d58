/** Effective Remembrance of both models over the end of a text. */
import { effectiveRemembrance } from "@lenggen/evals";
import type { Member } from "../shared/members";
import { type Pair, pairModel } from "../shared/pair";
import type { CutPoint } from "./view";

/** Texts that are averaged over, and how many bytes of a text there are for them. */
const TEXTS = 4;
const FROM_END = 16_384;
/** Last bytes whose predictions are averaged. */
const ENDS = 8;

export async function remembers(parameters: Pair[Member], text: Uint8Array, length: number): Promise<CutPoint[]> {
  const heldOut = text.subarray(text.length - FROM_END);
  const stride = Math.floor((heldOut.length - length) / (TEXTS - 1));
  const texts = Array.from({ length: TEXTS }, (_, i) => heldOut.subarray(i * stride, i * stride + length));
  // Sixteenths of the text, for an axis that is not logarithmic.
  const ts = [1, ...Array.from({ length: 15 }, (_, i) => Math.round((length * (i + 1)) / 16)), length - ENDS];
  const cuts = [...new Set(ts.filter((t) => t <= length - ENDS))].sort((a, b) => a - b);
  const { points } = await effectiveRemembrance(pairModel(), parameters, texts, { length, ts: cuts, ends: ENDS });
  return points.map(({ t, distance }) => ({ t, distance: Math.round(distance * 1e4) / 1e4 }));
}
