/**
 * The corpus in `corpus/`: small safetensors files, good ones and one for each way of being bad. After a
 * change here, write them anew with `node packages/kernels/fuzz/run.mjs --write-corpus`.
 */

import { FILE_DTYPES } from "../src/fileDtype";

/** Bytes of a file with this header and this much data. */
function file(header: string | object, data = 0, length?: bigint): Uint8Array {
  const json = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const bytes = Buffer.alloc(8 + json.length + data, 0x40);
  bytes.writeBigUInt64LE(length ?? BigInt(json.length));
  json.copy(bytes, 8);
  return new Uint8Array(bytes);
}

function entry(dtype: string, shape: number[], begin: number, end: number) {
  return { dtype, shape, data_offsets: [begin, end] };
}

/** A header that is written out, to keep names that an object would lose. */
function named(...names: string[]): string {
  return `{${names.map((name, i) => `${JSON.stringify(name)}:${JSON.stringify(entry("U8", [1], i, i + 1))}`).join(",")}}`;
}

const two = { a: entry("F32", [2, 2], 0, 16), b: entry("I64", [1], 16, 24) };
const every = Object.fromEntries(
  Object.entries(FILE_DTYPES).map(([dtype, elements], i, all) => {
    const begin = all.slice(0, i).reduce((sum, [, { BYTES_PER_ELEMENT }]) => sum + 2 * BYTES_PER_ELEMENT, 0);
    return [`t.${dtype}`, entry(dtype, [2], begin, begin + 2 * elements.BYTES_PER_ELEMENT)];
  }),
);

export const CORPUS: Readonly<Record<string, Uint8Array>> = {
  "good-two": file(two, 24),
  "good-every-type": file({ __metadata__: { format: "pt" }, ...every }, 94),
  "good-empty": file("{}"),
  "good-scalar-and-empty": file({ s: entry("F16", [], 0, 2), e: entry("F32", [0, 5], 2, 2) }, 2),
  "good-odd-names": file(named("__proto__", "constructor", ""), 3),
  "good-padded": file(`${JSON.stringify(two)}     `, 24),
  "bad-no-bytes": new Uint8Array(),
  "bad-seven-bytes": new Uint8Array(7),
  "bad-length-zero": file("", 24),
  "bad-length-too-long": file(two, 24, 10_000n),
  "bad-length-huge": file(two, 24, (1n << 64n) - 1n),
  "bad-json": file('{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}', 16),
  "bad-utf8": new Uint8Array(Buffer.concat([Buffer.from([5, 0, 0, 0, 0, 0, 0, 0]), Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d])])),
  "bad-deep": file(`{"a":${"[".repeat(200)}`),
  "bad-twice": file(`{"a":${JSON.stringify(two.a)},"a":${JSON.stringify(two.b)}}`, 24),
  "bad-metadata": file({ __metadata__: { a: 1 }, ...two }, 24),
  "bad-type": file({ a: entry("F4", [16], 0, 16) }, 16),
  "bad-negative-axis": file({ a: entry("U8", [-1], 0, 1) }, 1),
  "bad-overflow": file({ a: entry("U8", [2 ** 52, 2 ** 52], 0, 1) }, 1),
  "bad-overflow-zero": file({ a: entry("U8", [2 ** 52, 2 ** 52, 0], 0, 0) }),
  "bad-size": file({ a: entry("F32", [3], 0, 16) }, 16),
  "bad-order": file({ a: entry("U8", [1], 8, 0) }, 8),
  "bad-range": file({ a: entry("U8", [9], 0, 9) }, 8),
  "bad-overlap": file({ a: entry("U8", [6], 0, 6), b: entry("U8", [4], 4, 8) }, 8),
  "bad-hole": file({ a: entry("U8", [2], 0, 2), b: entry("U8", [4], 4, 8) }, 8),
  "bad-trailing": file(two, 32),
  "bad-cut": file(two, 23),
  "bad-claims-terabytes": file({ a: entry("F32", [2 ** 40], 0, 2 ** 42) }, 8),
};
