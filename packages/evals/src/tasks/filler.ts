/** What surrounds the thing to remember, for prompts of any length: any part of it can be made without the parts before. */
import {
  check, foldIn, hostRandom, type HostRandom, type Key, partOf, randomBits, readTokens, type Tokens, type TokenSource,
} from "@lenggen/kernels";
import { blanked } from "./blank";

/** Tokens that are drawn at a time. */
const BLOCK = 4096;

/**
 * `count` tokens of a text: one random stretch of it, or, where it is too short for that, random stretches one after the other; without the
 * task's own marks.
 */
export function textFiller(
  random: HostRandom, task: string, text: Tokens | TokenSource | undefined, count: number, marks: readonly string[],
): TokenSource {
  check(text, "E_TEXT", () => `task ${task} hides its key in real text: give it as options.text`);
  check(text.length > 0, "E_TEXT", () => `task ${task}: the text is empty`);
  return blanked(stretchesOf(random, text, count), marks);
}

function stretchesOf(random: HostRandom, text: Tokens | TokenSource, count: number): TokenSource {
  if (count <= text.length) {
    const start = random.integer(text.length - count + 1);
    return partOf(text, start, start + count);
  }
  const width = Math.min(BLOCK, text.length);
  const from = drawKey(random);
  const startOf = (block: number): number => hostRandom(foldIn(from, block)).integer(text.length - width + 1);
  return inBlocks(count, width, (block, offset, into) => readTokens(text, startOf(block) + offset, into));
}

/** `count` random lower-case letters and spaces, each equally likely. */
export function noiseFiller(random: HostRandom, count: number): TokenSource {
  const from = drawKey(random);
  let kept: { block: number; tokens: Int32Array } | undefined; // neighbouring parts come from the same block
  return inBlocks(count, BLOCK, (block, offset, into) => {
    if (kept?.block !== block) kept = { block, tokens: Int32Array.from(randomBits(foldIn(from, block), BLOCK), symbol) };
    into.set(kept.tokens.subarray(offset, offset + into.length));
  });
}

const symbol = (word: number): number => (word % 27 === 26 ? 32 : 97 + (word % 27));

/** A sentence or more, over and over. */
export function repeatedFiller(unit: Tokens, count: number): TokenSource {
  return inBlocks(count, unit.length, (_, offset, into) => readTokens(unit, offset, into));
}

/** `count` tokens in blocks of `width`; `draw` gives part of one block. */
function inBlocks(count: number, width: number, draw: (block: number, offset: number, into: Int32Array) => void): TokenSource {
  return {
    length: count,
    read(start, into) {
      for (let done = 0; done < into.length; ) {
        const offset = (start + done) % width;
        const here = Math.min(width - offset, into.length - done);
        draw(Math.floor((start + done) / width), offset, into.subarray(done, done + here));
        done += here;
      }
    },
  };
}

function drawKey(random: HostRandom): Key {
  return [random.integer(2 ** 32), random.integer(2 ** 32)];
}
