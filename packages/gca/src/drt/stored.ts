/**
 * A pass with keys and values in a store: what a group has retrieved is read back, fetched once for all layers of the group, and given
 * to them as a small memory with just these chunks in it.
 *
 * Chunks of this very pass go the same way, so that what attention sees is always what was stored, wherever the stream is cut.
 */
import {
  disposeExcept, type DType, DTYPES, type ForwardOptions, type ForwardResult, keep, LenggenError, type Parameters, scope,
  tensor, type Tensor, type TypedArray, withoutGradient,
} from "@lenggen/kernels";
import { decodeRecord, encodeRecords, recordBytes } from "../memory/records";
import type { ChunkStore, StreamFormat } from "../memory/store";
import { exclusively, type Place, placeOf, recordPlace, truncateTo } from "../memory/streams";
import { type DrtConfig, drtJson } from "./config";
import type { EncodedChunks } from "./encoder";
import { rowPlaces } from "./layout";
import { rememberLandmarks } from "./memory";
import { computedIn, type DrtParts } from "./parts";
import { attend, begin, choose, finish, type Pass, passOf, type Running } from "./pass";
import { prefilled } from "./prefill";
import type { Readable, Retrieved } from "./retrieval";
import { type DrtState, emptyState } from "./state";

/** What a store must be made for to hold the chunks of a model's streams. */
export function streamFormat(c: DrtConfig, batch: number): StreamFormat {
  return { batch, chunk: c.chunk, kvHeads: c.kvHeads, headSize: c.headSize, config: { ...drtJson(c) } };
}

/**
 * One pass without gradients; the result is the caller's. Throws `E_ARGUMENT` for a state that the store does not serve, and what the
 * store throws, with how far the stream had come. After an error the state before is as it was, and may be tried again.
 */
export function advanceStored(...given: Given): Promise<ForwardResult<DrtState>> {
  return onStore(given, advanced);
}

/** The same for what lies far back, see prefill.ts: chunks go into the store, and none are read. */
export function prefillStored(...given: Given): Promise<DrtState> {
  return onStore(given, prefill);
}

type Given = [parts: DrtParts, store: ChunkStore, parameters: Parameters, tokens: Tensor, state?: DrtState, options?: ForwardOptions];

/** Runs one pass on a store, when its turn comes. */
function onStore<R>([parts, store, parameters, tokens, state, options]: Given,
  run: (pass: Pass, store: ChunkStore, place: Place) => Promise<R>): Promise<R> {
  return exclusively(store, async () => {
    const fresh = state ? null : stage(() => emptyState(parts, tokens.shape[0]!, tokens.device, computedIn(parts, parameters)));
    const before = state ?? fresh!;
    const place = placeOf(store, before.memory.lengths);
    try {
      const result = await run(passOf(parts, parameters, tokens, before, options), store, place);
      disposeExcept(fresh, result);
      return result;
    } catch (error) {
      disposeExcept(fresh, null);
      throw withProgress(error, place, place.tokens + before.pending.shape[1]!);
    }
  });
}

const formatOf = ({ config, tokens }: Pass): StreamFormat => streamFormat(config, tokens.shape[0]!);

/** Keys and values of a pass on the host, for as long as nothing is fetched. */
function readBack(store: ChunkStore, { keys, values }: EncodedChunks): [keys: Promise<TypedArray>, values: Promise<TypedArray>] {
  const scratch = scratchOf(store);
  return [keys.read(scratch.numbers("keys", keys.dtype, keys.size)), values.read(scratch.numbers("values", values.dtype, values.size))];
}

/**
 * Puts the chunks of a pass into the store. Every pass waits until they are in their place, so that all may take them from the same
 * memory.
 */
function append(pass: Pass, store: ChunkStore, { chunks }: Place, { keys: { dtype } }: EncodedChunks, keys: TypedArray,
  values: TypedArray): void {
  const [format, { closed }] = [formatOf(pass), pass.layout];
  const bytes = format.batch * closed.length * recordBytes(format, store.dtype);
  const records = scratchOf(store).bytes("appended", bytes);
  encodeRecords(format, store.dtype, keys, values, dtype, closed, chunks, records);
  store.append(records);
}

/** Waits for what was put into the store, and notes that a state stands behind it. */
async function settled({ layout: { closed } }: Pass, store: ChunkStore, { tokens }: Place,
  { memory: { lengths } }: DrtState): Promise<void> {
  await store.settled();
  if (closed.length > 0) recordPlace(store, lengths, { chunks: lengths.shape[1]!, tokens: tokens + closed.reduce((sum, n) => sum + n, 0) });
}

async function prefill(pass: Pass, store: ChunkStore, place: Place): Promise<DrtState> {
  if (pass.layout.closed.length > 0) await truncateTo(store, place, formatOf(pass));
  const running = stage(() => begin(pass, rememberLandmarks));
  let state: DrtState | undefined;
  try {
    if (running.chunks) append(pass, store, place, running.chunks, ...await Promise.all(readBack(store, running.chunks)));
    state = stage(() => prefilled(pass, running));
    await settled(pass, store, place, state);
    disposeExcept(running, [state, pass.before]);
    return state;
  } catch (error) {
    disposeExcept([running, state], pass.before);
    await store.settled().catch(() => {}); // the first error is the one to tell
    throw error;
  }
}

async function advanced(pass: Pass, store: ChunkStore, place: Place): Promise<ForwardResult<DrtState>> {
  const { config, before, layout } = pass;
  const format = formatOf(pass);
  if (layout.closed.length > 0) await truncateTo(store, place, format);
  let running: Running | undefined;
  let group: { rows: Retrieved; readable?: Readable } | undefined;
  try {
    running = stage(() => begin(pass, rememberLandmarks));
    const next: number[] = [];
    while (running.retrieved.length < config.groups.length) {
      group = { rows: stage(() => choose(pass, running!)) };
      const unsaved = running.retrieved.length === 0 ? running.chunks : null;
      const [indices, keys, values] = await Promise.all([group.rows.indices.read(), ...(unsaved ? readBack(store, unsaved) : [])]);
      if (keys && values) append(pass, store, place, unsaved!, keys, values);
      const { rows, readable } = await fetched(pass, store, format, group.rows, indices as Int32Array);
      group.readable = readable;
      running = replaced(running, stage(() => attend(pass, running!, group!.rows, readable)), before);
      disposeExcept(group, [running, before]);
      group = undefined;
      next.push(...rows.at(-1)!);
    }
    const result = replaced(running, stage(() => finish(pass, running!)), before);
    running = undefined;
    try {
      await settled(pass, store, place, result.state);
    } catch (error) {
      disposeExcept(result, before);
      throw error;
    }
    // Read by the next pass at once, whatever it retrieves itself.
    store.prefetch([...new Set(next)].sort((a, b) => a - b));
    return result;
  } catch (error) {
    disposeExcept([running, group], before);
    await store.settled().catch(() => {}); // the first error is the one to tell
    throw error;
  }
}

/** Host memory that the passes on a store use one after the other: their garbage would be many times the cache of a store on disk. */
class Scratch {
  readonly #parts = { appended: new ArrayBuffer(0), records: new ArrayBuffer(0), keys: new ArrayBuffer(0), values: new ArrayBuffer(0) };

  /** So many bytes, with anything in them. */
  bytes(part: "appended" | "records" | "keys" | "values", bytes: number): Uint8Array {
    if (this.#parts[part].byteLength < bytes) this.#parts[part] = new ArrayBuffer(Math.ceil(1.25 * bytes / 8) * 8);
    return new Uint8Array(this.#parts[part], 0, bytes);
  }

  /** The same for numbers of tensors of a type. */
  numbers(part: "keys" | "values", dtype: DType, count: number): TypedArray {
    const { array } = DTYPES[dtype];
    return new array(this.bytes(part, count * array.BYTES_PER_ELEMENT).buffer, 0, count);
  }
}

const scratches = new WeakMap<ChunkStore, Scratch>();

function scratchOf(store: ChunkStore): Scratch {
  const scratch = scratches.get(store) ?? new Scratch();
  scratches.set(store, scratch);
  return scratch;
}

/** Runs a part of a pass, freeing all but what it returns. */
function stage<R>(body: () => R): R {
  return withoutGradient(() => keep(scope(body)));
}

/** Frees what only the old part of a pass holds. */
function replaced<R>(old: unknown, next: R, before: DrtState): R {
  disposeExcept(old, [next, before]);
  return next;
}

/** The chunks that rows name: numbers of the records by row, and a small memory with them, indices following. */
async function fetched(
  { tokens: { device }, layout, parameters }: Pass, store: ChunkStore, format: StreamFormat, { indices: { shape } }: Retrieved,
  indices: Int32Array,
): Promise<{ rows: number[][]; readable: Readable }> {
  const [batch, rowCount, slots] = shape as [number, number, number];
  const { chunk, kvHeads, headSize } = format;
  const offsets = rowPlaces(layout);
  const numbers: number[][] = Array.from({ length: rowCount }, () => []); // records by row of retrieval
  const places = Array.from({ length: batch }, () => new Map<number, number>()); // record -> its row in the small memory
  for (let i = 0; i < indices.length; i++) {
    const [row, item] = [Math.floor(i / slots) % rowCount, Math.floor(i / (slots * rowCount))];
    if (indices[i]! < 0) continue;
    const record = indices[i]! * batch + item;
    numbers[row]!.push(record);
    // A row that no place of this pass reads is left to the next one.
    if (offsets[row]! < offsets[row + 1]!) places[item]!.set(record, 0);
  }
  for (const place of places) [...place.keys()].sort((a, b) => a - b).forEach((record, i) => place.set(record, i));

  const all = places.flatMap((place) => [...place.keys()]).sort((a, b) => a - b);
  const bytes = recordBytes(format, store.dtype);
  const scratch = scratchOf(store);
  const read = scratch.bytes("records", all.length * bytes);
  if (all.length > 0) await store.read(all, read);

  const rows = Math.max(...places.map((place) => place.size));
  const heads = [batch, rows, chunk, kvHeads, headSize];
  const size = chunk * kvHeads * headSize;
  const { dtype } = parameters.norm.weight; // what is computed in; matrices may be f16
  const total = batch * rows * size;
  // Chunks that there are none of keep what they had: they have length 0.
  const [keys, values] = [scratch.numbers("keys", dtype, total), scratch.numbers("values", dtype, total)];
  const lengths = new Int32Array(batch * rows);
  all.forEach((record, i) => {
    const item = record % batch;
    const at = item * rows + places[item]!.get(record)!;
    const into = (part: TypedArray) => part.subarray(at * size, (at + 1) * size);
    lengths[at] = decodeRecord(format, store.dtype, read.subarray(i * bytes, (i + 1) * bytes), record, into(keys), into(values), dtype);
  });
  const moved = indices.map((index, i) => {
    const item = Math.floor(i / (slots * rowCount));
    return index < 0 ? -1 : places[item]!.get(index * batch + item) ?? -1;
  });
  const readable = stage(() => ({
    indices: tensor(device, moved, shape, "i32"),
    keys: tensor(device, keys, heads, dtype),
    values: tensor(device, values, heads, dtype),
    lengths: tensor(device, lengths, [batch, rows], "i32"),
  }));
  return { rows: numbers, readable };
}

/** What went wrong in a store, with how far the stream had come. */
function withProgress(error: unknown, { chunks }: Place, tokens: number): unknown {
  if (!(error instanceof LenggenError) || !["E_IO", "E_MISSING", "E_NOT_FINITE"].includes(error.code)) return error;
  return new LenggenError(error.code, `${error.message}; the stream had reached chunk ${chunks}, token ${tokens}`, { cause: error });
}
