/** gzip: members one after the other, through zlib. */
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { check, LenggenError } from "@lenggen/kernels";
import type { FileChunks } from "./fileChunks";

/** Most bytes of text at a time. */
const PIECE = 1 << 18;

const REASONS: Readonly<Record<string, string>> = {
  Z_BUF_ERROR: "it ends before its last member does: the file is cut",
  Z_DATA_ERROR: "it is damaged, or no gzip",
};

/**
 * What is packed in a file of gzip. Throws `E_FORMAT` when it is cut, damaged, no gzip, or followed by anything but zeros, with which some
 * programs fill up a block.
 */
export async function* gunzipped(file: FileChunks): AsyncGenerator<Uint8Array, void, undefined> {
  const gunzip = createGunzip({ chunkSize: PIECE });
  let failed: unknown;
  const feeding = pipeline(Readable.from(file), gunzip).catch((error: unknown) => void (failed = error));
  try {
    for await (const piece of gunzip) yield piece as Uint8Array;
  } catch (error) {
    const { code = "", message } = error as NodeJS.ErrnoException;
    if (error instanceof LenggenError || !code.startsWith("Z_")) throw error;
    throw new LenggenError("E_FORMAT", `${file.path}: ${REASONS[code] ?? "can't be unpacked"} (${message})`, { cause: error });
  } finally {
    gunzip.destroy();
    await feeding;
  }
  if (failed instanceof LenggenError) throw failed;
  await checkRest(file.after(gunzip.bytesWritten), gunzip.bytesWritten);
}

/** zlib stops at a zero behind a member, whatever comes after it. */
async function checkRest(rest: FileChunks, from: number): Promise<void> {
  let at = from;
  for await (const bytes of rest) {
    const found = bytes.findIndex((byte) => byte !== 0);
    check(found < 0, "E_FORMAT", () => `${rest.path}: something else follows its last member, at byte ${at + found}; take it away`);
    at += bytes.length;
  }
}
