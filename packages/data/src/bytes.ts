/** Bytes as tokens: any file at all, a vocabulary of 256. */
import { byteDecoder, type Tokenizer } from "./tokenizer";

const encoder = new TextEncoder();

/** The tokenizer of byte models: nothing is decoded, normalised or dropped. */
export const bytesTokenizer: Tokenizer = {
  kind: "bytes",
  name: "bytes",
  hash: "bytes",
  vocabulary: 256,
  special: { beginning: [] },
  encode: (text) => Int32Array.from(encoder.encode(text)),
  encoder: () => ({ push: (bytes) => Int32Array.from(bytes), end: () => new Int32Array() }),
  decoder: () => byteDecoder(bytesTokenizer.bytesOf),
  bytesOf: (id) => (Number.isInteger(id) && id >= 0 && id < 256 ? Uint8Array.of(id) : undefined),
};
