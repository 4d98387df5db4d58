/** What reading one long stream costs, with each token predicted: speed and memory at lengths on the way, with questions at its end. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { RetrievalCell, StreamingPoint } from "@lenggen/evals";
import { type Device, DTYPES } from "@lenggen/kernels";
import { hasChunks } from "../../chunks";
import { underBar } from "../bar";
import { type LongReader, readingLong } from "./memory";
import { askStream, cellsOfStreams, type Examined, middles, type OnProgress } from "./questions";
import type { GcaRetrievalSettings } from "./settings";

export interface Streamed {
  readonly points: readonly StreamingPoint[];
  readonly cells: readonly RetrievalCell[];
  readonly tier: string;
  /** From the first token to the last, without the questions. */
  readonly seconds: number;
}

type StreamingSettings = NonNullable<GcaRetrievalSettings["streaming"]>;

/** Reads the stream once, after a shorter one. */
export function readStream(examined: Examined, settings: StreamingSettings, device: Device): Promise<Streamed> {
  return readingLong(examined.model, examined.folder, async (reader) => {
    const { method } = examined;
    await underBar(`${method}: a stream to warm up`, (onProgress) =>
      askStream(examined, reader, settings, { number: 1, length: settings.warmUp, depths: middles(1), whole: true }, onProgress));
    return underBar(`${method}: one stream`, (onProgress) => readWatched(examined, reader, settings, device, onProgress));
  });
}

async function readWatched(examined: Examined, reader: LongReader, settings: StreamingSettings, device: Device,
  onProgress: OnProgress): Promise<Streamed> {
  const watch = new Watch(settings.marks, (length) => ({
    deviceBytes: device.memory().used,
    diskBytes: reader.diskBytes(),
    landmarkBytes: landmarkBytes(examined, length),
  }));
  const { length, depths, samples } = settings;
  const answers = await askStream(examined, reader, settings, { number: 0, length, depths: middles(depths * samples), whole: true },
    (done, total) => {
    watch.passed(done);
    onProgress(done, total);
  });
  return { points: watch.points, cells: cellsOfStreams(settings, length, answers, answers.length), tier: reader.tier,
    seconds: watch.seconds };
}

function landmarkBytes({ model, parameters }: Examined, length: number): number {
  if (!hasChunks(model)) return 0;
  const { chunk, width } = model.settings;
  return Math.floor(length / chunk) * width * DTYPES[parameters["norm.weight"]!.dtype].bytes;
}

/**
 * Resident memory when garbage has been collected: else it would tell how long ago that was, some tens of megabytes. The second collection
 * ends what the first has begun.
 */
function residentWithoutGarbage(): number {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  collect();
  collect();
  return process.memoryUsage.rss();
}

type Look = (length: number) => Pick<StreamingPoint, "deviceBytes" | "diskBytes" | "landmarkBytes">;

/** Notes what there is to note when a stream passes its marks. */
class Watch {
  readonly points: StreamingPoint[] = [];
  readonly #started = performance.now();
  /** Most resident memory since the last mark. */
  #most = 0;
  /** Those of the last eighth of the stream so far, and the one before. */
  readonly #passes: { readonly at: number; readonly ms: number }[] = [{ at: 0, ms: this.#started }];

  constructor(private readonly marks: readonly number[], private readonly look: Look) {}

  get seconds(): number {
    return (this.#passes.at(-1)!.ms - this.#started) / 1000;
  }

  passed(length: number): void {
    const ms = performance.now();
    const before = this.#passes.at(-1)!.at;
    this.#passes.push({ at: length, ms });
    this.#passes.splice(0, this.#passes.findLastIndex(({ at }) => at <= (length * 7) / 8));
    this.#most = Math.max(this.#most, process.memoryUsage.rss());
    if (!this.marks.some((mark) => mark > before && mark <= length)) return;
    const from = this.#passes[0]!;
    const tokensPerSecond = ((length - from.at) * 1000) / Math.max(1e-3, ms - from.ms);
    this.points.push({ length, tokensPerSecond, residentBytes: residentWithoutGarbage(), ...this.look(length),
      mostResidentBytes: this.#most });
    this.#most = 0;
  }
}
