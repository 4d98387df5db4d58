/** The figure "state": how large a state grows as a text is read, for a model that met long texts' states in training and one that did not. */
import { chartView } from "../shared/chart";
import { button, choices, element, numbers, setText, slider } from "../shared/dom";
import { begin, type Tools } from "../shared/figure";
import { textAddress, weightAddresses } from "../shared/files";
import { Jobs, Stopped } from "../shared/job";
import { MEMBERS } from "../shared/members";
import { play } from "../shared/play";
import { count } from "../shared/words";
import { chartOf, findingOf, MEASURES, moments, READ, type Recorded, type Shown, tableOf } from "./view";
import type { Request, Told } from "./worker";

export async function mount(stage: HTMLElement, { state, status, signal }: Tools): Promise<void> {
  const [recorded, device] = await begin<Recorded>(new URL("./recorded.json", import.meta.url));
  const jobs = new Jobs<Request, Told>(() => new Worker(new URL("./worker.ts", import.meta.url), { type: "module" }), signal);
  const chart = chartView();
  const table = numbers();
  const finding = element("p");
  const source = element("p", { class: "quiet" });
  let sizes: Shown["sizes"] = recorded.sizes;
  let on: string | undefined;
  let playing: AbortController | undefined;

  const upTo = slider("Read so far", moments(recorded.sizes.base), READ, (value) => `${count(value)} bytes`, () => {
    playing?.abort();
    show();
  });
  const measure = choices("What is measured", MEASURES, "norm", () => show());
  const heads = element("input", { "type": "checkbox", "data-use": "click" });
  heads.addEventListener("change", () => show());
  const words = element("textarea", { rows: 3, maxlength: READ, spellcheck: false,
    placeholder: "Nothing here: the models read the end of Moby-Dick that they were not trained on." });
  const read = button("compute", "", () => void readHere(), { main: true, used: true });

  function show(): void {
    const shown: Shown = { sizes, measure: measure.value, upTo: upTo.value, heads: heads.checked };
    chart.show(chartOf(shown));
    table.show(tableOf(shown));
    setText(finding, findingOf(shown));
    setText(source, on === undefined
      ? `Recorded numbers (${recorded.device}). \u201cRead\u201d lets the page compute, ${device.kind === "webgpu" ? "on your GPU"
        : "in plain JavaScript, as it is given no GPU"}.`
      : `Computed in this page: ${on}.`);
    stage.dataset["shows"] = on === undefined ? "recorded" : "computed";
    setText(read, jobs.busy ? "Stop" : `Read ${count(READ)} bytes`);
  }

  async function readHere(): Promise<void> {
    if (jobs.busy) return jobs.stop();
    playing?.abort();
    const before = { sizes, on };
    const own = words.value;
    sizes = {};
    on = device.kind === "webgpu" ? "your GPU" : "plain JavaScript";
    state("busy");
    status("Reading with both models.");
    const job = jobs.run({
      device,
      text: own.length > 0 ? { words: own } : { address: textAddress(), from: -READ },
      weights: weightAddresses(),
    }, (told) => {
      sizes = { ...sizes, [told.member]: told.sizes };
      on = told.device;
      show();
    });
    show();
    try {
      await job;
      status(own.length > 0 && own.length < READ ? `Your text is shorter than ${count(READ)} bytes, and was read over and over.` : "");
      await film();
    } catch (error) {
      if (signal.aborted) return undefined;
      ({ sizes, on } = before);
      status(error instanceof Stopped ? "Stopped." : `The reading stopped: ${error instanceof Error ? error.message : String(error)}`);
    }
    state("ready");
    show();
    return undefined;
  }

  /** What was read, from the first bytes to the last. */
  async function film(): Promise<void> {
    const mine = playing = new AbortController();
    if (!MEMBERS.every((member) => sizes[member])) return;
    await play(moments(sizes.base!), AbortSignal.any([mine.signal, signal]), (position) => {
      upTo.set(position);
      show();
    }, 90);
  }

  stage.replaceChildren(element("div", { class: "lg" },
    element("div", { class: "controls" }, upTo.element, measure.element,
      element("div", { class: "choices" }, element("label", {}, heads, element("span", {}, "each head")))),
    chart.element, finding,
    element("label", { class: "field" }, element("span", {}, "A text of your own"), words),
    element("div", { class: "buttons" }, read), source, table.element));
  show();
}
