/** The page: what people do becomes messages to the worker, and what the worker says becomes the page. */
import { LARGEST_TEXT, leastBytes } from "./shared/text";
import type { ChosenFile, DeviceChoice, FromWorker, ToWorker } from "./shared/messages";
import { type Method, problemsOf } from "./shared/plan";
import { byId } from "./page/dom";
import { chosenFiles, download, droppedFiles } from "./page/files";
import { makeSettings, showPlan } from "./page/settingsForm";
import { currentPhase, FIRST_STATE, mainAction, type PageState, type Problem, received, stepsDone, withDevice } from "./page/state";
import { showControls, showFigures } from "./page/view";

const query = new URLSearchParams(location.search);
const wishes = { fallback: query.has("fallback"), reference: query.get("device") === "reference" };

let state: PageState = FIRST_STATE;
/** What to do once the training under way has stopped: the switch was turned. */
let afterStop: Method | undefined;

const worker = new Worker(new URL("./worker/worker.ts", import.meta.url), { type: "module", name: "training" });
const send = (message: ToWorker, transfer: Transferable[] = []): void => worker.postMessage(message, transfer);

worker.addEventListener("message", ({ data }: MessageEvent<FromWorker>) => {
  update(received(state, data, wishes));
  if (data.kind === "saved") download(data.archive, data.name);
  if (data.kind === "stopped" && afterStop !== undefined) goOn(afterStop);
  if (data.kind === "stopped" || data.kind === "failed") afterStop = undefined;
});
worker.addEventListener("error", (event) => {
  fail({ during: "worker", code: "E_UNKNOWN",
    message: `The part of the page that trains has stopped: ${event.message || "it could not be loaded"}. Reload the page; `
      + "what was saved is still there" });
});

function update(next: PageState): void {
  if (next === state) return;
  state = next;
  schedule();
}

/** Figures are redrawn a few times a second at most, so that the page has time for everything else. */
const FIGURES_MS = 150;
let scheduled = false;
let figuresAt = 0;
let later: ReturnType<typeof setTimeout> | undefined;

function schedule(): void {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    showControls(state);
    showPlan(state.plan);
    const wait = figuresAt + FIGURES_MS - performance.now();
    if (wait <= 0) drawFigures();
    else later ??= setTimeout(drawFigures, wait);
  });
}

function drawFigures(): void {
  clearTimeout(later);
  later = undefined;
  figuresAt = performance.now();
  showFigures(state);
}

function fail(problem: Problem): void {
  update({ ...state, activity: "idle", problem });
}

/** The main button, and the form's Enter key. */
async function act(): Promise<void> {
  const action = mainAction(state);
  if (action.kind === "stop") {
    update({ ...state, activity: "stopping" });
    send({ kind: "stop" });
  } else if (action.kind === "continue") goOn(state.method);
  else if (action.kind === "begin") await begin();
}

async function begin(): Promise<void> {
  const { text, plan, method, device } = state;
  if (!text || !device) return;
  if (Object.keys(problemsOf(plan)).length > 0) {
    byId("settings", HTMLDetailsElement).open = true;
    byId("fields").querySelector<HTMLElement>("[aria-invalid=true]")?.focus();
    return;
  }
  if (text.bytes.size < leastBytes(plan.context)) {
    fail({
      during: "text", code: "E_TEXT",
      message: `${text.name} has ${text.bytes.size.toLocaleString("en")} bytes; a training length of ${plan.context} needs at least `
        + `${leastBytes(plan.context).toLocaleString("en")}. Choose a longer text, or a shorter training length in the settings`,
    });
    return;
  }
  update({ ...state, activity: "starting", problem: undefined });
  try {
    const bytes = await text.bytes.arrayBuffer();
    send({ kind: "begin", text: { name: text.name, bytes }, plan, method, device }, [bytes]);
  } catch (error) {
    fail({ during: "text", code: "E_TEXT",
      message: `${text.name} can't be read: ${error instanceof Error ? error.message : String(error)}` });
  }
}

function goOn(method: Method): void {
  if (!state.device) return;
  update({ ...state, activity: "starting", problem: undefined });
  send({ kind: "continue", method, device: state.device });
}

/** The switch takes effect at once: training goes on from the current weights in the other way. */
function turnSwitch(): void {
  const method: Method = state.method === "zero" ? "state-passing" : "zero";
  const phase = currentPhase(state);
  update({ ...state, method });
  if (state.activity === "training" || state.activity === "measuring") {
    afterStop = method;
    update({ ...state, activity: "stopping" });
    send({ kind: "stop" });
  } else if (method === "state-passing" && state.activity === "idle" && phase && stepsDone(phase) > 0
    && phase.method === "zero") goOn(method);
}

function takeText(file: File): void {
  if (state.project || state.activity !== "idle") return;
  if (file.size > LARGEST_TEXT)
    fail({ during: "text", code: "E_TEXT", message: `${file.name} has more than ${LARGEST_TEXT / 2 ** 20} MB; choose a part of it` });
  else update({ ...state, text: { name: file.name, bytes: file }, problem: undefined });
}

async function takeSample(): Promise<void> {
  try {
    const response = await fetch("./moby-dick.txt");
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    update({ ...state, text: { name: "moby-dick.txt", bytes: await response.blob() }, problem: undefined });
  } catch (error) {
    fail({ during: "text", code: "E_TEXT",
      message: `the sample can't be loaded: ${error instanceof Error ? error.message : String(error)}` });
  }
}

async function load(files: readonly ChosenFile[]): Promise<void> {
  if (state.activity !== "idle") return;
  if (state.project && !(await confirmed("Load another run?", "The run in this browser will be deleted. Save it first to keep it.")))
    return;
  send({ kind: "load", files });
}

async function takeDrop(transfer: DataTransfer): Promise<void> {
  const dropped = await droppedFiles(transfer);
  if (dropped?.kind === "text") takeText(dropped.file);
  else if (dropped) await load(dropped.files);
}

async function discard(): Promise<void> {
  if (!(await confirmed("Start over?", "The run in this browser will be deleted. Save it first to keep it."))) return;
  update({ ...state, method: "zero", problem: undefined });
  send({ kind: "discard" });
}

function confirmed(title: string, message: string): Promise<boolean> {
  const dialog = byId("confirm", HTMLDialogElement);
  byId("confirm-title").textContent = title;
  byId("confirm-message").textContent = message;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "discard"), { once: true }));
}

function chooseDevice(device: DeviceChoice): void {
  update(withDevice(state, device));
}

/** A hidden file input that is opened by a button. */
function chooser(button: string, input: string, take: (files: readonly File[]) => void): void {
  const field = byId(input, HTMLInputElement);
  byId(button).addEventListener("click", () => field.click());
  field.addEventListener("change", () => {
    if (field.files && field.files.length > 0) take([...field.files]);
    field.value = ""; // the same file may be chosen again
  });
}

byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  void act();
});
byId("switch").addEventListener("click", turnSwitch);
byId("sample").addEventListener("click", () => void takeSample());
byId("save").addEventListener("click", () => send({ kind: "save" }));
byId("discard").addEventListener("click", () => void discard());
byId("retry").addEventListener("click", () => goOn(state.method));
byId("dismiss").addEventListener("click", () => update({ ...state, problem: undefined }));
byId("use-reference").addEventListener("click", () => chooseDevice({ kind: "reference", fallback: false }));
byId("use-software").addEventListener("click", () => chooseDevice({ kind: "webgpu", fallback: true }));
chooser("choose", "text-file", ([file]) => file && takeText(file));
chooser("load", "run-file", (files) => void load(chosenFiles(files)));
chooser("load-folder", "run-folder", (files) => void load(chosenFiles(files)));
makeSettings((plan) => update({ ...state, plan }));

document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
for (const end of ["dragleave", "drop"] as const) {
  document.addEventListener(end, (event) => {
    if (end === "drop" || event.relatedTarget === null) document.body.classList.remove("dropping");
  });
}
document.addEventListener("drop", (event) => {
  event.preventDefault();
  if (!event.dataTransfer) return;
  void takeDrop(event.dataTransfer);
});

new ResizeObserver(() => drawFigures()).observe(document.body);
showControls(state);
showPlan(state.plan);
send({ kind: "open", fallback: wishes.fallback });
