/**
 * Where keys and values of old chunks live when not on the device. A store holds the chunks of one stream, in order, as records of equal
 * size (records.ts); it knows nothing of models and states (drt/stored.ts does).
 */

/** Element types that keys and values can be stored in. */
export type StoreDType = "f32" | "f16" | "bf16";

/** What the chunks of a stream look like. */
export interface StreamFormat {
  /** Rows of the batch; each chunk has one record per row. */
  readonly batch: number;
  /** S: places of a chunk. */
  readonly chunk: number;
  readonly kvHeads: number;
  readonly headSize: number;
  /** The model's configuration: a memory is of use to that model alone. */
  readonly config: Readonly<Record<string, unknown>>;
}

/** Bytes that a store holds. */
export interface StoreSize {
  /** In this process's memory: records, or those of the disk that are kept for reading. */
  readonly host: number;
  readonly disk: number;
}

/**
 * A place for the chunks of one stream at a time. Records are numbered chunk by chunk, and by row within a chunk. Methods throw
 * `E_IO` when files fail and `E_ARGUMENT` after `close`.
 */
export interface ChunkStore {
  readonly tier: "host" | "disk";
  readonly dtype: StoreDType;
  /** What it holds the chunks of; null before the first stream. */
  readonly format: StreamFormat | null;
  /** Records that it holds. */
  readonly records: number;
  size(): StoreSize;
  /** Forgets everything and gets ready for a new stream. */
  begin(format: StreamFormat): Promise<void>;
  /** Keeps the first `records` records. */
  cut(records: number): Promise<void>;
  /**
   * Adds whole records behind the last one and returns at once. The bytes must stay as they are until {@link settled} tells whether
   * it went well.
   */
  append(records: Uint8Array): void;
  /** Resolves when everything appended is in its place; rejects with what went wrong since the last call. */
  settled(): Promise<void>;
  /** Copies records, whose numbers ascend, side by side into `into`. */
  read(numbers: readonly number[], into: Uint8Array): Promise<void>;
  /** Starts to fetch records (ascending numbers) that are likely to be read next. Never fails: a read will. */
  prefetch(numbers: readonly number[]): void;
  /** Frees everything, files too unless they were to be kept. May be called again. */
  close(): Promise<void>;
}
