/** Texts that come in pieces, encoded in parts that are cut where that changes nothing. */
import { check, LenggenError } from "@lenggen/kernels";
import { Ids, type TokenEncoder } from "../tokenizer";
import { type CutRule, lastCut } from "./cuts";
import type { TextEncoding } from "./text";

/** Characters that are encoded together. */
const PIECE = 1 << 16;
/** Most characters that wait for a place to cut. */
const MOST_WAITING = 1 << 24;

/** Encodes a stream. */
export class StreamEncoder implements TokenEncoder {
  readonly #decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  #waiting = "";
  /** Up to there no place to cut was found. */
  #searched = 0;
  #read = 0;
  #continues = false;

  constructor(private readonly text: TextEncoding, private readonly rule: CutRule | null, private readonly name: string,
    private readonly piece = PIECE) {}

  push(bytes: Uint8Array): Int32Array {
    this.#waiting += this.#decoded(bytes);
    const ids = new Ids();
    if (this.#waiting.length < this.piece) return ids.take();
    const cut = this.rule ? lastCut(this.#waiting, this.#searched, this.rule) : -1;
    if (cut > 0) this.#encode(cut, ids);
    this.#searched = Math.max(0, this.#waiting.length - 2);
    check(this.#waiting.length <= MOST_WAITING, "E_TEXT", () =>
      `tokenizer ${this.name}: ${this.rule ? "nowhere in" : "this tokenizer's texts can't be cut, and"} ${MOST_WAITING} characters `
        + `${this.rule ? "of the text it can be cut" : "are the most that it can encode together"}; give it as shorter documents`);
    return ids.take();
  }

  end(): Int32Array {
    this.#waiting += this.#decoded();
    const ids = new Ids();
    this.#encode(this.#waiting.length, ids);
    return ids.take();
  }

  #encode(to: number, into: Ids): void {
    const dropped = this.#continues && this.rule!.dropsSpace ? 1 : 0;
    this.text.encode(this.#waiting.slice(dropped, to), into, this.#continues);
    this.#waiting = this.#waiting.slice(to);
    this.#continues = true;
  }

  #decoded(bytes?: Uint8Array): string {
    const before = this.#read;
    this.#read += bytes?.length ?? 0;
    try {
      return bytes ? this.#decoder.decode(bytes, { stream: true }) : this.#decoder.decode();
    } catch (error) {
      throw new LenggenError("E_TEXT", `tokenizer ${this.name}: the text is not UTF-8 at byte ${before} or in the ${this.#read - before} `
        + "bytes behind it; write it as UTF-8, or use a tokenizer that takes any bytes (bytes, or RWKV World)", { cause: error });
    }
  }
}
