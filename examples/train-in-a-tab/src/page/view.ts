/** Brings the page into line with the state. Only what has changed is touched, and figures only when they can be seen. */
import { lossFigure, positionFigure, positionLegend, positionTable, rateFigure, type Figure, type Size } from "./charts";
import { byId, element, setText } from "./dom";
import { currentPhase, mainAction, type PageState, ratesOf, stepsDone } from "./state";
import { count, finding, meanRate, problemWords, sentence, size, statusLine, timeLeft, wantsSwitch } from "./words";

const FIGURES: readonly { readonly id: string; readonly draw: (state: PageState, size: Size) => Figure; readonly height: number }[] = [
  { id: "position-figure", draw: positionFigure, height: 320 },
  { id: "loss-figure", draw: lossFigure, height: 220 },
  { id: "rate-figure", draw: rateFigure, height: 220 },
];

/** Draws everything but the figures: cheap, and at once. */
export function showControls(state: PageState): void {
  const { activity, project, problem, method, loaded } = state;
  const phase = currentPhase(state);
  const busy = activity !== "idle";
  const action = mainAction(state);

  const main = byId("main", HTMLButtonElement);
  setText(main, action.kind === "stop" ? "Stop" : action.label);
  main.disabled = action.kind === "none";
  main.classList.toggle("calm", action.kind === "stop" || wantsSwitch(state));
  byId("switch-row").classList.toggle("next", wantsSwitch(state));
  setText(byId("status"), action.kind === "none" && action.why ? action.why : statusLine(state));
  setText(byId("left"), timeLeft(state));

  showText(state);
  showDevice(state);
  const toggle = byId("switch", HTMLButtonElement);
  toggle.setAttribute("aria-checked", String(method === "state-passing"));
  toggle.disabled = activity === "opening" || activity === "starting" || activity === "stopping" || state.elsewhere;

  const progress = byId("progress");
  progress.hidden = !phase || phase.folder === "0-loaded";
  if (phase && !progress.hidden) {
    const done = stepsDone(phase);
    progress.setAttribute("aria-valuenow", String(done));
    progress.setAttribute("aria-valuemax", String(phase.steps));
    progress.firstElementChild!.setAttribute("style", `width:${((100 * done) / phase.steps).toFixed(1)}%`);
  }

  byId("setting-model", HTMLSelectElement).disabled = busy || project !== undefined || loaded !== undefined;
  for (const field of byId("fields").querySelectorAll("input")) field.disabled = busy || project !== undefined;
  byId("settings-note").hidden = project === undefined;
  byId("save", HTMLButtonElement).disabled = !project || typeof phase?.saved !== "number";
  for (const id of ["load", "load-folder"]) byId(id, HTMLButtonElement).disabled = busy || state.elsewhere;
  const discard = byId("discard", HTMLButtonElement);
  discard.hidden = project === undefined && loaded === undefined;
  discard.disabled = busy;

  const notice = byId("problem");
  const appears = notice.hidden && problem !== undefined;
  notice.hidden = problem === undefined;
  if (problem) {
    const { title, message } = problemWords(problem);
    setText(byId("problem-title"), title);
    setText(byId("problem-message"), message);
    const retry = byId("retry", HTMLButtonElement);
    retry.hidden = problem.code !== "E_DEVICE_LOST" || typeof phase?.saved !== "number";
    setText(retry, `Resume from step ${count(phase?.saved ?? 0)}`);
    if (appears) notice.scrollIntoView({ block: "nearest" });
  }
}

function showText({ text, project, loaded, activity }: PageState): void {
  const name = project?.textName ?? text?.name;
  const bytes = project?.textBytes ?? text?.bytes.size;
  setText(byId("text-name"), name ?? "None yet");
  const note = name === undefined
    ? "Drop a text file here, or"
    : `${size(bytes!)}; the last tenth is held out to measure on.`;
  const from = project?.loaded ?? loaded?.about;
  setText(byId("text-note"), from ? `${note} Weights: ${from}.` : note);
  byId("text-buttons").hidden = project !== undefined || activity === "starting";
}

function showDevice({ device, devices, deviceName, activity }: PageState): void {
  const webgpu = devices.find(({ name }) => name === "webgpu");
  byId("no-gpu").hidden = device !== undefined || activity === "opening";
  const software = webgpu?.details["adapter"];
  setText(byId("no-gpu-reason"), software === undefined
    ? sentence(webgpu?.reason ?? "this browser has no WebGPU")
    : `The browser offers ${software}, which computes in software: far slower than a GPU. If this computer has one, see whether `
      + `hardware acceleration is off in the browser\u2019s settings (chrome://gpu tells why).`);
  byId("use-software").hidden = software === undefined;
  const badge = byId("device");
  badge.hidden = device === undefined;
  const slow = device?.kind === "reference";
  setText(badge, slow ? "Without a GPU: slow, and with a smaller model" : (deviceName ?? `${String(software ?? "GPU")} by WebGPU`));
}

/** Draws the figures and numbers. */
export function showFigures(state: PageState): void {
  const phase = currentPhase(state);
  const step = phase?.records.findLast(({ kind }) => kind === "step");
  setText(byId("now-step"), phase && phase.folder !== "0-loaded" ? `${count(stepsDone(phase))} of ${count(phase.steps)}` : "\u2013");
  setText(byId("now-loss"), step?.kind === "step" ? (step.loss / Math.LN2).toFixed(3) : "\u2013");
  const rates = ratesOf(phase).slice(-8);
  setText(byId("now-rate"), rates.length > 0 ? count(meanRate(rates)) : "\u2013");
  setText(byId("finding"), finding(state.project));
  for (const { id, draw, height } of FIGURES) {
    const svg = byId(id, SVGSVGElement);
    const width = svg.clientWidth;
    if (width === 0) continue;
    const { markup, description } = draw(state, { width, height });
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("aria-label", description);
    if (drawn.get(id) !== markup) svg.innerHTML = markup;
    drawn.set(id, markup);
  }
  const words = JSON.stringify([positionLegend(state), positionTable(state)]);
  if (drawn.get("words") === words) return;
  drawn.set("words", words);
  showLegend(state);
  showTable(state);
}

/** What stands in each figure. */
const drawn = new Map<string, string>();

function showLegend(state: PageState): void {
  const items = positionLegend(state).map(({ name, className }) => {
    const sample = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    sample.setAttribute("viewBox", "0 0 26 10");
    sample.setAttribute("aria-hidden", "true");
    sample.innerHTML = `<path class="line ${className}" d="M1 5H25"/>`;
    return element("li", {}, sample, name);
  });
  byId("legend").replaceChildren(...items);
}

function showTable(state: PageState): void {
  const { head, rows } = positionTable(state);
  byId("position-details").hidden = rows.length === 0;
  byId("position-table").replaceChildren(
    element("thead", {}, element("tr", {}, ...head.map((word) => element("th", { scope: "col" }, word)))),
    element("tbody", {}, ...rows.map(([first = "", ...others]) =>
      element("tr", {}, element("th", { scope: "row" }, first), ...others.map((word) => element("td", {}, word))))),
  );
}
