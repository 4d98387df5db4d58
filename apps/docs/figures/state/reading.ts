/** How large and how wide the state of both models is as they read a text. */
import { stateStatistics } from "@lenggen/evals";
import type { Member } from "../shared/members";
import { type Pair, pairModel } from "../shared/pair";
import type { Sizes, StatePoint } from "./view";

/** Elements of each head's state: head size times state size, 16 by 16. */
const HEAD_ELEMENTS = 256;

export async function readStates(parameters: Pair[Member], tokens: Uint8Array, length: number): Promise<Sizes> {
  const { pooled, heads } = await stateStatistics(pairModel(), parameters, [tokens], { length, pointsPerOctave: 2, chunk: 256 });
  const norm = (rms: number, count: number): number => rms * Math.sqrt(count * HEAD_ELEMENTS);
  const names = [...new Set(heads.map(({ layer, head }) => `${layer}.${head}`))];
  const point = (position: number, rms: number, std: number, count: number): StatePoint =>
    ({ position, norm: rounded(norm(rms, count)), spread: rounded(std) });
  return {
    whole: pooled.map(({ position, rms, std }) => point(position, rms, std, names.length)),
    heads: names.map((name) => heads.filter(({ layer, head }) => `${layer}.${head}` === name)
      .map(({ position, rms, std }) => point(position, rms, std, 1))),
  };
}

const rounded = (value: number): number => Number(value.toPrecision(4));

/** A text as long as is read: what is shorter is read over and over. */
export function repeated(text: Uint8Array, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => text[i % text.length]!);
}
