/**
 * The format of `torch.save` before PyTorch 1.6, and of later versions when asked for it: pickles one after another (a magic number, a
 * version, the machine's properties, the values, the keys of the storages), then each storage in the order of its key: its number of
 * elements in 8 bytes, and the elements.
 */
import { check } from "../errors";
import type { ByteSource } from "../source";
import { quote } from "../strictJson";
import { readExactly } from "../tensorFile";
import { LARGEST_PICKLE } from "./archive";
import { type PyTorchFile, type Storage, torchNames, WIDTHS } from "./names";
import { Dictionary, type PickleNames, unpickle } from "./pickle";
import { stateDictionary } from "./stateDict";

const MAGIC = 0x1950a86a20f9469cfc6cn;
const VERSION = 1001;
const COUNT_BYTES = 8;

/** For the pickles around the values, which name nothing. */
const NO_NAMES: PickleNames = { names: new Map(), outside: (id) => id, ignoresAttributes: () => false };

/** Whether a file begins as such files do. */
export function isPickle(start: Uint8Array): boolean {
  return start[0] === 0x80;
}

/** Reads what such a file says of its tensors. Throws `E_FORMAT`. */
export async function readLegacy(source: ByteSource, what: string): Promise<PyTorchFile> {
  const bytes = await readExactly(source, 0, Math.min(source.size, LARGEST_PICKLE), what);
  let at = 0;
  const next = (names: PickleNames = NO_NAMES): unknown => {
    const { value, end } = unpickle(bytes, at, names, what);
    at = end;
    return value;
  };
  check(next() === MAGIC, "E_FORMAT", () => `${what}: is a pickle, but none of torch.save's, which begin with a number of their own`);
  const version = next();
  check(version === VERSION, "E_FORMAT", () => `${what}: is of another version of torch.save's older format than ${VERSION}`);
  const machine = next();
  check(machine instanceof Dictionary && machine.get("little_endian") === true, "E_FORMAT",
    () => `${what}: was saved on a machine whose numbers are big-endian; only little-endian ones are read`);
  const { storages, ...names } = torchNames();
  const tensors = stateDictionary(next({ ...names }), what);
  const keys = next();
  check(Array.isArray(keys) && new Set(keys).size === keys.length, "E_FORMAT", () => `${what}: has no list of its storages`);
  const places = new Map<Storage, number>();
  for (const key of keys as unknown[]) {
    const storage = typeof key === "string" ? storages.get(key) : undefined;
    check(storage, "E_FORMAT", () => `${what}: lists a storage that its tensors do not name`);
    check(at + COUNT_BYTES <= source.size, "E_FORMAT", () => `${what}: ends before its storage ${quote(storage.key)}; it is cut short`);
    const head = await readExactly(source, at, COUNT_BYTES, what);
    const count = new DataView(head.buffer, head.byteOffset, COUNT_BYTES).getBigInt64(0, true);
    check(count === BigInt(storage.count), "E_FORMAT", () =>
      `${what}: its storage ${quote(storage.key)} should have ${storage.count} elements, but says ${count}; the file is damaged`);
    places.set(storage, at + COUNT_BYTES);
    at += COUNT_BYTES + storage.count * (storage.dtype === undefined ? 1 : WIDTHS[storage.dtype]!);
    check(at <= source.size, "E_FORMAT", () =>
      `${what}: its storage ${quote(storage.key)} should end at byte ${at}, but the file has ${source.size}; it is cut short`);
  }
  for (const storage of storages.values())
    check(places.has(storage), "E_FORMAT", () => `${what}: names the storage ${quote(storage.key)}, which is not in the file`);
  check(at === source.size, "E_FORMAT", () => `${what}: has ${source.size - at} bytes behind its last storage`);
  return { tensors, startOf: async (storage) => places.get(storage)! };
}
