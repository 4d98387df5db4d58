/** Projects and what can be loaded, without a browser. */
import { dispose, key, open } from "@lenggen/kernels";
import { mamba2, saveMamba2 } from "@lenggen/recurrent";
import { describe, expect, it } from "vitest";
import { FAST_PLAN, type Method, MODELS, type Plan } from "../src/shared/plan";
import { readTar } from "../src/shared/tar";
import { measuredLengths, splitText, textFiles } from "../src/shared/text";
import { trainPhase } from "../src/shared/training";
import { identify, pack, unpack } from "../src/worker/archive";
import { type Files, memoryFiles } from "../src/worker/files";
import { Project } from "../src/worker/project";

const PLAN: Plan = { ...FAST_PLAN, model: "mini-byte", context: 16, batch: 2, steps: 4, laterSteps: 3 };
const TEXT = splitText("My Book!.txt", new Uint8Array(2000).map((_, i) => 97 + ((i * i) % 23)), 16);

/** Trains as the worker does, until the phase's step `stopAt`. */
async function go(project: Project, method: Method, stopAt = Infinity): Promise<string> {
  const device = await open("reference");
  const phase = await project.nextPhase(method);
  const weights = project.weightsOf(phase);
  const stop = new AbortController();
  const { parameters, status, step } = await trainPhase({
    device, plan: project.plan, phase, config: await project.configOf(phase), text: project.text, store: project.store(phase),
    signal: stop.signal, parameters: weights && (() => weights(device)),
    onEvent: (event) => event.kind === "step" && event.step >= stopAt && stop.abort(),
  });
  dispose(parameters);
  device.close();
  return `${phase.folder} ${status} ${step}`;
}

const refused = (code: string, message: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(message) as string }) as unknown;

describe("a project", () => {
  it("goes from phase to phase, and where it was after it is opened again", async () => {
    const files = memoryFiles();
    const project = await Project.create(files, TEXT, PLAN);
    expect(await go(project, "zero", 1)).toBe("1-zero interrupted 1");
    expect(await go((await Project.open(files))!, "zero")).toBe("1-zero done 4");
    const again = (await Project.open(files))!;
    expect(await go(again, "state-passing")).toBe("2-state-passing done 3");
    expect(await go(again, "state-passing", 1)).toBe("3-state-passing interrupted 1");
    expect(await go(again, "zero")).toBe("4-zero done 3");
    const view = (await (await Project.open(files))!.view());
    expect(view).toMatchObject({ textName: "My Book!.txt", textBytes: 2000, plan: PLAN, loaded: null });
    expect(view.phases.map(({ folder, steps, saved }) => [folder, steps, saved]))
      .toEqual([["1-zero", 4, 4], ["2-state-passing", 3, 3], ["3-state-passing", 3, 1], ["4-zero", 3, 3]]);
    expect(view.phases[0]!.records.flatMap((record) => (record.kind === "step" ? [record.step] : []))).toEqual([1, 2, 3, 4]);
    expect(view.phases[1]!.records.filter(({ kind }) => kind === "evaluation").map(({ step }) => step)).toEqual([1, 2, 3]);
    const base = JSON.parse(await (await files.read("4-zero/run.json"))!.text()) as unknown;
    expect(base).toMatchObject({ settings: { base: "3-state-passing/checkpoints/step-1", text: "my-book.train.txt",
      initialStates: { name: "zero" } } });
  });

  it("forgets a phase that never came to a checkpoint when the other method is wanted", async () => {
    const files = memoryFiles();
    const project = await Project.create(files, TEXT, PLAN);
    expect((await project.nextPhase("zero")).folder).toBe("1-zero");
    expect(await project.nextPhase("state-passing")).toMatchObject({ folder: "1-state-passing", first: true });
  });

  it("survives a checkpoint that was cut off", async () => {
    const files = memoryFiles();
    await go(await Project.create(files, TEXT, PLAN), "zero", 1);
    await files.write("1-zero/checkpoints/step-3/model.safetensors", new Blob(["half"]));
    await files.append("1-zero/metrics.jsonl", '{"step":3,"lo');
    const project = (await Project.open(files))!;
    expect((await project.view()).phases[0]).toMatchObject({ saved: 1 });
    expect(await go(project, "zero")).toBe("1-zero done 4");
    expect((await files.all("1-zero/checkpoints")).map((path) => path.split("/")[0])).toEqual(Array(4).fill("step-4"));
  });

  it("goes through an archive", async () => {
    const files = memoryFiles();
    await go(await Project.create(files, TEXT, PLAN), "zero", 1);
    await files.write("1-zero/checkpoints/step-3/model.safetensors", new Blob(["being written"]));
    const archive = await pack(files, "a note\n");
    const found = await identify([{ path: "my-book.tar", content: archive }]);
    const other = memoryFiles();
    if (found.kind !== "project") throw new Error("it is a project");
    await unpack(other, found.files);
    expect(await other.all()).toEqual((await files.all()).filter((path) => !path.includes("step-3")));
    expect(await go((await Project.open(other))!, "zero")).toBe("1-zero done 4");
    const paths = (await readTar(archive, "it")).map(({ path }) => path);
    expect(paths.every((path) => path.startsWith("train-in-a-tab/"))).toBe(true);
    const less = found.files.filter(({ path }) => path !== "my-book.held-out.txt");
    await expect(identify(less)).rejects.toEqual(refused("E_MISSING", /lacks my-book\.held-out\.txt/));
  });

  it("that is damaged is refused", async () => {
    const files = memoryFiles();
    await Project.create(files, TEXT, PLAN);
    const written = JSON.parse(await (await files.read("tab.json"))!.text()) as Record<string, unknown>;
    for (const damage of [{ format: 2 }, { text: 3 }, { plan: { ...PLAN, batch: 0 } },
      { phases: [{ folder: "../x", method: "zero", first: true }] }, { loaded: { checkpoint: "/etc" } }]) {
      await files.write("tab.json", new Blob([JSON.stringify({ ...written, ...damage })]));
      await expect(Project.open(files)).rejects.toMatchObject({ code: "E_FORMAT" });
    }
    await files.write("tab.json", new Blob(["{"]));
    await expect(Project.open(files)).rejects.toMatchObject({ code: "E_FORMAT" });
  });
});

describe("weights from elsewhere", () => {
  async function checkpoint(config: unknown, folder: string, files: Files): Promise<void> {
    const device = await open("reference");
    const model = mamba2(config);
    const parameters = model.init(key(1), device);
    const saved = saveMamba2(model, parameters);
    await files.write(`${folder}config.json`, new Blob([saved.config]));
    await files.write(`${folder}model.safetensors`, saved.weights);
    dispose(parameters);
    device.close();
  }
  const chosen = async (files: Files) =>
    Promise.all((await files.all()).map(async (path) => ({ path, content: (await files.read(path))! })));
  const run = (data: object) => new Blob([JSON.stringify({ format: 1, settings: { data } })]);
  const config = MODELS["mini-byte"].config;

  it("of a run directory: its last checkpoint, and its training length", async () => {
    const files = memoryFiles();
    for (const step of [4, 30, 100]) await checkpoint(config, `runs/base/checkpoints/step-${step}/`, files);
    await files.write("runs/base/run.json", run({ context: 256 }));
    const found = await identify(await chosen(files));
    expect(found).toMatchObject({ kind: "weights", context: 256, weights: { step: 100, about: "base, step 100: mamba2, 23,992 numbers" } });
  });

  it("of a checkpoint's folder, which go on", async () => {
    const files = memoryFiles();
    await checkpoint({ ...config, n_layer: 1 }, "", files);
    const found = await identify(await chosen(files));
    if (found.kind !== "weights") throw new Error("these are weights");
    expect(found.context).toBeNull();
    const store = memoryFiles();
    const project = await Project.create(store, TEXT, PLAN, found.weights);
    expect(await project.wantsFirstMeasurement()).toBe(true);
    expect(await go(project, "zero")).toBe("1-zero done 3");
    expect(await (await Project.open(store))!.view())
      .toMatchObject({ loaded: "a checkpoint: mamba2, 16,108 numbers", phases: [{ folder: "0-loaded" }, { folder: "1-zero", saved: 3 }] });
  });

  it("that will not do are refused with the reason", async () => {
    const files = memoryFiles();
    const refusal = async (code: string, message: RegExp) => expect(identify(await chosen(files))).rejects.toEqual(refused(code, message));
    await refusal("E_MISSING", /the folder is empty/);
    await files.write("run/run.json", run({}));
    await files.write("run/metrics.jsonl", new Blob([""]));
    await refusal("E_MISSING", /there is no model\.safetensors in it/);
    await checkpoint(config, "a/", files);
    await checkpoint(config, "b/checkpoints/step-1/", files);
    await refusal("E_ARGUMENT", /it holds 2 runs/);
    await files.remove("b");
    await files.remove("a/config.json");
    await refusal("E_MISSING", /config\.json must lie beside a\/model\.safetensors/);
    await checkpoint({ ...config, d_model: 16 }, "b/", files);
    await files.write("a/config.json", (await files.read("b/config.json"))!);
    await files.remove("b");
    await refusal("E_WEIGHTS", /has shape/);
    await checkpoint({ ...config, vocab_size: 300 }, "a/", files);
    await refusal("E_CONFIG", /a vocabulary of 300; this page reads text as bytes/);
    await files.write("a/model.safetensors", new Blob(["nothing"]));
    await refusal("E_FORMAT", /safetensors/);
  });
});

describe("a text", () => {
  it("is cut in two, and measured as far as its end goes", () => {
    expect([TEXT.train.length, TEXT.heldOut.length, TEXT.trainName]).toEqual([1800, 200, "my-book.train.txt"]);
    const { lengths, sequences } = measuredLengths(TEXT.heldOut, 16);
    expect([lengths, sequences.map(({ length }) => length)]).toEqual([[16, 64], [65, 65, 65]]);
    const long = measuredLengths(new Uint8Array(100_000), 256);
    expect([long.lengths, long.sequences.length]).toEqual([[256, 1024, 4096, 16384], 4]);
  });

  it("has names that are words of a command", () => {
    expect(["Les Mis\u00e9rables (1862).txt", "\u767d\u9be8.txt", "a.b.c", "x".repeat(300)].map((name) => textFiles(name).trainName))
      .toEqual(["les-mise-rables-1862.train.txt", "text.train.txt", "a-b.train.txt", `${"x".repeat(40)}.train.txt`]);
  });

  it("that is empty or short is refused with what it needs", () => {
    expect(() => splitText("a.txt", new Uint8Array(), 16)).toThrow(refused("E_TEXT", /a\.txt is empty/) as Error);
    expect(() => splitText("a.txt", new Uint8Array(1299), 16))
      .toThrow(refused("E_TEXT", /a\.txt has 1,299 bytes; a training length of 16 needs at least 1,300/) as Error);
    expect(splitText("a.txt", new Uint8Array(1300), 16).heldOut.length).toBe(130);
  });
});

