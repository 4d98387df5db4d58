/**
 * Fuzzes the reader of PyTorch's files: whatever the bytes, opening and loading either works or throws a LenggenError of code E_FORMAT, or
 * E_DTYPE for a type that is not read, and a tensor takes no more memory than the file's size explains, or what repeated numbers may.
 * `run.mjs` runs this with more inputs.
 */
import { describe, expect, it } from "vitest";
import { LenggenError } from "../src/errors";
import { open } from "../src/open";
import { openPyTorch } from "../src/pytorch";
import {
  archive, call, dictionary, floats, joined, legacy, little, named, ordered, pickle, put, Raw, tensorOf, tuple, view, zip,
} from "../src/pytorch/write.fixture";
import type { HostRandom } from "../src/random";
import { memorySource } from "../src/source";
import { INPUTS, mutate, SEED, tryAll } from "./mutate";

const device = await open("reference");
/** Most elements of a tensor that shows numbers more than once. */
const REPEATED = 2 ** 20;

const STORAGES: [string, Uint8Array][] = [["0", floats(1, 2, 3, 4, 5, 6)], ["1", little(-7, 8)], ["2", joined(little(0x3c00, 2))]];
const several = ordered(["w", tensorOf("0", [2, 3])], ["step", tensorOf("1", [], "LongStorage")],
  ["h", tensorOf("2", [1], "HalfStorage")]);
const strided = dictionary(["t", view({ count: 6, shape: tuple(3, 2), strides: tuple(1, 3) })],
  ["e", view({ count: 6, offset: 2, shape: tuple(4, 2), strides: tuple(0, 1) })]);
const training = dictionary(["epoch", 3], ["lr", 1e-3], ["flags", tuple(true, false, null)], ["big", 2n ** 70n],
  ["optimizer", dictionary([0, [1, "x", tensorOf("0", [6])]])], ["model", several]);
const parameters = dictionary(["p", call(named("torch._utils", "_rebuild_parameter"), tensorOf("0", [6]), true, ordered())],
  ["typed", call(named("torch._utils", "_rebuild_tensor_v3"), new Raw(joined(put(tuple("storage", named("torch.storage", "UntypedStorage"),
    "1", "cpu", 8)), "Q")), 0, tuple(4), tuple(1), false, ordered(), named("torch", "uint16"))]);

/** Pickles, good and bad; the storages of a file are the same for all. */
const PICKLES = [several, strided, training, parameters, call(named("builtins", "print"), "x"),
  dictionary(["a", named("torch", "float8_e5m2")]), new Raw(joined("}q\u0000", put("d"), "h\u0000s"))].map(pickle);
const whole = (bytes: Uint8Array): Uint8Array =>
  zip([["a/data.pkl", bytes], ...STORAGES.map(([name, data]) => [`a/data/${name}`, data] as const), ["a/version", joined("3\n")]]);
const older = legacy(dictionary(["w", tensorOf("0", [2, 3], "FloatStorage", [null])], ["s", tensorOf("1", [1], "LongStorage", [null])]),
  [["0", 6, STORAGES[0]![1]], ["1", 1, STORAGES[1]![1]]]);
const FILES = [...PICKLES.map(whole), archive(several, Object.fromEntries(STORAGES), { wide: true, byteorder: "little" }), older];

/** Pieces of pickles and zips. */
const WORDS = [
  "(", ")", "}", "]", "t", "u", "s", "a", "e", "R", "b", "Q", "N", "q\u0000", "h\u0000", "h\u0005", "K\u0000", "K\u0001",
  "cbuiltins\neval\n",
  "ccollections\nOrderedDict\n", "ctorch\nFloatStorage\n", "ctorch._utils\n_rebuild_tensor_v2\n", "ctorch._utils\n_rebuild_parameter\n",
].map((text) => joined(text)).concat([[0x80, 2], [0x80, 4], [0x85], [0x86], [0x87], [0x88], [0x8a, 1, 255], [0x2e],
  [0x4a, 255, 255, 255, 127], [0x4a, 255, 255, 255, 255], [0x8a, 8, 255, 255, 255, 255, 255, 255, 255, 127], [0x6a, 1, 0, 0, 0],
  [255, 255, 255, 255], [255, 255], [0, 0, 0, 0], [0x50, 0x4b, 5, 6], [0x50, 0x4b, 6, 6], [0x50, 0x4b, 6, 7]]
  .map((word) => Uint8Array.from(word)));

function input(random: HostRandom): Uint8Array {
  // Half have a whole zip around what was changed, so that what is behind its checks is reached too.
  return random.integer(2) ? whole(mutate(random, PICKLES, WORDS)) : mutate(random, FILES, WORDS);
}

/** Opens and loads everything; says whether they were loaded or refused. Throws when something worse than a refusal happens. */
async function attempt(bytes: Uint8Array): Promise<string> {
  let outcome = "loaded";
  device.resetPeak();
  try {
    const file = await openPyTorch(memorySource(bytes, "fuzz"));
    for (const name of Object.keys(file.tensors)) (await file.load(name, device)).dispose();
  } catch (error) {
    if (!(error instanceof LenggenError && ["E_FORMAT", "E_DTYPE"].includes(error.code))) throw error;
    outcome = "refused";
  }
  const { used, peak } = device.memory();
  const most = 8 * Math.max(REPEATED, bytes.length);
  if (used !== 0 || peak > most) throw new Error(`holds ${used} bytes, at most ${peak}, for a file of ${bytes.length}`);
  return outcome;
}

describe("PyTorch's files", () => {
  it("of the corpus are loaded or refused", async () => {
    const outcomes: string[] = [];
    for (const file of FILES) outcomes.push(await attempt(file));
    expect(outcomes).toEqual(["loaded", "loaded", "loaded", "loaded", "refused", "refused", "refused",
      "loaded", "loaded"]);
  });

  it(`that are mutations are loaded or refused (${INPUTS} inputs, seed ${SEED})`, { timeout: 60_000 + 4 * INPUTS }, async () => {
    expect(await tryAll("PyTorch", input, attempt)).toEqual(["loaded", "refused"]);
  });
});
