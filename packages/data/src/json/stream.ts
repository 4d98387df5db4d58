/** Texts that come in pieces, encoded in parts that are cut where that changes nothing. */
import { check, LenggenError } from "@lenggen/kernels";
import { Ids, type TokenEncoder } from "../tokenizer";
import { type CutRule, lastCut } from "./cuts";
import type { TextEncoding } from "./text";

/** Characters that are encoded together. */
const PIECE = 1 << 16;
/** Most characters that wait for a place to cut. */
const MOST_WAITING = 1 << 24;

/** Bytes before a piece that may be of its first character. */
const LONGEST = 3;

/** Encodes a stream. */
export class StreamEncoder implements TokenEncoder {
  readonly #decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  #waiting = "";
  /** Up to there no place to cut was found. */
  #searched = 0;
  #read = 0;
  /** The last bytes that were read, to say where it stops being a text. */
  #before = new Uint8Array();
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
    try {
      const text = bytes ? this.#decoder.decode(bytes, { stream: true }) : this.#decoder.decode();
      if (bytes) this.#before = joined(this.#before, bytes.subarray(-LONGEST)).slice(-LONGEST);
      this.#read += bytes?.length ?? 0;
      return text;
    } catch (error) {
      const where = bytes ? `at byte ${this.#read - this.#before.length + firstInvalid(this.#before, bytes)}`
        : `at its end, byte ${this.#read}, which cuts a character`;
      throw new LenggenError("E_TEXT", `tokenizer ${this.name}: the text is not UTF-8 ${where}; write it as UTF-8 (iconv does), as this `
        + "tokenizer takes no other bytes: only models of bytes and of RWKV World's vocabulary do", { cause: error });
    }
  }
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

/** Where bytes stop being UTF-8 behind others that were, or may be: of these the first can be the rest of a character. */
function firstInvalid(before: Uint8Array, behind: Uint8Array): number {
  const bytes = joined(before, behind);
  const begins = before.findIndex((byte) => (byte & 0xc0) !== 0x80);
  const rest = begins < 0 ? before.length : begins;
  const isValid = (length: number): boolean => {
    try {
      new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(rest, rest + length), { stream: true });
      return true;
    } catch {
      return false;
    }
  };
  let [valid, invalid] = [0, bytes.length - rest];
  while (invalid - valid > 1) {
    const middle = (valid + invalid) >> 1;
    if (isValid(middle)) valid = middle;
    else invalid = middle;
  }
  return rest + valid;
}
