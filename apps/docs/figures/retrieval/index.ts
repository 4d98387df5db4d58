/** The figure "retrieval": a text with keys in it, read by a DRT; which chunks each landmark picks, and what the model answers. */
import { button, element, setText } from "../shared/dom";
import { begin, type Tools } from "../shared/figure";
import { Jobs, Stopped } from "../shared/job";
import { describe, matrixMarkup } from "./matrix";
import type { Told } from "./reading";
import {
  askerOf, CHUNK, chunksOf, findingOf, keysOf, LONGEST, percent, picksOf, plain, type Reading, type Recorded, verdictOf,
} from "./text";
import type { Request } from "./worker";

type FromWorker = Told | { readonly kind: "device"; readonly description: string };

export async function mount(stage: HTMLElement, { state, status, signal }: Tools): Promise<void> {
  const [recorded, device] = await begin<Recorded>(new URL("./recorded.json", import.meta.url));
  const jobs = new Jobs<Request, FromWorker>(() => new Worker(new URL("./worker.ts", import.meta.url), { type: "module" }), signal);
  let reading: Reading = recorded;
  let on: string | undefined;
  let at = reading.landmarks.length - 2;

  const text = element("textarea", { rows: 6, maxlength: LONGEST, spellcheck: false });
  text.value = recorded.text;
  const name = element("input", { type: "text", maxlength: 12, spellcheck: false, autocomplete: "off" });
  name.value = recorded.name;
  const ask = button("compute", "Read and ask", () => void readHere(), { main: true, used: true });
  const again = button("reset", "The first text again", () => reset());
  const progress = element("progress", { "max": 1, "hidden": true, "aria-label": "Progress of the reading" });
  const answer = element("p", { class: "answer" });
  const finding = element("p");
  const source = element("p", { class: "quiet" });
  const input = element("input", { "type": "range", "min": 0, "step": 1, "data-use": "slide" });
  const shown = element("output");
  input.addEventListener("input", () => {
    at = Number(input.value);
    show();
  });
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "lgf");
  svg.setAttribute("role", "img");
  const list = element("ol", { "class": "chunks", "aria-label": "The text in chunks" });

  function showChunks(): void {
    const { landmarks, name: asked } = reading;
    const landmark = landmarks[at];
    const picks = landmark ? picksOf(landmark) : [];
    const key = keysOf(reading.text).get(asked);
    const items = chunksOf(reading.text, asked).map((chunk, i) => {
      const pick = picks.find((one) => one.chunk === i);
      const asks = landmark !== undefined && (at === i || (at === landmarks.length - 1 && i === at - 1));
      const item = element("li", {
        "data-number": i + 1, "data-share": pick && percent(pick.weight),
        "class": [pick && "picked", asks && "asks", i > at && "later"].filter(Boolean).join(" "),
        "style": `--score: ${Math.sqrt(landmark?.shares[i] ?? 0).toFixed(3)}`,
        "aria-label": `Chunk ${i + 1}${pick ? `, picked with ${percent(pick.weight)}` : ""}${asks ? ", asks" : ""}: ${chunk}`,
      });
      // The key's own letters stand out.
      const from = key ? Math.max(0, key.at - i * CHUNK) : CHUNK;
      const to = key ? Math.min(CHUNK, key.at + asked.length + key.key.length + 5 - i * CHUNK) : 0;
      if (from < to) item.append(chunk.slice(0, from), element("mark", {}, chunk.slice(from, to)), chunk.slice(to));
      else item.append(chunk);
      return item;
    });
    list.replaceChildren(...items);
  }

  function show(): void {
    const { landmarks, name: asked } = reading;
    input.max = String(Math.max(0, landmarks.length - 1));
    input.value = String(at);
    const words = landmarks.length === 0 ? "none yet" : askerOf(reading, at);
    setText(shown, words);
    input.setAttribute("aria-valuetext", words);
    setText(finding, findingOf(reading, at));
    answer.replaceChildren(...(reading.answer === undefined ? ["The model has not answered yet."]
      : [`Asked for ${asked}, it writes `, element("b", {}, reading.answer), ` (${verdictOf(reading)}).`]));
    setText(source, on === undefined
      ? `A recorded reading (${recorded.device}). Change the text or the name, and ask: the page then reads itself.`
      : `Computed in this page: ${on}.`);
    stage.dataset["shows"] = on === undefined ? "recorded" : "computed";
    const busy = jobs.busy;
    setText(ask, busy ? "Stop" : "Read and ask");
    again.hidden = busy;
    progress.hidden = !busy;
    showChunks();
    draw();
  }

  function draw(): void {
    const width = Math.round(svg.clientWidth);
    if (width === 0) return;
    const { markup, height } = matrixMarkup(reading, Math.min(width, 520), at);
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("height", String(height));
    svg.setAttribute("aria-label", describe(reading, at));
    svg.innerHTML = markup;
  }

  function reset(): void {
    jobs.stop();
    text.value = recorded.text;
    name.value = recorded.name;
    reading = recorded;
    on = undefined;
    at = reading.landmarks.length - 2;
    status("");
    show();
  }

  async function readHere(): Promise<void> {
    if (jobs.busy) return jobs.stop();
    const [asked, letters] = [plain(name.value.trim()), plain(text.value)];
    if (asked === "" || letters.length < CHUNK) {
      status(asked === "" ? "Say which key to ask for: the name before its equals sign."
        : `The text has ${letters.length} letters; a landmark needs chunks of ${CHUNK} before it.`);
      (asked === "" ? name : text).focus();
      return undefined;
    }
    let where = "plain JavaScript";
    const before = { reading, on, at };
    reading = { text: letters, name: asked, landmarks: [] };
    on = "reading";
    at = 0;
    state("busy");
    status("Loading the model, 600 kB.");
    const job = jobs.run({
      device, text: letters, name: asked,
      model: {
        config: new URL("../made/drt.json", import.meta.url).href,
        weights: new URL("../made/drt.safetensors", import.meta.url).href,
      },
    }, (told) => {
      if (told.kind === "device") {
        where = told.description;
        status("Reading, chunk by chunk.");
      } else if (told.kind === "landmark") {
        reading = { ...reading, landmarks: [...reading.landmarks, told.landmark] };
        at = reading.landmarks.length - 1;
        progress.value = told.share;
      } else reading = { ...reading, answer: told.answer };
      show();
    });
    show();
    try {
      await job;
      on = where;
      at = reading.landmarks.length - 2;
      status("");
    } catch (error) {
      if (signal.aborted) return undefined;
      ({ reading, on, at } = before);
      status(error instanceof Stopped ? "Stopped." : `The reading stopped: ${error instanceof Error ? error.message : String(error)}`);
    }
    state("ready");
    show();
    return undefined;
  }

  const observer = new ResizeObserver(draw);
  observer.observe(svg);
  signal.addEventListener("abort", () => observer.disconnect());
  stage.replaceChildren(element("div", { class: "lg" },
    element("label", { class: "field" }, element("span", {}, `A text with keys in it, as [[name=key]]; at most ${LONGEST} letters`), text),
    element("div", { class: "controls" }, element("label", { class: "field short" }, element("span", {}, "Ask for"), name),
      element("div", { class: "buttons" }, ask, again)),
    progress, answer,
    element("label", { class: "slider" }, element("span", {}, "Landmark of"), input, shown),
    finding, svg, list, source));
  show();
}
