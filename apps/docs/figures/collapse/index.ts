/**
 * The figure "collapse": a small model is trained on short sequences, in this page or as it was recorded, and read far beyond them; then
 * trained on in one of the ways to mend it.
 */
import { chartView } from "../shared/chart";
import { button, choices, element, numbers, setText, slider } from "../shared/dom";
import { begin, type DeviceChoice, type Tools } from "../shared/figure";
import { textAddress } from "../shared/files";
import { Jobs, Stopped } from "../shared/job";
import { play } from "../shared/play";
import { about, count } from "../shared/words";
import type { Curves, Recorded, Snapshot } from "./curves";
import { FIRST_LENGTH, LENGTHS, REACH, type Way } from "./plan";
import type { Told } from "./training";
import { chartOf, findingOf, type Shown, tableOf, WAY_NAMES } from "./view";
import type { Request } from "./worker";

type FromWorker = Told | { readonly kind: "device"; readonly description: string };

export async function mount(stage: HTMLElement, { state, status, signal }: Tools): Promise<void> {
  const [recorded, device] = await begin<Recorded>(new URL("./recorded.json", import.meta.url));
  const jobs = new Jobs<Request, FromWorker>(() => new Worker(new URL("./worker.ts", import.meta.url), { type: "module" }), signal);
  const chart = chartView();
  const table = numbers();
  const finding = element("p");
  const source = element("p", { class: "quiet" });
  const progress = element("progress", { "max": 1, "hidden": true, "aria-label": "Progress of the training" });
  /** What was trained in this page, by training length. */
  const trained = new Map<number, { curves: Curves; on: string }>();
  let at: Shown["at"];
  let playing: AbortController | undefined;

  const length = slider("Training length", LENGTHS, FIRST_LENGTH, (value) => `${count(value)} bytes`, () => changed());
  const way = choices("Then trained on from", WAY_NAMES, "state-passing", () => changed());
  const train = button("train", "", () => void trainHere(), { main: device.kind === "webgpu" });
  const replay = button("play", "Play the recorded training", () => void playRecorded(),
    { main: device.kind !== "webgpu", used: true });

  /** What this page trained, where it did, else what was recorded. */
  const curvesNow = (): { curves: Curves; on: string | undefined } => {
    const here = trained.get(length.value);
    return here && (jobs.busy || here.curves.ways[way.value]) ? here : { curves: recorded.lengths[length.value], on: undefined };
  };
  const shownNow = (): Shown => ({ length: length.value, way: way.value, curves: curvesNow().curves, at });

  function show(): void {
    const shown = shownNow();
    chart.show(chartOf(shown));
    table.show(tableOf(shown));
    setText(finding, findingOf(shown));
    const { on } = curvesNow();
    setText(source, on === undefined
      ? `Recorded numbers, from real runs of the same training (${recorded.device}).${device.kind === "webgpu" ? ""
        : " This browser gives the page no GPU: play them, or train here in plain JavaScript."}`
      : `Computed in this page: ${on}.`);
    stage.dataset["shows"] = on === undefined ? "recorded" : "computed";
    const busy = jobs.busy || playing !== undefined;
    setText(train, busy ? "Stop" : device.kind === "webgpu" ? "Train on your GPU" : `Train here, ${about(SECONDS)}`);
    replay.hidden = busy;
    progress.hidden = !busy;
  }

  function changed(): void {
    stopAll();
    at = undefined;
    status("");
    show();
  }

  function stopAll(): void {
    playing?.abort();
    jobs.stop();
  }

  async function playRecorded(): Promise<void> {
    stopAll();
    const curves = recorded.lengths[length.value];
    trained.delete(length.value);
    const later = curves.ways[way.value]!;
    const frames: Shown["at"][] = [...curves.base.map((_, base) => ({ base })),
      ...later.map((_, i) => ({ base: curves.base.length - 1, way: i }))];
    const mine = playing = new AbortController();
    state("busy");
    await play(frames, AbortSignal.any([mine.signal, signal]), (frame, i) => {
      at = frame;
      progress.value = (i + 1) / frames.length;
      const snapshot = frame!.way === undefined ? curves.base[frame!.base]! : later[frame!.way]!;
      status(`Recorded: step ${count(snapshot.step)}${frame!.way === undefined ? "" : ` of ${WAY_NAMES[way.value]}`}.`);
      show();
    });
    if (playing !== mine) return;
    playing = undefined;
    at = undefined;
    state("ready");
    status("");
    show();
  }

  async function trainHere(): Promise<void> {
    if (jobs.busy || playing) {
      stopAll();
      return;
    }
    const [bytes, method] = [length.value, way.value];
    const before = trained.get(bytes);
    const parts: { ends: readonly number[]; base: Snapshot[]; later: Snapshot[] } = { ends: [], base: [], later: [] };
    let on = device.kind === "webgpu" ? "your GPU" : "plain JavaScript";
    state("busy");
    status("Loading what computes, and the text.");
    const keep = (): void => {
      if (parts.ends.length === 0 && !before) return;
      // A base that is trained anew has not been trained on yet.
      const ways = { ...(parts.base.length === 0 && before?.curves.ways), ...(parts.later.length > 0 && { [method]: parts.later }) };
      trained.set(bytes, { curves: { ends: parts.ends.length > 0 ? parts.ends : before!.curves.ends, ways,
        base: parts.base.length > 0 ? parts.base : before!.curves.base }, on });
    };
    const job = jobs.run(requestFor(device, bytes, method), (told) => {
      if (told.kind === "device") on = told.description;
      else if (told.kind === "curve") {
        parts.ends = told.ends;
        (told.part === "base" ? parts.base : parts.later).push(told.snapshot);
        keep();
        const { base } = trained.get(bytes)!.curves;
        at = { base: base.length - 1, ...(parts.later.length > 0 && { way: parts.later.length - 1 }) };
        show();
      } else {
        progress.value = shareOf(told) ?? progress.value;
        status(wordsOf(told));
      }
    });
    show();
    try {
      await job;
      status("");
    } catch (error) {
      if (signal.aborted) return;
      status(error instanceof Stopped ? "Stopped." : `The training stopped: ${error instanceof Error ? error.message : String(error)}`);
    }
    if (!jobs.busy && !playing) {
      at = undefined;
      state("ready");
      show();
    }
  }

  stage.replaceChildren(element("div", { class: "lg" },
    element("div", { class: "controls" }, length.element, way.element),
    chart.element, finding, progress,
    element("div", { class: "buttons" }, ...(device.kind === "webgpu" ? [train, replay] : [replay, train])), source, table.element));
  show();
}

/** In plain JavaScript; measured in Chromium on a server's core at 2.6 GHz. */
const SECONDS = 65;

const requestFor = (device: DeviceChoice, length: number, way: Way): Request =>
  ({ device, length, way, text: textAddress() });

/** How far a training is, 0 ... 1, the base's four fifths of it; undefined while it waits for a measurement. */
function shareOf(told: Told): number | undefined {
  if (told.kind !== "step") return undefined;
  return told.part === "base" ? (0.8 * told.step) / told.steps : 0.8 + (0.2 * told.step) / told.steps;
}

function wordsOf(told: Exclude<Told, { kind: "curve" }>): string {
  const what = told.part === "base" ? "Training from zero states" : `Training on, ${WAY_NAMES[told.part]}`;
  // Every tenth step, so that a screen reader is not told each one.
  return told.kind === "step" ? `${what}: step ${count(Math.ceil(told.step / 10) * 10)} of ${count(told.steps)}.`
    : `${what}: reading ${count(REACH)} bytes.`;
}

