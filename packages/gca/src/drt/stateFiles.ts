/** The state of a DRT in files: what is written of it, and what is asked of one that comes back. */
import { check, slice, type StateFiles, type Tensor } from "@lenggen/kernels";
import { decoderLayers, type DrtConfig } from "./config";
import { checkAllHere, chunksIn } from "./memory";
import type { DrtState } from "./state";

/** `stored`: whether keys and values of old chunks live elsewhere, so that the state has none. */
export function stateFiles(c: DrtConfig, stored: boolean): Required<StateFiles<DrtState>> {
  return {
    shapes: (batch, of) => shapesOf(c, stored, batch, of),
    trimmed(state) {
      if (!stored) checkAllHere(state.memory);
      return withoutSpareRoom(state);
    },
    check: (state, name) => checkNumbers(c, state, name),
  };
}

function shapesOf(c: DrtConfig, stored: boolean, batch: number, of: (path: string) => readonly number[]): Record<string,
  readonly number[]> {
  const chunks = of("memory.lengths")[1] ?? 0;
  const heads = [c.kvHeads, c.headSize];
  const window = [batch, Math.min(of("windows.0.k")[1] ?? 0, c.window - 1), ...heads];
  const contents = [batch, stored ? 0 : chunks, c.chunk, ...heads];
  const wanted: Record<string, readonly number[]> = {};
  for (let i = 0; i < decoderLayers(c); i++) wanted[`windows.${i}.k`] = wanted[`windows.${i}.v`] = window;
  wanted["pending"] = [batch, Math.min(of("pending")[1] ?? 0, c.chunk - 1), c.width];
  for (const group of c.groups.keys()) wanted[`retrieved.${group}.indices`] = wanted[`retrieved.${group}.weights`] = [batch, 1, c.topK];
  return Object.assign(wanted, {
    "memory.lengths": [batch, chunks], "memory.landmarks": [batch, chunks, c.width], "memory.keys": contents, "memory.values": contents,
  });
}

/** The state with nothing in its memory but chunks. */
function withoutSpareRoom(state: DrtState): DrtState {
  const { memory } = state;
  const count = chunksIn(memory);
  const cut = (t: Tensor) => (t.shape[1]! <= count ? t : slice(t, 1, 0, count));
  return { ...state, memory: { lengths: memory.lengths, landmarks: cut(memory.landmarks), keys: cut(memory.keys),
    values: cut(memory.values) } };
}

/** Throws `E_FORMAT` for lengths of chunks, or chunks that were retrieved, that can't be. */
async function checkNumbers(c: DrtConfig, { memory, retrieved }: DrtState, name: string): Promise<void> {
  await checkRange(name, "memory.lengths", memory.lengths, 0, c.chunk);
  for (const [group, { indices }] of retrieved.entries())
    await checkRange(name, `retrieved.${group}.indices`, indices, -1, chunksIn(memory) - 1);
}

async function checkRange(name: string, path: string, t: Tensor, least: number, most: number): Promise<void> {
  for (const value of await t.read()) {
    check(value >= least && value <= most, "E_FORMAT", () => `${name}: tensor ${path} holds ${value}; it must lie in ${least} ... ${most}`);
  }
}
