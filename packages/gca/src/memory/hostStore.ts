/** The chunk memory in this process's own memory: for devices that have less of it, and for half the bytes by a half-precision type. */
import { check } from "@lenggen/kernels";
import { checkStoreDType, recordBytes } from "./records";
import type { ChunkStore, StoreDType, StreamFormat } from "./store";

/** Memory grows by blocks of about this many bytes. */
const BLOCK = 1 << 20;

/** Options of {@link hostStore}. */
export interface HostStoreOptions {
  /** f32 unless given. */
  readonly dtype?: StoreDType;
}

/** A store in host memory. Throws `E_ARGUMENT` for an unknown type. */
export function hostStore({ dtype = "f32" }: HostStoreOptions = {}): ChunkStore {
  checkStoreDType(dtype);
  let format: StreamFormat | null = null;
  let [bytes, perBlock, records, closed] = [0, 0, 0, false];
  const blocks: Uint8Array[] = [];
  const at = (number: number) => blocks[Math.floor(number / perBlock)]!.subarray((number % perBlock) * bytes,
    (number % perBlock + 1) * bytes);
  const checkOpen = () => check(!closed, "E_ARGUMENT", () => "host store: it has been closed");
  const keep = (count: number) => {
    records = Math.min(records, count);
    blocks.length = records === 0 ? 0 : Math.ceil(records / perBlock);
  };
  return {
    tier: "host",
    dtype,
    get format() {
      return format;
    },
    get records() {
      return records;
    },
    size: () => ({ host: blocks.length * perBlock * bytes, disk: 0 }),
    async begin(next) {
      checkOpen();
      keep(0);
      format = next;
      bytes = recordBytes(next, dtype);
      perBlock = Math.max(1, Math.floor(BLOCK / bytes));
    },
    async cut(count) {
      checkOpen();
      keep(count);
    },
    append(added) {
      checkOpen();
      for (let from = 0; from < added.length; from += bytes) {
        if (records === blocks.length * perBlock) blocks.push(new Uint8Array(perBlock * bytes));
        at(records++).set(added.subarray(from, from + bytes));
      }
    },
    async settled() {
      checkOpen();
    },
    async read(numbers, into) {
      checkOpen();
      numbers.forEach((number, i) => into.set(at(number), i * bytes));
    },
    prefetch() {},
    async close() {
      closed = true;
      keep(0);
    },
  };
}
