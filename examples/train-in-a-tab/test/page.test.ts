/** The page's state, words and figures, without a browser. */
import { parameterCount } from "@lenggen/kernels";
import { describe, expect, it } from "vitest";
import { lossFigure, positionFigure, positionLegend, positionTable, rateFigure } from "../src/page/charts";
import { plotMarkup, smoothed, thinned } from "../src/page/plot";
import { FIRST_STATE, mainAction, type PageState, received, stepsDone, withDevice } from "../src/page/state";
import { finding, length, meanRate, problemWords, sentence, size, statusLine, timeLeft, wantsSwitch } from "../src/page/words";
import type { FromWorker, PhaseRecord, PhaseView, ProjectView } from "../src/shared/messages";
import { FAMILIES } from "../src/shared/families";
import { FAST_PLAN, isSmall, MODELS, type ModelName, problemsOf, SLOW_PLAN, withFamily } from "../src/shared/plan";
import { noteFor } from "../src/shared/commands";
import { splitText } from "../src/shared/text";
import { lighter } from "../src/shared/records";

const step = (at: number, steps: number): PhaseRecord => ({
  kind: "step", step: at, steps, loss: 5 / Math.sqrt(at), learningRate: 1e-3, gradientNorm: 1, tokens: at * 10, tokensPerSecond: 1000,
  seconds: at / 10, peakBytes: 0,
});
const measured = (at: number, ratio: number): PhaseRecord => {
  const lengths = [256, 1024, 16384]
    .map((to) => ({ from: to / 2, to, position: to, bitsPerByte: to > 256 ? 2 * ratio : 2, referenceBitsPerByte: 2,
      ratio: to > 256 ? ratio : 1 }));
  return { kind: "evaluation", step: at, name: "loss-by-position",
    results: { trainLength: 256, sequences: 4, lengths, bins: lengths } as never };
};
const phase = (folder: string, steps: number, records: readonly PhaseRecord[], saved: number | null = steps): PhaseView =>
  ({ folder, method: folder.endsWith("zero") ? "zero" : "state-passing", steps, saved, records });
const project = (...phases: PhaseView[]): ProjectView => ({ textName: "book.txt", textBytes: 5000, plan: FAST_PLAN, phases, loaded: null });
const gpu = { name: "webgpu", available: true, reason: "", details: { adapter: "a GPU" } } as const;
const none = { name: "webgpu", available: false, reason: "there is none", details: {} } as const;
const wishes = { fallback: false, reference: false };
const tell = (state: PageState, ...messages: FromWorker[]): PageState =>
  messages.reduce((so, message) => received(so, message, wishes), state);
const ready = (over: Partial<Extract<FromWorker,
  { kind: "ready" }>> = {}): FromWorker => ({ kind: "ready", devices: [gpu], lasting: true, elsewhere: false, project: null, ...over });
const withText = (state: PageState): PageState => ({ ...state, text: { name: "book.txt", bytes: new Blob(["x"]) } });

const zero = phase("1-zero", 4, [step(1, 4), step(2, 4), step(3, 4), step(4, 4), measured(4, 1.9)]);

describe("the state", () => {
  it("is ready for a text where there is a GPU, and asks where there is none", () => {
    const open = tell(FIRST_STATE, ready());
    expect(mainAction(open)).toMatchObject({ kind: "none", why: "Choose a text first." });
    expect(mainAction(withText(open))).toEqual({ kind: "begin", label: "Train" });
    const asking = tell(FIRST_STATE, ready({ devices: [none] }));
    expect(mainAction(withText(asking))).toMatchObject({ kind: "none", why: "Choose above how to go on without a GPU." });
    expect(received(FIRST_STATE, ready({ devices: [none] }), { fallback: false, reference: true }))
      .toMatchObject({ device: { kind: "reference" }, plan: SLOW_PLAN });
    expect(mainAction(withText(tell(FIRST_STATE, ready({ elsewhere: true })))))
      .toMatchObject({ kind: "none", why: expect.stringContaining("another tab") as string });
  });

  it("keeps the family that was chosen when the settings fit another device", () => {
    const chosen: PageState = { ...tell(FIRST_STATE, ready({ devices: [none] })), plan: withFamily(FAST_PLAN, "gla") };
    const slow = withDevice(chosen, { kind: "reference", fallback: false });
    expect(slow.plan).toEqual({ ...SLOW_PLAN, model: "gla-mini-byte" });
    expect(withDevice({ ...slow, devices: [gpu] }, { kind: "webgpu", fallback: false }).plan.model).toBe("gla-tiny-byte");
    const mine = { ...chosen, plan: { ...chosen.plan, steps: 7 } };
    expect(withDevice(mine, { kind: "reference", fallback: false }).plan).toBe(mine.plan);
  });

  it("follows a run: steps, measurements, checkpoints, the end", () => {
    const begun = { ...withText(tell(FIRST_STATE, ready())), activity: "starting" } as const;
    const empty = phase("1-zero", 4, [], null);
    const started = tell(begun, { kind: "started", device: "it", phase: empty, project: project(empty) });
    expect(statusLine(started)).toMatch(/^Compiling/);
    const event = (it: Extract<FromWorker, { kind: "event" }>["event"]): FromWorker => ({ kind: "event", event: it });
    const running = tell(started, event(step(1, 4)), event(step(2, 4)), event({ kind: "checkpoint", step: 2, path: "" }));
    expect([mainAction(running).kind, running.activity, stepsDone(running.project!.phases[0]!), running.project!.phases[0]!.saved])
      .toEqual(["stop", "training", 2, 2]);
    const measuring = tell(running, event(step(3, 4)), event(step(4, 4)), { kind: "measuring", share: 0.25 });
    expect([measuring.activity, timeLeft(measuring)]).toEqual(["measuring", "25%"]);
    const done = tell(measuring, event(measured(4, 1.9)), event({ kind: "checkpoint", step: 4, path: "" }),
      { kind: "stopped", status: "done", step: 4 });
    expect([done.activity, mainAction(done), wantsSwitch(done)])
      .toEqual(["idle", { kind: "continue", label: "Train on from zero states" }, true]);
    expect(statusLine(done)).toBe("Done; kept in this browser. Now turn on state passing.");
    expect(mainAction({ ...done, method: "state-passing" })).toEqual({ kind: "continue", label: "Train on with state passing" });
    const resumed = tell(running, event({ kind: "resumed", step: 1, steps: 4 }));
    expect(resumed.project!.phases[0]!.records).toHaveLength(1);
  });

  it("keeps what was there when something goes wrong", () => {
    const stopped = tell(FIRST_STATE, ready({ project: project(phase("1-zero", 9, [step(1, 9)], 1)) }));
    expect(mainAction(stopped)).toEqual({ kind: "continue", label: "Resume" });
    const lost = tell({ ...stopped, activity: "training" },
      { kind: "failed", during: "continue", code: "E_DEVICE_LOST", message: "webgpu: the device was lost" });
    expect([lost.activity, lost.project, problemWords(lost.problem!)])
      .toEqual(["idle", stopped.project, { title: "The GPU went away", message: "The device was lost." }]);
    const saving = tell({ ...stopped, activity: "training" }, { kind: "failed", during: "save", code: "E_IO", message: "no" });
    expect(saving.activity).toBe("training");
  });

  it("takes the training length of loaded weights", () => {
    const loaded = tell(FIRST_STATE, ready(), { kind: "project", project: null, loaded: { about: "base", context: 99 } });
    expect([loaded.plan.context, mainAction(withText(loaded))]).toEqual([99, { kind: "begin", label: "Train on" }]);
  });
});

describe("words", () => {
  it("say what the measurements say", () => {
    expect(finding(undefined)).toMatch(/^It appears with the first measurement/);
    expect(finding(project(zero)))
      .toBe("At 16k bytes, 64 times the training length, the loss is 1.90 times that with a short memory: it has collapsed.");
    expect(finding(project(phase("1-zero", 4, [measured(2, 1.1)]))))
      .toMatch(/1\.10 times that with a short memory: the long history hurts\.$/);
    expect(finding(project(phase("1-zero", 4, [step(2, 4), measured(2, 1)], 2)))).toMatch(/it holds so far\.$/);
    expect(finding(project(zero, phase("2-state-passing", 4, [measured(4, 1.01)]))))
      .toMatch(/as well as with a short memory\. Before, its loss there was 1\.88 times as high\.$/);
    expect(finding(project(zero, phase("2-state-passing", 4, [measured(4, 1.4)]))))
      .toMatch(/1\.40 times that with a short memory, after 1\.90 times before\.$/);
  });

  it("write numbers as people read them", () => {
    expect([length(256), length(16384), length(1000), length(1536)]).toEqual(["256", "16k", "1,000", "1,536"]);
    expect([size(12), size(2048), size(1.5 * 2 ** 20)]).toEqual(["12 bytes", "2 KB", "1.5 MB"]);
    expect(meanRate([1000, 1000, 1e9])).toBeCloseTo(1500, 0);
    expect([sentence("a b"), sentence("What?"), sentence(""), sentence("a.txt is empty")])
      .toEqual(["A b.", "What?", "", "a.txt is empty."]);
  });

  it("name what is wrong with settings", () => {
    expect(problemsOf(FAST_PLAN)).toEqual({});
    expect(problemsOf({ ...FAST_PLAN, batch: 1.5, seed: Number.NaN, learningRate: 2 })).toEqual({
      batch: "A whole number from 1 to 256.", seed: "A whole number from 0 to 2,147,483,647.", learningRate: "A number from 0 to 1.",
    });
  });
});

describe("models", () => {
  const names = Object.keys(MODELS) as ModelName[];

  it.each(names)("%s is what its label says, and a saved run of it goes on by the command of its note", (name) => {
    const { family, size: words, config } = MODELS[name];
    const model = FAMILIES.make(config);
    expect(model.family).toBe(family);
    const count = parameterCount(model);
    expect(words).toBe(isSmall(name) ? `${Math.round(count / 1000)},000 numbers` : "half a million numbers");
    if (!isSmall(name)) expect(Math.abs(count / 500_000 - 1)).toBeLessThan(0.2);
    const text = splitText("a.txt", new TextEncoder().encode("some text ".repeat(2000)), 32);
    const note = noteFor({ ...FAST_PLAN, model: name }, [{ folder: "1-zero", method: "zero", first: true, saved: 5 }], text);
    expect(note).toContain(isSmall(name) ? "--model 1-zero/checkpoints/step-5/config.json" : `--model ${name} `);
  });
});

describe("figures", () => {
  const size = { width: 600, height: 300 };
  const state = tell(FIRST_STATE,
    ready({ project: project(zero, phase("2-state-passing", 4, [step(1, 4), step(2, 4), measured(2, 1.01)], 2)) }));

  it("have a line for each of the last two phases, with legend and table", () => {
    const { markup, description } = positionFigure(state, size);
    expect(markup.match(/class="line [^"]*"/g)).toEqual(['class="line reference"', 'class="line zero past"', 'class="line state-passing"']);
    expect(description).toBe("Loss by position. from zero states, step 4: 2.00 bits per byte at 256, 3.80 bits per byte at 1k, "
      + "3.80 bits per byte at 16k; state passing, step 2: 2.00 bits per byte at 256, 2.02 bits per byte at 1k, 2.02 bits per byte at "
      + "16k.");
    expect(positionLegend(state).map(({ name }) => name))
      .toEqual(["from zero states, step 4", "state passing, step 2", "same text, short memory"]);
    expect(positionTable(state).rows)
      .toEqual([["256", "2.000", "2.000", "2.000"], ["1k", "3.800", "2.020", "2.000"], ["16k", "3.800", "2.020", "2.000"]]);
    expect(lossFigure(state, size).markup).toContain(">state passing</text>");
    expect(rateFigure(state, size).description).toBe("Training speed: 1,000 bytes per second.");
  });

  it("say so when there is nothing to draw, and hold no number that is none", () => {
    for (const draw of [positionFigure, lossFigure, rateFigure]) {
      for (const each of [FIRST_STATE, state]) expect(draw(each, size).markup).not.toMatch(/NaN|Infinity|undefined/);
      expect(draw(FIRST_STATE, size).markup).toMatch(/not measured yet|while it trains/);
    }
  });

  it("keep text from becoming markup", () => {
    const axis = { type: "linear", domain: [0, 1], format: String } as const;
    expect(plotMarkup({ width: 100, height: 100, x: axis, y: axis, xLabel: "<b>", yLabel: "&", lines: [], empty: "" })).not.toMatch(
      /<b>|&(?!#)/);
  });

  it("draw long runs with few points", () => {
    const points = Array.from({ length: 10_000 }, (_, i) => [i, i] as const);
    expect(thinned(points, 400)).toHaveLength(400);
    expect(thinned(points, 400)[0]).toEqual([12, 12]);
    expect(smoothed([[0, 3], [1, 3], [2, 3]], 20).map(([, y]) => y)).toEqual([3, 3, 3]);
    const records = Array.from({ length: 9000 }, (_, i) => (i % 1000 === 999 ? measured(i, 1) : step(i + 1, 9000)));
    const fewer = lighter([...records, step(9001, 9001)]);
    expect(fewer.length).toBeLessThanOrEqual(4000);
    expect([fewer.filter(({ kind }) => kind === "evaluation").length, fewer.at(-1)!.step]).toEqual([9, 9001]);
  });
});
