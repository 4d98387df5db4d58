/** A text as it is trained on: the most of it, and a held-out end that the loss by position is measured on. */
import { check } from "@lenggen/kernels";

export interface SplitText {
  /** As the person knows it, e.g. a file's name. */
  readonly name: string;
  readonly trainName: string;
  readonly heldOutName: string;
  readonly train: Uint8Array;
  readonly heldOut: Uint8Array;
}

const HELD_OUT_SHARE = 0.1;
/** How far the loss is measured, in training lengths. */
const REACH = 64;
/** Sequences that are read side by side. */
const SEQUENCES = 4;

/** Most bytes of a text: it is held in memory, and copied a few times. */
export const LARGEST_TEXT = 256 * 2 ** 20;

/** Least bytes of a text for a training length: its held-out end holds two sequences of four training lengths. */
export function leastBytes(context: number): number {
  return Math.ceil((2 * (4 * context + 1)) / HELD_OUT_SHARE);
}

/** Cuts a text in two. Throws `E_TEXT` when it is too short for the training length, or too large. */
export function splitText(name: string, bytes: Uint8Array, context: number): SplitText {
  check(bytes.length > 0, "E_TEXT", () => `${name} is empty; choose a text with some pages`);
  check(bytes.length >= leastBytes(context), "E_TEXT", () =>
    `${name} has ${bytes.length.toLocaleString("en")} bytes; a training length of ${context} needs at least `
    + `${leastBytes(context).toLocaleString("en")}. ` +
    `Choose a longer text or a shorter training length`);
  check(bytes.length <= LARGEST_TEXT, "E_TEXT", () => `${name} has more than ${LARGEST_TEXT / 2 ** 20} MB; choose a part of it`);
  const cut = Math.floor(bytes.length * (1 - HELD_OUT_SHARE));
  const { trainName, heldOutName } = textFiles(name);
  return { name, trainName, heldOutName, train: bytes.subarray(0, cut), heldOut: bytes.subarray(cut) };
}

/** Names of the two parts as files: plain letters only, since they become paths and words of a command. */
export function textFiles(name: string): { trainName: string; heldOutName: string } {
  const stem = name.replace(/\.[^.]*$/, "").normalize("NFKD").replace(/[^A-Za-z0-9]+/g, "-").replace(/^-+|-+$/g, "").toLowerCase()
    .slice(0, 40) || "text";
  return { trainName: `${stem}.train.txt`, heldOutName: `${stem}.held-out.txt` };
}

/**
 * The sequences to measure on, evenly spaced, and the lengths to report: from the training length by fours to `reach`, or as far as the
 * text goes.
 */
export function measuredLengths(heldOut: Uint8Array, context: number,
  reach = REACH * context): { lengths: number[]; sequences: Uint8Array[] } {
  let longest = context;
  while (longest < reach && 2 * (longest * 2 + 1) <= heldOut.length) longest *= 2;
  const lengths = [context];
  while (lengths.at(-1)! * 4 <= longest) lengths.push(lengths.at(-1)! * 4);
  if (lengths.at(-1)! < longest) lengths.push(longest);
  const count = Math.min(SEQUENCES, Math.floor(heldOut.length / (longest + 1)));
  const stride = count > 1 ? Math.floor((heldOut.length - longest - 1) / (count - 1)) : 0;
  return { lengths, sequences: Array.from({ length: count }, (_, i) => heldOut.subarray(i * stride, i * stride + longest + 1)) };
}
