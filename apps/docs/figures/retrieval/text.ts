/** What the figure reads and asks, and what became of it. No DOM here. */

/** Most bytes of a text. */
export const LONGEST = 2000;
/** Bytes of a chunk, and how many chunks a landmark may pick: those of the committed model. */
export const CHUNK = 64;
const PICKS = 8;

/** What a reader finds in the figure at first: the novel's first pages, with three keys hidden in them. */
export const FIRST_NAME = "north";
export const FIRST_KEYS = [[150, "[[apple=qzk]]"], [330, "[[north=wjv]]"], [560, "[[river=fmd]]"]] as const;
export const FIRST_BYTES = 860;

/** A landmark: that of which chunk (the last one is an empty chunk behind the question), and its weight for each chunk before. */
export interface Landmark {
  readonly chunk: number;
  /** They add up to 1; empty for the first chunk. */
  readonly shares: readonly number[];
}

export interface Reading {
  readonly text: string;
  readonly name: string;
  readonly landmarks: readonly Landmark[];
  /** Absent until the model has answered. */
  readonly answer?: string;
}

/** `recorded.json`. */
export interface Recorded extends Reading {
  readonly device: string;
  readonly command: string;
}

/** Plain bytes: what the model was not trained on becomes a space. */
export const plain = (text: string): string => text.replaceAll(/[^\u0020-\u007e\n]/g, " ").slice(0, LONGEST);

export const promptOf = (text: string, name: string): Int32Array => Int32Array.from(new TextEncoder().encode(`${text}[[${name}=`));

/** Keys of a text by their names; of two with one name the first. */
export function keysOf(text: string): ReadonlyMap<string, { readonly key: string; readonly at: number }> {
  const keys = new Map<string, { key: string; at: number }>();
  for (const { 1: name, 2: key, index } of text.matchAll(/\[\[([^[\]=]+)=([^[\]=]+)\]\]/g)) {
    if (!keys.has(name!)) keys.set(name!, { key: key!, at: index });
  }
  return keys;
}

/** Letters that the model is asked for. */
export const answerLength = (text: string, name: string): number => Math.min(16, keysOf(text).get(name)?.key.length ?? 3);

/** The prompt in chunks; the last one, which ends with the question, may be shorter. */
export function chunksOf(text: string, name: string): string[] {
  const prompt = `${text}[[${name}=`;
  // The last byte of the question opens a new chunk.
  const read = prompt.slice(0, -1);
  return Array.from({ length: Math.ceil(read.length / CHUNK) }, (_, i) => read.slice(i * CHUNK, (i + 1) * CHUNK));
}

/** The chunks that a landmark picks, best first, with their weights among themselves. */
export function picksOf({ shares }: Landmark): { readonly chunk: number; readonly weight: number }[] {
  const best = shares.map((share, chunk) => ({ share, chunk })).sort((a, b) => b.share - a.share).slice(0, PICKS);
  const sum = best.reduce((total, { share }) => total + share, 0);
  return best.map(({ share, chunk }) => ({ chunk, weight: share / sum }));
}

/** Whose landmark it is. */
export function askerOf({ landmarks }: Reading, at: number): string {
  if (at === landmarks.length - 1) return "the question, once more";
  if (at === landmarks.length - 2) return "the question";
  return `chunk ${at + 1}`;
}

export function findingOf(reading: Reading, at: number): string {
  const { landmarks, text, name } = reading;
  const landmark = landmarks[at];
  if (!landmark || landmark.shares.length === 0) return "The first landmark has no chunk before it to score.";
  const picks = picksOf(landmark);
  const key = keysOf(text).get(name);
  const asker = askerOf(reading, at);
  const first = `The landmark of ${asker} picks ${picks.length} of ${landmark.shares.length} earlier chunks, above all chunk `
    + `${picks[0]!.chunk + 1} (${percent(picks[0]!.weight)})`;
  if (!key || at < landmarks.length - 2) return `${first}.`;
  const holders = new Set([Math.floor(key.at / CHUNK), Math.floor((key.at + name.length + key.key.length + 4) / CHUNK)]);
  const place = picks.findIndex(({ chunk }) => holders.has(chunk));
  const where = [...holders].map((chunk) => chunk + 1).join(" and ");
  if (place === -1) return `${first}. The key stands in chunk ${where}, which it does not pick.`;
  return place === 0 ? `${first}, which holds the key.` : `${first}; the key, in chunk ${where}, comes ${ORDINALS[place]}.`;
}

const ORDINALS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth"];

export const percent = (share: number): string => `${Math.round(share * 100)}\u00a0%`;

/** What came of the question. */
export function verdictOf({ text, name, answer }: Reading): string {
  if (answer === undefined) return "";
  const key = keysOf(text).get(name)?.key;
  if (key === undefined) return `no key of the name ${name} stands in the text`;
  return key === answer ? "right" : `wrong: the key is ${key}`;
}
