/**
 * Which states of a stream a store still serves. A store holds one line of chunks; a state stands at a place of it. One that goes on from
 * an older place makes the store forget what lies behind, and with it all states that stood there.
 *
 * This is hidden state, keyed by the identity of a state's tensor `memory.lengths` (and of the store): a copy of that tensor with the same
 * numbers belongs to no store. It has to be so, since a state is a tree of tensors and nothing else; `saveStream` and `resumeStream` carry
 * the place through files.
 */
import { check, type Tensor } from "@lenggen/kernels";
import type { ChunkStore } from "./store";

/** Where a state stands: behind so many chunks, with so many tokens in them. */
export interface Place {
  readonly chunks: number;
  readonly tokens: number;
}

/** `time`: how often the store had been cut when the state was made. */
interface Entry extends Place {
  readonly store: ChunkStore;
  readonly time: number;
}

/** By the state's tensor of lengths, which states share that stand at one place. */
const entries = new WeakMap<Tensor, Entry>();

class Line {
  /** Cuts so far. */
  time = 0;
  /** Chunks in the store. */
  chunks = 0;
  /** Cuts that no later one went behind, by time, with the chunks that each left: those ascend too. */
  readonly cuts: { time: number; chunks: number }[] = [];
  /** What runs on the store now; the next waits for it. */
  running: Promise<void> = Promise.resolve();

  cut(chunks: number): void {
    while (this.cuts.length > 0 && this.cuts.at(-1)!.chunks >= chunks) this.cuts.pop();
    this.cuts.push({ time: ++this.time, chunks });
    this.chunks = chunks;
  }

  /** The fewest chunks that were left at any time since. */
  leastSince(time: number): number {
    return this.cuts.find((cut) => cut.time > time)?.chunks ?? Infinity;
  }
}

const lines = new WeakMap<ChunkStore, Line>();

function lineOf(store: ChunkStore): Line {
  let line = lines.get(store);
  if (!line) lines.set(store, (line = new Line()));
  return line;
}

/** Where the state with these `lengths` [B,M] stands. Throws `E_ARGUMENT` when it is not of this store, or no longer. */
export function placeOf(store: ChunkStore, lengths: Tensor): Place {
  const chunks = lengths.shape[1]!;
  if (chunks === 0) return { chunks: 0, tokens: 0 };
  const entry = entries.get(lengths);
  check(entry?.store === store, "E_ARGUMENT", () =>
    `state: its ${chunks} chunks are not in this ${store.tier} store; a state goes on with the store that it was made with`);
  const left = lineOf(store).leastSince(entry.time);
  check(left >= chunks, "E_ARGUMENT", () =>
    `state: of its ${chunks} chunks the ${store.tier} store has only ${left} left, since another state went on from there; ` +
    "one store holds one stream, and of two states that go on from one place only the later");
  return entry;
}

/** Notes where a state stands that the store's chunks lead to. */
export function recordPlace(store: ChunkStore, lengths: Tensor, { chunks, tokens }: Place): void {
  const line = lineOf(store);
  line.chunks = chunks;
  entries.set(lengths, { store, chunks, tokens, time: line.time });
}

/** Makes the store's last chunk that of a place, before more are added. */
export async function truncateTo(store: ChunkStore, { chunks }: Place, format: Parameters<ChunkStore["begin"]>[0]): Promise<void> {
  const line = lineOf(store);
  // Also when nothing is cut off: a pass that failed may have left chunks that no state knows of.
  if (line.chunks > chunks) line.cut(chunks);
  if (chunks === 0) await store.begin(format);
  else await store.cut(chunks * format.batch);
}

/** Runs one thing at a time on a store. */
export async function exclusively<R>(store: ChunkStore, body: () => Promise<R>): Promise<R> {
  const line = lineOf(store);
  const before = line.running;
  let done!: () => void;
  line.running = new Promise((resolve) => {
    done = resolve;
  });
  await before;
  try {
    return await body();
  } finally {
    done();
  }
}
