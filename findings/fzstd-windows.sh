#!/usr/bin/env bash
# fzstd 0.1.1 (JavaScript) as a stream, and what that means for files of zstd:
#
#  * For each block, of 128 KiB at most, it moves its whole window by the block's length. Files that were packed with a long window, as data
#    sets are (zstd --long, or level 19 and above), take time by the window: with one of 128 MiB many times that of 128 KiB, for the same bytes.
#  * The window that a frame's header asks for is taken before a byte of the frame is read: up to 2 GiB for a file of 18 bytes.
#  * Checksums are passed over: a frame whose checksum is wrong is unpacked without a word.
#
# hyparquet-compressors 1.1.2 unpacks Parquet's zstd pages with it. Fails when that changes. Needs npm and the npm registry.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts fzstd@0.1.1
cat > try.mjs <<'SCRIPT'
import { Decompress } from "fzstd";

const BLOCK = 1 << 17;
const BLOCKS = 256;
/** A frame of 32 MiB in blocks that are not packed; its checksum, where it has one, is wrong. */
function frame(windowLog, checksum) {
  const header = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, checksum ? 4 : 0, (windowLog - 10) << 3]);
  const blocks = Array.from({ length: BLOCKS }, (_, i) => {
    const word = (i === BLOCKS - 1 ? 1 : 0) | (BLOCK << 3);
    return Buffer.concat([Buffer.from([word & 255, (word >> 8) & 255, word >> 16]), Buffer.alloc(BLOCK, i)]);
  });
  return Buffer.concat([header, ...blocks, Buffer.alloc(checksum ? 4 : 0, 0x55)]);
}
function unpack(bytes) {
  let length = 0;
  const begun = performance.now();
  const stream = new Decompress((piece) => void (length += piece.length));
  for (let at = 0; at < bytes.length; at += 1 << 16) stream.push(new Uint8Array(bytes.subarray(at, at + (1 << 16))));
  stream.push(new Uint8Array(), true);
  return { length, ms: performance.now() - begun };
}

const [short, long] = [unpack(frame(17, false)), unpack(frame(27, false))];
const checked = unpack(frame(17, true));
console.log(`32 MiB with a window of 128 KiB: ${short.ms.toFixed(0)} ms, of 128 MiB: ${long.ms.toFixed(0)} ms`);
console.log(`with a wrong checksum: ${checked.length} bytes`);
if (long.ms < 5 * short.ms) throw new Error("a long window takes no longer now");
if (checked.length !== BLOCK * BLOCKS) throw new Error("a wrong checksum is noticed now");
SCRIPT
node try.mjs
