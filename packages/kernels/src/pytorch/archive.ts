/**
 * The format of `torch.save` since PyTorch 1.6: a zip with a pickle, `data.pkl`, and the storages that it names, `data/0`, `data/1`, ...,
 * all in one folder.
 */
import { check } from "../errors";
import type { ByteSource } from "../source";
import { quote } from "../strictJson";
import { readExactly } from "../tensorFile";
import { type PyTorchFile, type Storage, torchNames, WIDTHS } from "./names";
import { unpickle } from "./pickle";
import { stateDictionary } from "./stateDict";
import { placeOf, readZip, type ZipMember } from "./zip";

/** Most bytes of a pickle: 160 for each of 100,000 tensors. */
export const LARGEST_PICKLE = 16 << 20;

const PICKLE = "/data.pkl";

/** Reads what a zip of `torch.save` says of its tensors. Throws `E_FORMAT`. */
export async function readArchive(source: ByteSource, what: string): Promise<PyTorchFile> {
  const members = await readZip(source, what);
  const pickles = [...members.keys()].filter((name) => name.indexOf("/") === name.length - PICKLE.length && name.endsWith(PICKLE));
  check(pickles.length === 1, "E_FORMAT", () =>
    `${what}: is a zip with ${pickles.length || "no"} data.pkl in a folder of its own; torch.save writes one`);
  const folder = pickles[0]!.slice(0, -PICKLE.length);
  await checkByteOrder(source, members.get(`${folder}/byteorder`), what);
  const { storages, ...names } = torchNames();
  const pickle = await readMember(source, members.get(pickles[0]!)!, LARGEST_PICKLE, what);
  const { value, end } = unpickle(pickle, 0, { ...names }, what);
  check(end === pickle.length, "E_FORMAT", () => `${what}: has ${pickle.length - end} bytes behind the end of its pickle`);
  const tensors = stateDictionary(value, what);
  const places = new Map<Storage, ZipMember>();
  for (const storage of storages.values()) {
    const member = members.get(`${folder}/data/${storage.key}`);
    check(member, "E_FORMAT", () => `${what}: its pickle names the storage ${quote(storage.key)}, which is not in the file`);
    const bytes = storage.count * (storage.dtype === undefined ? 1 : WIDTHS[storage.dtype]!);
    check(member.size === bytes, "E_FORMAT", () =>
      `${what}: its storage ${quote(storage.key)} should have ${bytes} bytes, but has ${member.size}; the file is damaged`);
    places.set(storage, member);
  }
  return { tensors, startOf: (storage) => placeOf(source, places.get(storage)!, what) };
}

async function readMember(source: ByteSource, member: ZipMember, most: number, what: string): Promise<Uint8Array> {
  check(member.size <= most, "E_FORMAT",
    () => `${what}: ${quote(member.name)} has ${member.size} bytes, more than the ${most} that are read of one`);
  return readExactly(source, await placeOf(source, member, what), member.size, what);
}

/** Since PyTorch 2.0 the file says in which order the bytes of a number stand. */
async function checkByteOrder(source: ByteSource, member: ZipMember | undefined, what: string): Promise<void> {
  if (!member) return;
  const order = new TextDecoder().decode(await readMember(source, member, 64, what));
  check(order === "little", "E_FORMAT", () => `${what}: says of its numbers that they are ${quote(order)}-endian; only "little" is read`);
}
