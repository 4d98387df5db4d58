/** The table of measures that `lenggen eval` and the reproductions run. A new measure is one line here. */
import {
  check, foldIn, key, type Parameters, partOf, type SequenceModel, type SettingsTable, type Tokens, type TokenSource,
} from "@lenggen/kernels";
import {
  type AskedFromOneStream, askedFromOneStream, askedFromOneStreamSettings, effectiveRemembrance, lossByPosition, type Series,
  stateStatistics, type Task, taskAccuracy, type TaskOptions, TASKS, terminalChart,
} from "@lenggen/evals";
import { lengthName, percent } from "./format";
import { table } from "./table";

export interface MeasureInput {
  readonly model: SequenceModel;
  readonly parameters: Parameters;
  /** Held-out text in tokens; the sequences are cut from it. */
  readonly text: Tokens | TokenSource;
  /** Bytes in each token by its id; undefined where bytes are the tokens. */
  readonly tokenBytes?: ArrayLike<number>;
  readonly lengths: readonly number[];
  /** Length that the model was trained on; for the short-context reference. */
  readonly trainLength: number | undefined;
  /** Sequences, or samples of a task. */
  readonly count: number;
  readonly seed: number;
  /** Tasks: how many segments end before a prompt's last token. */
  readonly ends?: number;
  /** Tasks: their own settings, and the depths to ask at; each sample draws its own unless given. */
  readonly options?: TaskOptions;
  readonly depths?: readonly number[];
  readonly chunk?: number;
  readonly batch?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

export interface Measured {
  readonly result: unknown;
  /** For people. */
  readonly lines: readonly string[];
  /** What was cut from the text, where sequences are: all else of it was not read. */
  readonly read?: { readonly sequences: number; readonly tokens: number };
}

const readOf = (sequences: readonly TokenSource[]) =>
  ({ sequences: sequences.length, tokens: sequences.reduce((sum, sequence) => sum + sequence.length, 0) });

export interface Measure {
  readonly summary: string;
  /** Sequences or samples unless given. */
  readonly count: number;
  /** Bytes of text that it needs at least for these lengths; 0 when it needs none. */
  leastText(lengths: readonly number[]): number;
  /** Settings for `--set`. */
  readonly settings: SettingsTable;
  /** Whether things can be hidden at a given depth. */
  readonly hasDepth: boolean;
  /** Whether it gives losses, in bits per byte. */
  readonly scores?: true;
  /** Whether it speaks bytes, so that a model's tokens must be bytes. */
  readonly bytesOnly: boolean;
  run(input: MeasureInput): Promise<Measured>;
}

/** Sequences of `length` tokens, evenly spaced over a text and not overlapping. Throws `E_TEXT` when they do not fit. */
export function cutSequences(text: Tokens | TokenSource, length: number, count: number): TokenSource[] {
  check(text.length >= length, "E_TEXT", () =>
    `the text has ${text.length} tokens, too few for a length of ${lengthName(length)}; take a longer text or a smaller length`);
  const fitting = Math.min(count, Math.floor(text.length / length));
  const room = Math.floor(text.length / fitting);
  return Array.from({ length: fitting }, (_, i) => partOf(text, i * room, i * room + length));
}

/** A small chart for the terminal, over a logarithmic axis of positions. */
function chart(x: string, y: string, series: readonly Series[]): string[] {
  const width = Math.min(100, process.stdout.columns ?? 80);
  return terminalChart({ id: "terminal", description: y, x: { label: x, type: "log" }, y: { label: y }, series },
    { width, color: process.stdout.isTTY }).split("\n");
}

const longest = (lengths: readonly number[]): number => Math.max(...lengths);
const digits = (value: number): string => value.toFixed(3);
/** For values that may be far below 1. */
const small = (value: number): string => (value === 0 ? "0" : value.toExponential(2));

function taskMeasure(task: Task): Measure {
  return {
    summary: task.summary,
    count: 32,
    settings: task.settings,
    hasDepth: task.hasDepth,
    bytesOnly: true,
    leastText: () => (task.needsText ? 1 : 0),
    async run({ model, parameters, text, lengths, count, seed, ends, options, depths, chunk, batch, signal, onProgress }) {
      const result = await taskAccuracy(model, parameters, task,
        { ...options, key: key(seed), lengths, depths, samples: count, text, ends, chunk, batch, signal, onProgress });
      return {
        result,
        lines: table(["length", ...(depths ? ["depth"] : []), "right", "samples", "95% interval"],
          result.cells.map(({ length, depth, accuracy, samples, ci95 }) =>
          [lengthName(length), ...(depths ? [percent(depth!)] : []), percent(accuracy), samples,
            `${percent(ci95[0])} to ${percent(ci95[1])}`])),
      };
    },
  };
}

/** Measures of text, which have neither settings nor depths, and take any tokens. */
const withoutSettings = { settings: {}, hasDepth: false, bytesOnly: false } as const;

/** What a position in a text is. */
const unitOf = ({ tokenBytes }: Pick<MeasureInput, "tokenBytes">): string => (tokenBytes ? "tokens" : "bytes");

type CurveOptions = Pick<MeasureInput, "chunk" | "batch" | "signal" | "onProgress"> & { readonly length: number };

/** A measure along texts as long as the longest of the lengths asked for. */
function curveMeasure<Result>(
  summary: string,
  measure: (model: SequenceModel, parameters: Parameters, sequences: readonly TokenSource[], options: CurveOptions) => Promise<Result>,
  linesOf: (result: Result, unit: string) => string[],
): Measure {
  return {
    ...withoutSettings,
    summary,
    count: 4,
    leastText: longest,
    async run({ model, parameters, text, tokenBytes, lengths, count, chunk, batch, signal, onProgress }) {
      const length = longest(lengths);
      const sequences = cutSequences(text, length, count);
      const result = await measure(model, parameters, sequences, { length, chunk, batch, signal, onProgress });
      const longestAlone = lengths.length > 1 ? [`one curve, to the longest of the lengths: ${lengthName(length)}`] : [];
      return { result, lines: [...longestAlone, ...linesOf(result, unitOf({ tokenBytes }))], read: readOf(sequences) };
    },
  };
}

export const MEASURES: Readonly<Record<string, Measure>> = {
  "loss-by-position": {
    summary: "Bits per byte by position, beside the same bytes scored with a short context only; their ratio is above 1 where the long "
      + "history hurts.",
    ...withoutSettings,
    scores: true,
    count: 4,
    leastText: (lengths) => longest(lengths) + 1,
    async run({ model, parameters, text, tokenBytes, lengths, trainLength, count, chunk, batch, signal, onProgress }) {
      check(trainLength !== undefined, "E_ARGUMENT",
        () => "loss-by-position needs the length that the model was trained on: give --train-length");
      const sequences = cutSequences(text, longest(lengths) + 1, count);
      const result = await lossByPosition(model, parameters, sequences,
        { trainLength, lengths, tokenBytes, chunk, batch, signal, onProgress });
      const nats = tokenBytes ? result.lengths.map(({ perplexity }) => digits(Math.log(perplexity))) : [];
      return {
        result,
        read: readOf(sequences),
        lines: [
          ...chart(`position (${unitOf({ tokenBytes })})`, "bits per byte", [
            { label: "with all the text before",
              points: result.bins.map(({ position, bitsPerByte }) => ({ x: position, y: bitsPerByte })) },
            { label: "with a short context",
              points: result.bins.map(({ position, referenceBitsPerByte }) => ({ x: position, y: referenceBitsPerByte })) },
          ]),
          ...table(["length", "bits/byte", "short context", "ratio", ...(tokenBytes ? ["nats/token"] : [])],
            result.lengths.map(({ position, bitsPerByte, referenceBitsPerByte, ratio }, i) =>
            [lengthName(position), digits(bitsPerByte), digits(referenceBitsPerByte), digits(ratio), ...nats.slice(i, i + 1)])),
        ],
      };
    },
  },
  "effective-remembrance": curveMeasure(
    "How much the tokens before t still matter at the end of a text, as a curve over t.",
    effectiveRemembrance,
    ({ points }, unit) => [
      ...chart(`${unit} cut off (t)`, "total variation",
        [{ label: "Effective Remembrance", points: points.map(({ t, distance }) => ({ x: t, y: distance })) }]),
      ...table(["t", "distance"], points.map(({ t, distance }) => [t, small(distance)])),
    ],
  ),
  "state-statistics": curveMeasure(
    "Mean and spread of the recurrent state by position, per layer and head and pooled.",
    stateStatistics,
    ({ pooled }, unit) => [
      ...chart(`position (${unit})`, "standard deviation of the state",
        [{ label: "all layers and heads", points: pooled.map(({ position, std }) => ({ x: position, y: std })) }]),
      ...table(["position", "mean", "std"], pooled.map(({ position, mean, std }) => [position, small(mean), small(std)])),
    ],
  ),
  "asked-from-one-stream": {
    summary: "Named keys at different depths of one stream, each asked for from the state that it ends in: "
      + "one pass over the text answers for all.",
    count: 20,
    settings: askedFromOneStreamSettings,
    hasDepth: false,
    bytesOnly: true,
    leastText: () => 1,
    async run({ model, parameters, text, lengths, count, seed, ends, options, chunk, signal, onProgress }) {
      const total = lengths.reduce((sum, length) => sum + length, 0);
      const result: AskedFromOneStream[] = [];
      let before = 0;
      for (const length of lengths) {
        result.push(await askedFromOneStream(model, parameters, TASKS["many-key"], {
          ...options, key: foldIn(key(seed), length), length, questions: count, text, ends, chunk, signal,
          onProgress: (done) => onProgress?.(before + done, total),
        }));
        before += length;
      }
      return {
        result,
        lines: table(["length", "right", "questions", "95% interval"], result.map(({ length, accuracy, questions, ci95 }) =>
          [lengthName(length), percent(accuracy), questions.length, `${percent(ci95[0])} to ${percent(ci95[1])}`])),
      };
    },
  },
  ...Object.fromEntries(Object.entries(TASKS).map(([name, task]) => [name, taskMeasure(task)])),
};
