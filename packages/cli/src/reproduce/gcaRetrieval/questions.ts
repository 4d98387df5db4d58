/** Questions to a model, as cells of the report. */
import { join } from "node:path";
import {
  askedFromOneStream, type AskedQuestion, type RetrievalCell, type Retriever, taskAccuracy, type TaskCell, TASKS, wilsonInterval,
} from "@lenggen/evals";
import type { Drt, Transformer } from "@lenggen/gca";
import { foldIn, type Key, type Parameters, type SequenceModel, type Tokens, type TokenSource } from "@lenggen/kernels";
import { hasChunks } from "../../chunks";
import { lengthName } from "../../format";
import { underBar } from "../bar";
import { resumable, type Stage } from "../resumable";
import { type LongReader, readingLong } from "./memory";
import type { GcaRetrievalSettings, Questions } from "./settings";

/** A trained model, and what it is measured with. */
export interface Examined {
  readonly method: Retriever;
  readonly model: Drt | Transformer;
  readonly parameters: Parameters;
  /** All that decides what the model answers: how it was trained. */
  readonly trained: unknown;
  /** Tokens of a chunk, for baselines too: they are asked the same questions. */
  readonly chunk: number;
  readonly heldOut: Tokens | TokenSource;
  readonly settings: GcaRetrievalSettings;
  readonly key: Key;
  readonly folder: string;
  readonly signal: AbortSignal;
}

/** What decides the questions of one length. */
export type Asked = Pick<Questions, "task" | "depths" | "samples" | "streams" | "ends" | "options">;

export type OnProgress = (done: number, total: number) => void;

/** Most prompts side by side. */
const MOST_ROWS = 16;

/** Everything that a model is to be asked. Each length is kept on disk when it is done. */
export async function askAll(examined: Examined): Promise<Stage<RetrievalCell[]>> {
  const { method, settings, model } = examined;
  const result: RetrievalCell[] = [];
  let seconds = 0;
  let fresh = false;
  for (const questions of settings.questions.filter(({ methods }) => methods.includes(method))) {
    for (const length of questions.lengths) {
      for (const aligned of questions.aligned && hasChunks(model) ? [false, true] : [false]) {
        const stage = await askAt(examined, questions, length, aligned);
        result.push(...stage.result);
        seconds += stage.seconds;
        fresh ||= stage.fresh;
      }
    }
  }
  return { result, seconds, fresh };
}

function askAt(examined: Examined, questions: Questions, length: number, aligned: boolean): Promise<Stage<RetrievalCell[]>> {
  const { model, method, trained, folder, heldOut, settings: { places, diskFrom, heldOutText, pass } } = examined;
  const { task, depths, samples, streams, ends, options } = questions;
  const asked: Asked = { task, depths, samples, streams, ends, options };
  const name = [method, task, length, ...(aligned ? ["aligned"] : []), ...(streams ? ["streams"] : [])].join("-");
  const decides = { trained, asked, length, aligned, places, diskFrom, pass, text: [heldOutText, heldOut.length] };
  return resumable(join(folder, "answers", `${name}.json`), decides, () =>
    underBar(`${method}: ${task} at ${lengthName(length)}${aligned ? ", aligned" : ""}`, (onProgress) => {
      if (streams) return askStreams(examined, asked, streams, length, onProgress);
      const ask = (reader: SequenceModel) => askTexts(examined, reader, asked, length, aligned, onProgress);
      return length >= diskFrom ? readingLong(model, folder, (reader) => ask(reader.model)) : ask(model);
    }));
}

/** A text for each question. Unaligned ones stand at different places of a chunk, for which prompts are up to a chunk shorter. */
async function askTexts(
  { parameters, chunk, heldOut, settings, key, signal }: Examined, model: SequenceModel, { task, depths, samples, ends, options }: Asked,
  length: number, aligned: boolean, onProgress: OnProgress,
): Promise<RetrievalCell[]> {
  const places = Math.min(settings.places, samples, chunk);
  const prompts = aligned
    ? [{ tokens: length - ((length - 1) % chunk), samples }] // its last token is the first of a chunk
    : Array.from({ length: places }, (_, place) => ({
      tokens: length - Math.floor((place * chunk) / places),
      samples: Math.floor(((place + 1) * samples) / places) - Math.floor((place * samples) / places),
    }));
  const total = depths * prompts.reduce((sum, prompt) => sum + prompt.tokens * prompt.samples, 0);
  const found: TaskCell[] = [];
  let before = 0;
  for (const { tokens, samples: count } of prompts) {
    const batch = Math.min(MOST_ROWS, Math.max(1, Math.floor(settings.sideBySide / tokens)));
    for (const [i, depth] of middles(depths).entries()) {
      const { cells } = await taskAccuracy(model, parameters, TASKS[task], {
        // Names and keys of its own at each depth: else all would have the same few.
        ...options, key: foldIn(key, i), lengths: [tokens], depths: [depth], spread: 0.5 / depths, samples: count,
        text: heldOut, ends, signal, chunk: settings.pass, batch, onProgress: (done) => onProgress(before + done, total),
      });
      found.push(...cells);
      before += tokens * count;
    }
  }
  return middles(depths).map((depth) => cellOf(found.filter((cell) => cell.depth === depth),
    { task, length, depth, aligned, perStream: 1 }));
}

/** Several questions to a stream. Depths are evenly spaced over all questions, and each stream has all kinds of them. */
function askStreams(examined: Examined, asked: Asked, streams: number, length: number, onProgress: OnProgress): Promise<RetrievalCell[]> {
  return readingLong(examined.model, examined.folder, async (reader) => {
    const all = middles(asked.depths * asked.samples);
    const answers: AskedQuestion[] = [];
    for (let stream = 0; stream < streams; stream++) {
      const depths = all.filter((_, i) => i % streams === stream);
      const done = (tokens: number) => onProgress(stream * length + tokens, streams * length);
      answers.push(...await askStream(examined, reader, asked, { number: stream, length, depths }, done));
    }
    return cellsOfStreams(asked, length, answers, Math.ceil(all.length / streams));
  });
}

/** One stream, with a key at each depth; `whole`: read in full all the way. */
export async function askStream(
  { parameters, heldOut, settings, key, signal }: Examined, reader: LongReader, { task, ends, options }: Asked,
  { number, length, depths, whole }: { readonly number: number; readonly length: number; readonly depths: readonly number[];
    readonly whole?: boolean },
  onProgress: OnProgress,
): Promise<readonly AskedQuestion[]> {
  const { questions } = await askedFromOneStream(reader.model, parameters, TASKS[task], {
    ...options, key: foldIn(foldIn(key, length), number), length, depths, whole, text: heldOut, ends, chunk: settings.pass,
    signal, onProgress,
  });
  return questions;
}

/** The answers of streams by depth. */
export function cellsOfStreams({ task, depths }: Asked, length: number, answers: readonly AskedQuestion[],
  perStream: number): RetrievalCell[] {
  return middles(depths).map((depth, i) => {
    const here = answers.filter((answer) => Math.floor(answer.depth * depths) === i);
    return cellOf(here.map(asCell), { task, length, depth, aligned: false, perStream });
  });
}

/** The middles of so many equal parts of 0 ... 1. */
export function middles(count: number): number[] {
  return Array.from({ length: count }, (_, i) => (i + 0.5) / count);
}

type Part = Pick<TaskCell, "samples" | "correct" | "characters" | "answerBits" | "teacherForced">;

const asCell = ({ exact, characters, answerBits, teacherForced }: AskedQuestion): Part => ({ samples: 1, correct: exact, characters,
  answerBits, teacherForced });

/** Answers of one depth together. */
function cellOf(parts: readonly Part[], place: Pick<RetrievalCell, "task" | "length" | "depth" | "aligned" | "perStream">): RetrievalCell {
  const sum = (of: (part: Part) => number) => parts.reduce((total, part) => total + of(part), 0);
  const [samples, correct] = [sum((part) => part.samples), sum((part) => part.correct)];
  const mean = (name: "characters" | "answerBits" | "teacherForced") => sum((part) => part[name] * part.samples) / samples;
  const { task, length, depth, aligned, perStream } = place;
  return {
    task, length, depth, samples, accuracy: correct / samples, aligned, correct, ci95: wilsonInterval(correct, samples),
    characters: mean("characters"), teacherForced: mean("teacherForced"), answerBits: mean("answerBits"), perStream,
  };
}
