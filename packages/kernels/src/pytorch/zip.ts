/**
 * The zip container (PKWARE's APPNOTE 6.3.10), as far as `torch.save` writes it: members stored as they are, Zip64 beyond 4 GiB. Only the
 * directory is read; members are read in place, by range.
 *
 * Why no library: what is needed of a file of gigabytes is where each member's bytes begin. unzipit and zip.js give members whole or as
 * streams from their beginning (and zip.js is 105 kB), yauzl tells the place but stands on Node's buffers and streams, fflate wants the
 * file in memory. Three kinds of records are less than an adapter around any of them.
 */
import { check } from "../errors";
import type { ByteSource } from "../source";
import { quote } from "../strictJson";
import { readExactly } from "../tensorFile";

/** Signatures of records. */
const [LOCAL, CENTRAL, END, END_64, LOCATOR_64] = [0x04034b50, 0x02014b50, 0x06054b50, 0x06064b50, 0x07064b50];
/** Bytes of records without what varies in length. */
const [LOCAL_BYTES, CENTRAL_BYTES, END_BYTES, END_64_BYTES, LOCATOR_BYTES] = [30, 46, 22, 56, 20];
/** Longest comment behind the last record. */
const LONGEST_COMMENT = 0xffff;
/** A number that stands in the Zip64 field instead. */
const [IN_FIELD_16, IN_FIELD_32] = [0xffff, 0xffffffff];
/** Of the Zip64 field. */
const ZIP_64 = 1;
/** Flag of an encrypted member. */
const ENCRYPTED = 1;
/** Most bytes of a directory: 100 for each of 600,000 members. */
const LARGEST_DIRECTORY = 64 << 20;

/** A file in a zip. */
export interface ZipMember {
  readonly name: string;
  /** Of its contents. */
  readonly size: number;
  /** Where its own header begins; its contents stand behind that. */
  readonly header: number;
}

/** Whether a file begins as a zip does. */
export function isZip(start: Uint8Array): boolean {
  return start.length >= 4 && viewOf(start).getUint32(0, true) === LOCAL;
}

/** The members of a zip by their names. Throws `E_FORMAT` for a damaged one, and for members that are compressed or encrypted. */
export async function readZip(source: ByteSource, what: string): Promise<ReadonlyMap<string, ZipMember>> {
  const { count, size, offset } = await findDirectory(source, what);
  check(size <= LARGEST_DIRECTORY, "E_FORMAT",
    () => `${what}: claims a zip directory of ${size} bytes; at most ${LARGEST_DIRECTORY} are read`);
  check(offset + size <= source.size, "E_FORMAT", () =>
    `${what}: its zip directory should be the ${size} bytes from ${offset}, but the file has ${source.size}; it is cut short or damaged`);
  const directory = await readExactly(source, offset, size, what);
  const members = new Map<string, ZipMember>();
  let at = 0;
  for (let i = 0; i < count; i++) {
    const { member, end } = readMember(directory, at, `${what}: entry ${i} of its zip directory`);
    check(!members.has(member.name), "E_FORMAT", () => `${what}: two members of the zip are named ${quote(member.name)}`);
    members.set(member.name, member);
    at = end;
  }
  check(at === size, "E_FORMAT", () => `${what}: its zip directory has ${size} bytes, but its ${count} entries only ${at}`);
  return members;
}

/** Where a member's bytes begin. Throws `E_FORMAT` when they are not all in the file. */
export async function placeOf(source: ByteSource, { name, size, header }: ZipMember, what: string): Promise<number> {
  const about = `${what}: ${quote(name)}`;
  check(header + LOCAL_BYTES <= source.size, "E_FORMAT", () =>
    `${about} should begin at byte ${header}, beyond the file's ${source.size}; the file is cut short or damaged`);
  const record = viewOf(await readExactly(source, header, LOCAL_BYTES, about));
  check(record.getUint32(0, true) === LOCAL, "E_FORMAT", () => `${about} has no header at byte ${header}; the file is damaged`);
  const nameLength = record.getUint16(26, true);
  const start = header + LOCAL_BYTES + nameLength + record.getUint16(28, true);
  check(start + size <= source.size, "E_FORMAT", () =>
    `${about} has ${size} bytes from ${start}, beyond the file's ${source.size}; the file is cut short or damaged`);
  const named = new TextDecoder().decode(await readExactly(source, header + LOCAL_BYTES, nameLength, about));
  check(named === name, "E_FORMAT", () => `${about} is called ${quote(named)} in its own header; the file is damaged`);
  return start;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

interface Directory {
  readonly count: number;
  readonly size: number;
  readonly offset: number;
}

/** Reads the end of the file, where a zip says where its directory is. */
async function findDirectory(source: ByteSource, what: string): Promise<Directory> {
  const length = Math.min(source.size, END_BYTES + LONGEST_COMMENT + LOCATOR_BYTES);
  const first = source.size - length;
  const tail = viewOf(await readExactly(source, first, length, what));
  let end = length - END_BYTES;
  // From the end on: the record's own signature, and a comment that reaches the file's end.
  while (end >= 0 && !(tail.getUint32(end, true) === END && end + END_BYTES + tail.getUint16(end + 20, true) === length)) end--;
  check(end >= 0, "E_FORMAT", () => `${what}: begins as a zip file, but has no zip directory at its end; the file is cut short or damaged`);
  const disks = tail.getUint16(end + 4, true);
  check(disks === 0 || disks === IN_FIELD_16, "E_FORMAT", () => `${what}: is a part of a zip on several disks`);
  const short = { count: tail.getUint16(end + 10, true), size: tail.getUint32(end + 12, true), offset: tail.getUint32(end + 16, true) };
  const locator = end - LOCATOR_BYTES;
  if (locator < 0 || tail.getUint32(locator, true) !== LOCATOR_64) return short;
  const at = wide(tail, locator + 8, what);
  check(at + END_64_BYTES <= source.size, "E_FORMAT", () =>
    `${what}: its Zip64 record should be at byte ${at}, but the file has ${source.size}; it is damaged`);
  const record = viewOf(await readExactly(source, at, END_64_BYTES, what));
  check(record.getUint32(0, true) === END_64, "E_FORMAT", () => `${what}: has no Zip64 record at byte ${at}; the file is damaged`);
  return { count: wide(record, 32, what), size: wide(record, 40, what), offset: wide(record, 48, what) };
}

/** A number of 64 bits. */
function wide(view: DataView, at: number, what: string): number {
  const value = Number(view.getBigUint64(at, true));
  check(Number.isSafeInteger(value), "E_FORMAT", () => `${what}: has the number ${value} in its zip records, which no file can reach`);
  return value;
}

function readMember(directory: Uint8Array, at: number, what: string): { member: ZipMember; end: number } {
  const cut = (): string => `${what}: is cut short; the file is damaged`;
  check(at + CENTRAL_BYTES <= directory.length, "E_FORMAT", cut);
  const view = viewOf(directory);
  check(view.getUint32(at, true) === CENTRAL, "E_FORMAT", () => `${what}: does not begin as one; the file is damaged`);
  const nameEnd = at + CENTRAL_BYTES + view.getUint16(at + 28, true);
  const extraEnd = nameEnd + view.getUint16(at + 30, true);
  const end = extraEnd + view.getUint16(at + 32, true);
  check(end <= directory.length, "E_FORMAT", cut);
  const name = new TextDecoder().decode(directory.subarray(at + CENTRAL_BYTES, nameEnd));
  const method = view.getUint16(at + 10, true);
  check(method === 0, "E_FORMAT", () =>
    `${what}: ${quote(name)} is compressed (method ${method}); PyTorch stores everything as it is, so that other programs packed this`);
  check((view.getUint16(at + 8, true) & ENCRYPTED) === 0, "E_FORMAT", () => `${what}: ${quote(name)} is encrypted`);
  const [packed, size, header] = wideFields(view, at, nameEnd, extraEnd, what);
  check(packed === size, "E_FORMAT", () => `${what}: ${quote(name)} is stored as it is, but in ${packed} bytes, not its ${size}`);
  return { member: { name, size, header }, end };
}

/** Stored size, size and place of a member; what does not fit 32 bits is in the Zip64 field, in the order size, stored size, place. */
function wideFields(view: DataView, at: number, extra: number, extraEnd: number, what: string): [number, number, number] {
  const [packed, size, header] = [20, 24, 42].map((field) => view.getUint32(at + field, true)) as [number, number, number];
  if (packed !== IN_FIELD_32 && size !== IN_FIELD_32 && header !== IN_FIELD_32) return [packed, size, header];
  for (let field = extra; field + 4 <= extraEnd; field += 4 + view.getUint16(field + 2, true)) {
    if (view.getUint16(field, true) !== ZIP_64) continue;
    let next = field + 4;
    const fieldEnd = Math.min(extraEnd, next + view.getUint16(field + 2, true));
    const take = (short: number): number => {
      if (short !== IN_FIELD_32) return short;
      check(next + 8 <= fieldEnd, "E_FORMAT", () => `${what}: has too short a Zip64 field; the file is damaged`);
      next += 8;
      return wide(view, next - 8, what);
    };
    const wideSize = take(size);
    return [take(packed), wideSize, take(header)];
  }
  return [packed, size, header];
}
