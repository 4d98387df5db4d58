/** The figure "remembrance": how far the next byte's prediction moves when the beginning of a text is cut off, for two models. */
import { chartView } from "../shared/chart";
import { button, element, numbers, setText, slider } from "../shared/dom";
import { begin, type Tools } from "../shared/figure";
import { textAddress, weightAddresses } from "../shared/files";
import { Jobs, Stopped } from "../shared/job";
import { count } from "../shared/words";
import { chartOf, type Curves, cutNear, findingOf, FIRST_LENGTH, LENGTHS, type Recorded, type Shown, tableOf } from "./view";
import type { Request, Told } from "./worker";

/** What a reader cuts off, in shares of the text. */
const SHARES = Array.from({ length: 17 }, (_, i) => i / 16);

export async function mount(stage: HTMLElement, { state, status, signal }: Tools): Promise<void> {
  const [recorded, device] = await begin<Recorded>(new URL("./recorded.json", import.meta.url));
  const jobs = new Jobs<Request, Told>(() => new Worker(new URL("./worker.ts", import.meta.url), { type: "module" }), signal);
  const chart = chartView();
  const table = numbers();
  const finding = element("p");
  const source = element("p", { class: "quiet" });
  /** What this page measured, by length. */
  const measured = new Map<number, { curves: Curves; on: string }>();

  const length = slider("Text, T", LENGTHS, FIRST_LENGTH, (value) => `${count(value)} bytes`, () => {
    jobs.stop();
    status("");
    cut.set(cut.value); // its words name bytes of the text
    show();
  });
  const cutOf = (share: number): number => cutNear(recorded.lengths[length.value]!.base, share * length.value);
  const cut = slider("Cut off, t", SHARES, 0.75, (share) => `the first ${count(cutOf(share))} bytes`, () => show());
  const measure = button("compute", "", () => void measureHere(), { main: true, used: true });

  function show(): void {
    const here = measured.get(length.value);
    const shown: Shown = { length: length.value, curves: here?.curves ?? recorded.lengths[length.value]!, cut: cutOf(cut.value) };
    chart.show(chartOf(shown));
    table.show(tableOf(shown));
    setText(finding, findingOf(shown));
    setText(source, here ? `Computed in this page: ${here.on}.`
      : `Recorded numbers (${recorded.device}), over four texts. \u201cMeasure here\u201d lets the page compute`
        + `${device.kind === "webgpu" ? " on your GPU" : " in plain JavaScript, as it is given no GPU"}.`);
    stage.dataset["shows"] = here ? "computed" : "recorded";
    setText(measure, jobs.busy ? "Stop" : "Measure here");
  }

  async function measureHere(): Promise<void> {
    if (jobs.busy) return jobs.stop();
    const bytes = length.value;
    const before = measured.get(bytes);
    let curves: Curves = {};
    state("busy");
    status("Measuring both models.");
    const job = jobs.run({ device, length: bytes, text: textAddress(), weights: weightAddresses() }, (told) => {
      curves = { ...curves, [told.member]: told.points };
      measured.set(bytes, { curves, on: told.device });
      show();
    });
    show();
    try {
      await job;
      status("");
    } catch (error) {
      if (signal.aborted) return undefined;
      if (before) measured.set(bytes, before);
      else measured.delete(bytes);
      if (error instanceof Stopped) status("Stopped.");
      else status(`The measurement stopped: ${error instanceof Error ? error.message : String(error)}`);
    }
    state("ready");
    show();
    return undefined;
  }

  stage.replaceChildren(element("div", { class: "lg" },
    element("div", { class: "controls" }, length.element, cut.element),
    chart.element, finding, element("div", { class: "buttons" }, measure), source, table.element));
  show();
}
