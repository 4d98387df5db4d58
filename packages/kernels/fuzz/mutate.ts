/**
 * Makes hostile inputs out of good and bad ones: the usual moves of a mutation fuzzer, plus ones that know numbers
 * and JSON. All from one stream of random numbers, so that an
 * input is found again from its seed.
 */
import { foldIn, type HostRandom, hostRandom, key } from "../src/random";

const NUMBERS = [
  "0", "-0", "-1", "1", "1.5", "1e2", "8", "255", "256", "4294967295", "4294967296", "9007199254740991", "9007199254740992",
  "18446744073709551615", "18446744073709551616", "1e308", "1e999", "-9223372036854775808", "null", "true", "[]", "{}", '""',
];
const WORDS = [
  '"__metadata__"', '"__proto__"', '"constructor"', '"dtype"', '"shape"', '"data_offsets"', '"F32"', '"F16"', '"BF16"', '"I64"',
  '"BOOL"', '"F4"',
  "{", "}", "[", "]", ",", ":", '"', "\\", "\\u0000", "\\ud800", " ", "\n", "\u0000", "\ufeff", "[[[[[[[[", '{"a":{"a":{"a":{"a":',
].map(text);
const MOVES = 10;

type Pick = <T>(list: readonly T[]) => T;

function picker(random: HostRandom): Pick {
  return (list) => list[random.integer(list.length)]!;
}

/** How many inputs are tried, and where their random numbers start; more, and others, by `run.mjs`. */
export const INPUTS = Number(process.env["LENGGEN_FUZZ_INPUTS"] ?? 20_000);
export const SEED = Number(process.env["LENGGEN_FUZZ_SEED"] ?? 1);

/**
 * Tries all inputs on a reader, and prints how many of them had which outcome. Throws, with the input, where `attempt` does: when something
 * worse than a refusal happens. Gives the outcomes, which must be more than one, or the mutations teach nothing.
 */
export async function tryAll(
  reader: string, input: (random: HostRandom) => Uint8Array, attempt: (bytes: Uint8Array) => Promise<string>,
): Promise<string[]> {
  const outcomes = new Map<string, number>();
  for (let i = 0; i < INPUTS; i++) {
    const bytes = input(hostRandom(foldIn(key(SEED), i)));
    let outcome: string;
    try {
      outcome = await attempt(bytes);
    } catch (error) {
      throw new Error(`input ${i} of seed ${SEED} (${Buffer.from(bytes).toString("base64")}): ${String(error)}`, { cause: error });
    }
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  }
  console.log(`${reader}: ${INPUTS} inputs: ${[...outcomes].map(([outcome, n]) => `${outcome} ${n}`).join(", ")}`);
  return [...outcomes.keys()].sort();
}

/** One input: one to four random moves on a seed input. `words` are pieces of the format. */
export function mutate(random: HostRandom, seeds: readonly Uint8Array[], words: readonly Uint8Array[] = WORDS): Uint8Array {
  const pick = picker(random);
  let bytes: Uint8Array = Uint8Array.from(pick(seeds)); // a copy: slice() of a Buffer is the seed itself
  for (let moves = 1 + random.integer(4); moves > 0; moves--) bytes = move(bytes, random, pick, seeds, words);
  return bytes;
}

/**
 * The same for safetensors. Half of the inputs get the length of the header that their text asks for, so that the
 * checks behind it are reached too; some get a length near the truth or far from it.
 */
export function mutateSafetensors(random: HostRandom, seeds: readonly Uint8Array[]): Uint8Array {
  const bytes = mutate(random, seeds);
  if (bytes.length < 8) return bytes;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const right = BigInt(Math.max(0, latin(bytes).lastIndexOf("}") - 7));
  const wrong = [BigInt(random.integer(bytes.length + 16)), 0n, 100_000_000n, 100_000_001n, 1n << 63n, (1n << 64n) - 1n];
  const choice = random.integer(16);
  if (choice < 8) view.setBigUint64(0, right, true);
  else if (choice === 8) view.setBigUint64(0, picker(random)(wrong), true);
  return bytes;
}

function move(
  bytes: Uint8Array, random: HostRandom, pick: Pick, seeds: readonly Uint8Array[], words: readonly Uint8Array[],
): Uint8Array {
  const at = random.integer(bytes.length + 1);
  const span = random.integer(Math.min(32, bytes.length - at) + 1);
  const replaced = (from: number, to: number, middle: Uint8Array) => joined(bytes.subarray(0, from), middle, bytes.subarray(to));
  switch (random.integer(MOVES)) {
    case 0: // flip a bit
      if (at < bytes.length) bytes[at]! ^= 1 << random.integer(8);
      return bytes;
    case 1: // any byte
      if (at < bytes.length) bytes[at] = random.integer(256);
      return bytes;
    case 2: // cut the end off
      return bytes.slice(0, at);
    case 3: // leave a piece out
      return replaced(at, at + span, new Uint8Array());
    case 4: // a piece twice
      return replaced(at, at, bytes.slice(at, at + span));
    case 5: // random bytes in between
      return replaced(at, at, Uint8Array.from({ length: span }, () => random.integer(256)));
    case 6: // a piece of another input
      return replaced(at, at + span, pick(seeds).slice(at, at + random.integer(64)));
    case 7: // words of the format
      return replaced(at, at + random.integer(2) * span, pick(words));
    case 8: {
      // another number where one stands
      const numbers = [...latin(bytes).matchAll(/-?\d+/g)];
      if (numbers.length === 0) return bytes;
      const { index, 0: number } = pick(numbers);
      return replaced(index, index + number.length, text(pick(NUMBERS)));
    }
    default: // more or less data at the end
      return random.integer(2) ? joined(bytes, new Uint8Array(random.integer(17)))
        : bytes.slice(0, Math.max(0, bytes.length - random.integer(17)));
  }
}

function joined(...parts: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

function text(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}

function latin(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("latin1");
}
