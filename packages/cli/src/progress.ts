/**
 * How far a piece of work is, on stderr. On a terminal it is a bar that redraws itself; elsewhere, and on terminals that
 * can't erase a line (TERM=dumb, as in editors), plain lines, the first after five seconds and then at most one each ten, so that logs
 * stay short.
 */
import { count, duration } from "./format";

export interface ProgressOptions {
  /** What is counted, e.g. "steps". */
  readonly unit: string;
  /** What the rate counts, e.g. "tokens", and how many of it make one unit of progress. */
  readonly rate?: { readonly unit: string; readonly perUnit: number };
  /** Whether units take about the same time, so that a rate and the time left can be estimated; true unless given. */
  readonly alike?: boolean;
  /** Where to write; stderr unless given. */
  readonly stream?: NodeJS.WriteStream;
  /** Clock in milliseconds. */
  readonly now?: () => number;
  /** Kind of terminal; the environment variable TERM unless given. */
  readonly terminal?: string;
}

/** Most and least characters of the bar; it gives way to the words. */
const [BAR, SHORTEST_BAR] = [24, 6];
/** Characters of a line where the terminal does not say. Some, such as a container's, say 0. */
const COLUMNS = 80;
const REDRAW_MS = 100;
const LINE_MS = 10_000;
const FIRST_LINE_MS = 5_000;

export class Progress {
  readonly #stream: NodeJS.WriteStream;
  readonly #now: () => number;
  /** Whether lines can be erased and drawn again. */
  readonly #redraws: boolean;
  readonly #first: number;
  /** Where the rate counts from: the first unit that was done, as what came before happens once, such as compiling kernels. */
  #warm: { readonly done: number; readonly at: number } | undefined;
  #written: number;
  #drawn = false;

  /** `done` units are there already when the work starts (a resumed run). */
  constructor(
    private readonly label: string,
    private readonly total: number,
    private readonly options: ProgressOptions,
    done = 0,
  ) {
    this.#stream = options.stream ?? process.stderr;
    this.#now = options.now ?? (() => performance.now());
    this.#redraws = this.#stream.isTTY && (options.terminal ?? process.env.TERM) !== "dumb";
    this.#written = this.#redraws ? -Infinity : this.#now() - LINE_MS + FIRST_LINE_MS;
    this.#first = done;
  }

  /** `done` of the total; `note` is a few words more, e.g. the loss. */
  update(done: number, note = ""): void {
    const now = this.#now();
    if (done > this.#first) this.#warm ??= { done, at: now };
    if (now - this.#written < (this.#redraws ? REDRAW_MS : LINE_MS)) return;
    this.#written = now;
    const text = this.#text(done, note, now);
    if (this.#redraws) {
      this.#stream.write(`\r${text.slice(0, this.#room())}\u001B[K`);
      this.#drawn = true;
    } else this.#stream.write(`${text}\n`);
  }

  /** Takes the bar away and leaves one line, when there is something to say. */
  finish(summary = ""): void {
    if (this.#drawn) this.#stream.write("\r\u001B[K");
    if (summary) this.#stream.write(`${this.label}: ${summary}\n`);
  }

  #text(done: number, note: string, now: number): string {
    const { unit, rate, alike = true } = this.options;
    const share = this.total > 0 ? Math.min(1, done / this.total) : 1;
    const parts = [`${count(done)}/${count(this.total)} ${unit}`];
    if (alike && this.#warm && done > this.#warm.done) {
      const speed = (done - this.#warm.done) / Math.max(1e-3, (now - this.#warm.at) / 1000);
      parts.push(`${count(speed * (rate?.perUnit ?? 1))} ${rate?.unit ?? unit}/s`);
      if (done < this.total) parts.push(`${duration((this.total - done) / speed)} left`);
    }
    if (note) parts.push(note);
    const words = parts.join(", ");
    const width = Math.min(BAR, this.#room() - this.label.length - words.length - 5);
    if (!this.#redraws || width < SHORTEST_BAR) return `${this.label}: ${words}`;
    const filled = Math.round(share * width);
    return `${this.label}: [${"=".repeat(filled)}${" ".repeat(width - filled)}] ${words}`;
  }

  /** Characters of a line, the last column left free. */
  #room(): number {
    return Math.max(20, (this.#stream.columns || COLUMNS) - 1);
  }
}
