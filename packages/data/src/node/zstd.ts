/**
 * zstd: frames one after the other, through libzstd in WebAssembly (zstddec). The frames are walked here: what is cut, followed by
 * something else, or wants more memory than is good never reaches the library, which shows an error of its decoder only by giving
 * nothing, for ever. Each piece that it is fed holds one block at most, so that nothing means that soon.
 */
import { check, LenggenError } from "@lenggen/kernels";
import { ZSTDDecoder } from "zstddec/stream";
import type { FileChunks } from "./fileChunks";

const FRAME = 0xfd2fb528;
const [SKIPPABLE, SKIPPABLE_MASK] = [0x184d2a50, 0xfffffff0];
/** Magic numbers of what was written before zstd 0.8. */
const [FIRST_OLD, LAST_OLD] = [0xfd2fb51e, 0xfd2fb527];
/** Largest window: what zstd itself unpacks unless told otherwise. */
const LARGEST_WINDOW = 1 << 27;
const LARGEST_BLOCK = 1 << 17;
/** Times that the library may give nothing for one piece: at its beginning and at the end of a frame. */
const IDLE = 4;
/** What a decoder holds beside its window. */
const DECODER_BYTES = 1 << 19;
/** The library keeps what a decoder that failed held; when its memory ended, it would not say so. */
const MOST_LOST = 2 ** 30;

let lost = 0;

/** What is packed in a file of zstd. Throws `E_FORMAT` when it is cut, damaged, no zstd, or followed by something else. */
export async function* unzstd(file: FileChunks): AsyncGenerator<Uint8Array, void, undefined> {
  yield* decoded(await decoder(), new Frames(file.path, file.chunksAtOnce()));
}

/** The same for bytes in memory, at most so many when unpacked. */
export function unzstdBytes(library: ZSTDDecoder, bytes: Uint8Array, name: string, most: number): Uint8Array {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for (const piece of decoded(library, new Frames(name, [bytes]))) {
    pieces.push(piece);
    length += piece.length;
    check(length <= most, "E_FORMAT", () => `${name}: holds more than the ${most} bytes that it should when unpacked`);
  }
  return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces, length);
}

/** The library, ready. */
export async function decoder(): Promise<ZSTDDecoder> {
  const library = new ZSTDDecoder();
  await library.init();
  return library;
}

function* decoded(library: ZSTDDecoder, frames: Frames): Generator<Uint8Array, void, undefined> {
  check(lost < MOST_LOST, "E_MEMORY", () => "too many damaged files of zstd were met in one process; begin another");
  let idle = 0;
  let whole = false;
  const fed = function* (): Generator<Uint8Array, void, undefined> {
    for (const piece of frames.pieces()) {
      idle = 0;
      yield piece;
    }
  };
  try {
    for (const piece of library.decodeStreaming(fed())) {
      idle = piece.length > 0 ? 0 : idle + 1;
      check(idle <= IDLE, "E_FORMAT", () => `${frames.name}: is damaged in the frame that begins at byte ${frames.begun}`);
      if (piece.length > 0) yield piece;
    }
    whole = true;
  } catch (error) {
    if (error instanceof LenggenError) throw error;
    // The library says so of a frame that ends before it holds what its header promised.
    throw new LenggenError("E_FORMAT", `${frames.name}: is damaged in the frame that begins at byte ${frames.begun}`, { cause: error });
  } finally {
    if (!whole) lost += frames.largest + DECODER_BYTES;
  }
}

/** The frames of a file, without those that are to be passed over. */
class Frames {
  /** Where the present frame begins. */
  begun = 0;
  /** The largest window so far. */
  largest = 0;
  #hasChecksum = false;
  readonly #bytes: Bytes;

  constructor(readonly name: string, chunks: Iterable<Uint8Array>) {
    this.#bytes = new Bytes(name, chunks);
  }

  *pieces(): Generator<Uint8Array, void, undefined> {
    const bytes = this.#bytes;
    for (let frames = 0; frames === 0 || !bytes.ended(); frames++) {
      this.begun = bytes.at;
      check(!bytes.ended(), "E_FORMAT", () => `${this.name}: is empty, and so no zstd`);
      const magic = numberIn(bytes.have(4));
      if ((magic & SKIPPABLE_MASK) >>> 0 === SKIPPABLE) {
        const header = bytes.take(8);
        bytes.skip(numberIn(header, 4));
        continue;
      }
      check(magic < FIRST_OLD || magic > LAST_OLD, "E_FORMAT", () =>
        `${this.name}: was packed by a zstd from before version 0.8, whose form is not read; pack it anew`);
      check(magic === FRAME, "E_FORMAT", () =>
        `${this.name}: ${frames === 0 ? "is no zstd" : `something else follows its last frame, at byte ${this.begun}`}`);
      yield this.#header();
      yield* this.#blocks();
    }
  }

  /** The header of a frame; how large its window is decides how much memory it takes. */
  #header(): Uint8Array {
    const descriptor = this.#bytes.have(5)[4]!;
    const single = (descriptor & 0x20) !== 0;
    const sizeBytes = [single ? 1 : 0, 2, 4, 8][descriptor >> 6]!;
    const idBytes = [0, 1, 2, 4][descriptor & 3]!;
    const header = this.#bytes.take(5 + (single ? 0 : 1) + idBytes + sizeBytes);
    const refused = (why: string) => (): string => `${this.name}: the frame that begins at byte ${this.begun} ${why}`;
    check((descriptor & 8) === 0, "E_FORMAT", refused("has a header of a kind that is not known"));
    check(header.subarray(header.length - sizeBytes - idBytes, header.length - sizeBytes).every((byte) => byte === 0), "E_FORMAT",
      refused("was packed with a dictionary, which is not here; pack it without"));
    const [low, high] = sizeBytes === 8 ? [numberIn(header, header.length - 8), numberIn(header, header.length - 4)]
      : [header.subarray(header.length - sizeBytes).reduceRight((sum, byte) => sum * 256 + byte, 0), 0];
    const base = 2 ** (10 + (header[5]! >> 3));
    const window = single ? high * 2 ** 32 + low : base + (base / 8) * (header[5]! & 7);
    check(window <= LARGEST_WINDOW, "E_FORMAT", refused(`looks back over ${Math.ceil(window / 2 ** 20)} MiB (zstd --long); at most `
      + `${LARGEST_WINDOW / 2 ** 20} MiB are read: unpack the file with zstd, or pack it anew`));
    this.largest = Math.max(this.largest, window);
    this.#hasChecksum = (descriptor & 4) !== 0;
    return header;
  }

  *#blocks(): Generator<Uint8Array, void, undefined> {
    for (let last = false; !last; ) {
      const header = this.#bytes.have(3);
      const word = header[0]! | (header[1]! << 8) | (header[2]! << 16);
      const [type, size] = [(word >> 1) & 3, word >> 3];
      last = (word & 1) === 1;
      check(type !== 3 && (type === 1 || size <= LARGEST_BLOCK), "E_FORMAT", () =>
        `${this.name}: is damaged: at byte ${this.#bytes.at} stands no block`);
      yield this.#bytes.take(3 + (type === 1 ? 1 : size) + (last && this.#hasChecksum ? 4 : 0));
    }
  }
}

/** Bytes that are taken from chunks as they are needed. */
class Bytes {
  /** Bytes that were taken. */
  at = 0;
  #held: Uint8Array = new Uint8Array();
  readonly #chunks: Iterator<Uint8Array>;

  constructor(private readonly name: string, chunks: Iterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.iterator]();
  }

  ended(): boolean {
    return !this.#fill(1);
  }

  /** At least so many bytes, which are not taken. Throws `E_FORMAT` where there are fewer. */
  have(length: number): Uint8Array {
    check(this.#fill(length), "E_FORMAT", () =>
      `${this.name}: ends within a frame, after ${this.at + this.#held.length} bytes: the file is cut`);
    return this.#held;
  }

  take(length: number): Uint8Array {
    const taken = this.have(length).subarray(0, length);
    this.#drop(length);
    return taken;
  }

  skip(length: number): void {
    for (let left = length; left > 0; ) {
      const here = Math.min(left, this.have(1).length);
      this.#drop(here);
      left -= here;
    }
  }

  #drop(length: number): void {
    this.#held = this.#held.subarray(length);
    this.at += length;
  }

  #fill(length: number): boolean {
    const parts = [this.#held];
    let sum = this.#held.length;
    while (sum < length) {
      const next = this.#chunks.next();
      if (next.done) break;
      parts.push(next.value);
      sum += next.value.length;
    }
    if (parts.length > 1) this.#held = Buffer.concat(parts);
    return sum >= length;
  }
}

const numberIn = (bytes: Uint8Array, at = 0): number => new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true);
