/** Hides things in a filler. */
import { joinTokens, partOf, type Tokens, type TokenSource } from "@lenggen/kernels";

/** Something to hide: at depth 0 it stands at the start of the filler, at 1 at its end. */
export interface Needle {
  readonly tokens: Tokens;
  readonly depth: number;
}

/** The filler with the needles at their depths. Those that meet stand side by side in the order given. */
export function hide(filler: TokenSource, needles: readonly Needle[]): TokenSource {
  const placed = needles.map(({ tokens, depth }) => ({ tokens, at: Math.round(depth * filler.length) })).sort((a, b) => a.at - b.at);
  const parts: (Tokens | TokenSource)[] = [];
  let at = 0;
  for (const needle of placed) {
    parts.push(partOf(filler, at, needle.at), needle.tokens);
    at = needle.at;
  }
  return joinTokens([...parts, partOf(filler, at, filler.length)]);
}
