import { readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { lenggen, start } from "./lenggen";
import { trainBase, type Workplace, workplace } from "./trained";

let place: Workplace;
beforeAll(async () => {
  place = await workplace();
  await trainBase(place);
});
afterAll(() => place.remove());

const run = (...args: string[]) => lenggen(args, { cwd: place.folder });

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const COMMANDS = ["doctor", "train", "post-train", "eval", "generate", "bench", "reproduce"];

describe("help", () => {
  it("names every command and the exit codes", async () => {
    const { code, stdout, stderr } = await run("--help");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    for (const command of COMMANDS) expect(stdout).toContain(`  ${command} `);
    expect(stdout).toContain("130 interrupted");
  });

  it.each(COMMANDS)("of %s has an example and the common options", async (command) => {
    const { code, stdout } = await run(command, "--help");
    expect(code).toBe(0);
    expect(stdout).toMatch(new RegExp(`For example:\\n  lenggen ${command}`));
    for (const option of ["--device", "--threads", "--seed", "--json"]) expect(stdout).toContain(option);
  });

  it("is there as a command too", async () => {
    expect((await run("help")).stdout).toBe((await run("--help")).stdout);
    expect(await run("help", "train")).toMatchObject({ code: 0, stdout: (await run("train", "--help")).stdout });
  });

  it("gives the version", async () => {
    expect((await run("--version")).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

/** Runs with --json and checks that stdout is one JSON document and nothing else. */
async function json(...args: string[]): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await run(...args, "--json");
  expect({ code, stderr }).toMatchObject({ code: 0 });
  expect(stdout.trimEnd().split("\n")).toHaveLength(1);
  return JSON.parse(stdout) as Record<string, unknown>;
}

describe("--json", () => {
  it("of doctor", async () => {
    const document = await json("doctor");
    expect(document["packages"]).toMatchObject({ "@lenggen/cli": expect.stringMatching(/^\d+\.\d+\.\d+$/) as string, "@lenggen/kernels":
      expect.stringMatching(/^\d+\.\d+\.\d+$/) as string });
    expect(document).toMatchObject({ node: process.versions.node, os: expect.any(String) as string });
    const devices = document["devices"] as { name: string; available: boolean; reason: string; details: object }[];
    expect(devices.map(({ name }) => name).sort()).toEqual(["cpu", "reference", "webgpu"]);
    for (const device of devices) {
      expect(device).toEqual({ name: device.name, available: expect.any(Boolean) as boolean, reason: expect.any(String) as string,
        details: expect.any(Object) as object });
      expect(device.available).toBe(device.reason === "");
    }
  });

  it("of doctor --kernels: how each kernel runs on each device", async () => {
    const { kernels } = (await json("doctor", "--kernels", "--device", "reference")) as { kernels: Record<string,
      { kernel: string; how: string; ops: string[] }[]> };
    expect(Object.keys(kernels)).toEqual(["reference"]);
    expect(kernels["reference"]).toContainEqual({ family: "ssd", kernel: "ssdGradient", how: "fused", ops: ["ssd"] });
    expect(kernels["reference"]).toContainEqual({ family: "matmul", kernel: "matmul", how: "fused", ops: [] });
  });

  it("of doctor, with nothing on stderr where there is no GPU: what drivers print belongs into the reason", async () => {
    const env = { VK_ICD_FILENAMES: undefined, LD_LIBRARY_PATH: undefined, LENGGEN_WEBGPU_FALLBACK: undefined };
    const { code, stdout, stderr } = await lenggen(["doctor", "--device", "webgpu"], { env });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^webgpu +(available: |not available: \S)/m);
  });

  it("of train and post-train", async () => {
    const trained = await json("train", ...place.training, "--steps", "3", "--out", "runs/json");
    expect(trained).toMatchObject({ status: "done", step: 3, steps: 3, tokens: 192,
      checkpoint: join("runs/json", "checkpoints", "step-3") });
    const passed = await json(
      "post-train", "--method", "state-passing", "--checkpoint", "runs/json", "--text", "book.txt", "--batch", "2", "--steps", "2", "--out",
      "runs/passed", "--set", "reset-probability=0.5");
    expect(passed).toMatchObject({ status: "done", step: 2 });
    const record = JSON.parse(await readFile(join(place.folder, "runs/passed/run.json"),
      "utf8")) as { settings: { initialStates: object; data: object } };
    expect(record.settings.initialStates).toMatchObject({ name: "state-passing", resetProbability: 0.5 });
    expect(record.settings.data).toMatchObject({ context: 32 });
  });

  it("of a model with a chunk memory, trained on a task", async () => {
    const drt = {
      model_type: "drt", vocab_size: 256, hidden_size: 16, intermediate_size: 16, num_attention_heads: 2, lower_layers: 1,
      upper_groups: [1], encoder_layers: 1, chunk_size: 8, window: 17, top_k: 2,
    };
    await writeFile(join(place.folder, "drt.json"), JSON.stringify(drt));
    const task = ["--task", "key-retrieval", "--task-share", "0.5", "--task-shortest", "40", "--task-set", "name-length=2", "--task-set",
      "key-length=1"];
    const trained = await json("train", ...place.training, "--model", "drt.json", "--context", "48", ...task, "--steps", "3",
      "--out", "runs/drt");
    expect(trained).toMatchObject({ status: "done", step: 3 });
    const record = JSON.parse(await readFile(join(place.folder, "runs/drt/run.json"),
      "utf8")) as { settings: { model: object; data: object } };
    expect(record.settings).toMatchObject({ model: { family: "drt", chunk_size: 8 },
      data: { task: "key-retrieval", share: 0.5, shortest: 40, context: 48, options: { nameLength: 2, keyLength: 1 } } });
    const on = await json("post-train", "--method", "zero", "--checkpoint", "runs/drt", "--text", "book.txt", "--batch", "2", "--steps",
      "1", "--out", "runs/drt-on");
    expect(on).toMatchObject({ status: "done", step: 1 });
    const asked = await json("eval", "key-retrieval", "--checkpoint", "runs/drt-on", "--text", "book.txt", "--lengths", "96", "--samples",
      "2", "--ends", "2");
    expect(asked).toMatchObject({ memory: "device", result: { cells: [{ length: 96, depth: null, samples: 2 }] } });
    const named = ["--set", "name-length=2", "--set", "key-length=4", "--depths", "0.25,0.75", "--samples", "2"];
    const before = await readdir(place.folder);
    const kept = async (memory: string) => json("eval", "key-retrieval", "--checkpoint", "runs/drt-on", "--text", "book.txt", "--lengths",
      "96", ...named, "--memory", memory);
    const [device, host, disk] = [await kept("device"), await kept("host"), await kept("disk")];
    expect(device).toMatchObject({ settings: { nameLength: 2, keyLength: 4 },
      result: { cells: [{ depth: 0.25, samples: 2 }, { depth: 0.75, samples: 2 }] } });
    for (const elsewhere of [host, disk]) expect(elsewhere["result"]).toEqual(device["result"]);
    const generated = await json("generate", "runs/drt", "--prompt", "It was the best of times, [[", "--tokens", "4");
    expect(generated["tokens"]).toHaveLength(4);
    expect((await json("generate", "runs/drt", "--prompt", "It was the best of times, [[", "--tokens", "4", "--memory", "disk"))["tokens"])
      .toEqual(generated["tokens"]);
    await writeFile(join(place.folder, "prompt.txt"), "It was the best of ");
    expect(await json("generate", "runs/drt", "--prompt-file", "prompt.txt", "--prompt", "times, [[", "--tokens", "4")).toMatchObject({
      tokens: generated["tokens"], prompt: "times, [[", promptFile: "prompt.txt", promptBytes: 28,
    });
    await rm(join(place.folder, "prompt.txt"));
    const begin = ["generate", "runs/drt", "--prompt", "It was the best of times, [[", "--tokens"];
    const whole = (await json(...begin, "12"))["tokens"] as number[];
    for (const memory of ["device", "disk"]) {
      const kept = ["--memory", memory, "--save-state"];
      const first = await json(...begin, "5", ...kept, "saved");
      const second = await json("generate", "runs/drt", "--state", "saved", "--tokens", "7", ...kept, "saved-2");
      expect([first["tokens"], second["tokens"]].flat()).toEqual(whole);
      await rm(join(place.folder, "saved"), { recursive: true });
      await rm(join(place.folder, "saved-2"), { recursive: true });
    }
    expect(await readdir(place.folder)).toEqual(before); // the files on disk are gone
  });

  it("of eval: a measure of text, and a task", async () => {
    const loss = await json("eval", "loss-by-position", "--checkpoint", "runs/base", "--text", "book.txt", "--lengths", "64,128");
    expect(loss).toMatchObject({ measure: "loss-by-position", lengths: [64, 128], result: { trainLength: 32 } });
    const recall = await json("eval", "copying", "--checkpoint", "runs/base", "--text", "book.txt", "--lengths", "64", "--samples", "2");
    expect(recall).toMatchObject({ result: { task: "copying", cells: [{ length: 64, samples: 2 }] } });
  });

  it("of generate: the same seed, the same bytes, whatever the threads", async () => {
    const args = ["generate", "runs/base", "--prompt", "It was", "--tokens", "8", "--seed", "3"];
    const one = await json(...args, "--threads", "1");
    const two = await json(...args, "--threads", "2");
    expect(one["tokens"]).toHaveLength(8);
    expect(two["tokens"]).toEqual(one["tokens"]);
    expect((await json(...args, "--weights", "f16"))["tokens"]).toHaveLength(8);
    expect(await json("eval", "loss-by-position", "--checkpoint", "runs/base", "--lengths", "64", "--samples", "1", "--text", "book.txt",
      "--weights", "f16")).toMatchObject({ weights: "f16" });
  });

  it("of generate: ends before a stop text, whatever tokens it spans", async () => {
    const args = ["generate", "runs/base", "--prompt", "It was", "--tokens", "40", "--temperature", "0.5", "--seed", "3"];
    const whole = await json(...args);
    expect(whole).toMatchObject({ ended: "length", stop: null });
    const text = whole["text"] as string;
    // Three letters from the middle that stand nowhere before.
    const stop = Array.from({ length: 30 }, (_, at) => text.slice(at + 5, at + 8)).find((part, i) => text.indexOf(part) === i + 5)!;
    const ended = await json(...args, "--stop", "absent", "--stop", stop);
    expect(ended).toMatchObject({ ended: "stop", stop, text: text.slice(0, text.indexOf(stop)) });
    expect((ended["tokens"] as number[]).length).toBeGreaterThan(5);
    // Begun and not ended: shown all the same.
    expect(await json(...args, "--stop", `${text.slice(-2)}\u2026`)).toMatchObject({ ended: "length", text });
    const plain = await run(...args, "--stop", stop);
    expect(plain.stdout).toBe(`It was${text.slice(0, text.indexOf(stop))}\n`);
  });

  it("of generate: a saved state goes on to the same bytes, and says what it can't go on with", async () => {
    const begin = ["generate", "runs/base", "--prompt", "It was", "--seed", "3"];
    const whole = await json(...begin, "--tokens", "30");
    const first = await json(...begin, "--tokens", "12", "--save-state", "states/one.state");
    expect(first).toMatchObject({ state: null, savedState: "states/one.state" });
    const second = await json("generate", "runs/base", "--state", "states/one.state", "--tokens", "18", "--save-state", "states/one.state");
    expect(second).toMatchObject({ seed: 3, prompt: "", state: "states/one.state" });
    expect([first["tokens"], second["tokens"]].flat()).toEqual(whole["tokens"]);
    // Read once, asked twice.
    await json("generate", "runs/base", "--prompt-file", "book.txt", "--tokens", "0", "--save-state", "book.state");
    const ask = () => json("generate", "runs/base", "--state", "book.state", "--prompt", "And", "--tokens", "6");
    expect((await ask())["tokens"]).toEqual((await ask())["tokens"]);
    const refused = async (code: string, ...args: string[]) => {
      const { stdout } = await run("generate", "runs/base", ...args, "--json");
      expect(JSON.parse(stdout)).toMatchObject({ error: { code } });
    };
    await refused("E_EXISTS", "--prompt", "x", "--save-state", "book.txt");
    await refused("E_EXISTS", "--prompt", "x", "--save-state", "runs");
    await refused("E_FORMAT", "--state", "book.txt");
    await refused("E_MISSING", "--state", "absent.state");
    await refused("E_CONFIG", "--state", "runs");
    await refused("E_ARGUMENT", "--state", "book.state", "--memory", "disk");
    await refused("E_WEIGHTS", "--state", "book.state", "--weights", "f16");
    expect((await run("generate", "runs/base", "--prompt", "x", "--tokens", "0")).code).toBe(2);
    expect((await run("generate", "runs/base", "--prompt", "x", "--field", "body")).error).toMatch(/--field is for --prompt-file/);
    expect((await run("generate", "runs/base", "--prompt", "x", "--save-state", "")).error).toMatch(/--save-state: the name is empty/);
    // Where nothing can be written is known before anything is.
    expect(await run("generate", "runs/base", "--prompt", "x", "--save-state", "n".repeat(250))).toMatchObject(
      { code: 1, stdout: "", error: expect.stringMatching(/^lenggen: n+: can't be written: the name is too long.*\[E_IO\]$/) as string });
    expect(await readFile(join(place.folder, "book.txt"), "utf8")).toMatch(/^It was the best/);
  });

  it("of bench --composed: an op by its kernel, and by other ops", async () => {
    const { results } = (await json("bench", "rmsNorm", "--threads", "1", "--composed")) as { results: { kernel: string; ms: number }[] };
    expect(new Set(results.map(({ kernel }) => kernel))).toEqual(new Set(["rmsNorm", "rmsNorm composed"]));
    for (const { ms } of results) expect(ms).toBeGreaterThan(0);
  });

  it("of bench", async () => {
    const document = await json("bench", "rmsNorm", "--threads", "1", "--profile");
    expect(document).toMatchObject({ device: expect.any(String) as string });
    const ceiling = document["ceiling"] as Record<string, number>;
    for (const name of ["gflopsOneThread", "gflopsAllThreads", "gexpOneThread", "gexpAllThreads", "copyGBs"])
      expect(ceiling[name]).toBeGreaterThan(0);
    for (const result of document["results"] as Record<string, unknown>[]) {
      expect(result).toMatchObject({ kernel: "rmsNorm", threads: 1, shape: expect.any(String) as string });
      expect(["forward", "backward", "both", "step"]).toContain(result["pass"]);
      for (const name of ["ms", "gflops", "share"]) expect(result[name]).toBeGreaterThan(0);
      expect(result["profile"]).toContainEqual({ kernel: "rmsNorm", calls: 1, ms: expect.any(Number) as number });
    }
  });

  it("of a failure: the error, on stdout too", async () => {
    const { code, stdout } = await run("generate", "absent", "--prompt", "x", "--json");
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toEqual({ error: { code: "E_MISSING", message: "checkpoint absent: there is no such folder or file" } });
  });
});

describe("reproduce unexplored-states", () => {
  it("writes its report in the format that others rely on, and ends with ten lines", async () => {
    const args = ["reproduce", "unexplored-states", "--preset", "smoke", "--seed", "7", "--out", "runs/smoke"];
    const document = await json(...args);
    expect(document).toMatchObject({ experiment: "unexplored-states", preset: "smoke", seed: 7, trainLength: 32,
      tokensTrained: (6 + 5 * 2) * 4 * 32 + (4 + 4 * 2) * 16 * 32 });
    const recall = document["recall"] as { method: string; results: { task: string; cells: { length: number }[] }[] }[];
    expect(recall.map(({ method }) => method)).toEqual(["base", "control", "random-noise", "fitted-noise", "state-passing"]);
    for (const { results } of recall) expect(results.map(({ task, cells }) => [task, ...cells.map(({ length }) => length)]))
      .toEqual([["recall", 32, 128]]);
    const models = document["models"] as Record<string, Record<string, unknown>[]>[];
    expect(models.map(({ method }) => method)).toEqual(["base", "control", "random-noise", "fitted-noise", "state-passing", "tbtt"]);
    for (const { lossByPosition, effectiveRemembrance, stateStd } of models) {
      expect(lossByPosition!.at(-1))
        .toMatchObject({ position: 256, bitsPerByte: expect.any(Number) as number, referenceBitsPerByte: expect.any(Number) as number });
      expect(lossByPosition!.at(-1)!["ci95"]).toHaveLength(2);
      expect(effectiveRemembrance![0]).toMatchObject({ t: 1, distance: expect.any(Number) as number });
      expect(stateStd!.at(-1))
        .toMatchObject({ position: 256, layer: 0, head: expect.any(Number) as number, std: expect.any(Number) as number });
    }
    expect(JSON.parse(await readFile(join(place.folder, "runs/smoke/report.json"), "utf8"))).toEqual(document);
    const html = await readFile(join(place.folder, "runs/smoke/report.html"), "utf8");
    expect(html).toMatch(/^<!doctype html>/i);
    expect(html).not.toMatch(/(src|href)="https?:/);

    const again = await run(...args);
    expect({ code: again.code, error: again.error })
      .toMatchObject({ code: 1, error: expect.stringContaining("holds a finished reproduction already") as string });
  });

  it("takes another model by the path of its configuration", async () => {
    const document = await json("reproduce", "unexplored-states", "--preset", "smoke", "--model", "small.json");
    expect(document).toMatchObject({ model: { family: "mamba2", parameters: expect.any(Number) as number },
      command: "lenggen reproduce unexplored-states --model small.json --preset smoke --seed 0" });
    expect(await readdir(join(place.folder, "runs/unexplored-states-small-smoke-seed0"))).toContain("report.html");
  });

  it("goes on where Ctrl-C stopped it", async () => {
    const args = ["reproduce", "unexplored-states", "--preset", "smoke", "--out", "runs/stopped"];
    const running = start(args, { cwd: place.folder });
    for (let found = false; !found; await pause(5)) {
      found = (await readdir(join(place.folder, "runs/stopped")).catch(() => [] as string[])).includes("control");
    }
    running.process.kill("SIGINT");
    const { code: stopCode, stderr } = await running.finished;
    expect(stopCode).toBe(130);
    expect(stderr).toContain("what is done is in runs/stopped; the same command goes on there");
    const { code, stdout } = await run(...args);
    expect(code).toBe(0);
    const lines = stdout.trimEnd().split("\n").slice(-10);
    expect(lines[0]).toMatch(/^unexplored-states smoke, seed 0, T = 32/);
    expect(lines.filter((line) => line.length > 80 && !line.startsWith("report: "))).toEqual([]);
    const whole = await json(...args.slice(0, -1), "runs/whole");
    const stopped = JSON.parse(await readFile(join(place.folder, "runs/stopped/report.json"), "utf8")) as Record<string,
      { lossByPosition: unknown }[]>;
    expect(stopped["models"]!.map(({ lossByPosition }) => lossByPosition))
      .toEqual((whole["models"] as { lossByPosition: unknown }[]).map(({ lossByPosition }) => lossByPosition));
  });
});

describe("reproduce gca-retrieval", () => {
  it("does some models apart, and writes its report in the format that others rely on", async () => {
    const args = ["reproduce", "gca-retrieval", "--preset", "smoke", "--seed", "7", "--out", "runs/gca"];
    expect(await json(...args, "--only", "drt-2,sliding-window"))
      .toEqual({ experiment: "gca-retrieval", preset: "smoke", seed: 7, models: ["drt-2", "sliding-window"] });
    const answers = await readdir(join(place.folder, "runs/gca/answers"));
    expect(new Set(answers.map((name) => /^(drt-\d|[a-z]+-[a-z]+)-/.exec(name)![1]))).toEqual(new Set(["drt-2", "sliding-window"]));
    await expect(stat(join(place.folder, "runs/gca/report.json"))).rejects.toThrow("ENOENT");
    const trained = await stat(join(place.folder, "runs/gca/drt-2/stage-3/metrics.jsonl"));

    const document = await json(...args);
    expect((await stat(join(place.folder, "runs/gca/drt-2/stage-3/metrics.jsonl"))).mtimeMs).toBe(trained.mtimeMs);
    expect(document).toMatchObject({ experiment: "gca-retrieval", preset: "smoke", seed: 7, trainLength: 96,
      seconds: expect.any(Number) as number });
    const models = document["models"] as { method: string; parameters: number; retrieval: object[] }[];
    expect(models.map(({ method }) => method)).toEqual(["drt-1", "drt-2", "sliding-window", "full-attention"]);
    for (const cell of models.flatMap(({ retrieval }) => retrieval)) {
      expect(cell).toMatchObject({
        task: expect.any(String) as string, length: expect.any(Number) as number, depth: expect.any(Number) as number,
        samples: expect.any(Number) as number, accuracy: expect.any(Number) as number, aligned: expect.any(Boolean) as boolean,
      });
    }
    expect(JSON.parse(await readFile(join(place.folder, "runs/gca/report.json"), "utf8"))).toEqual(document);
    expect(await readFile(join(place.folder, "runs/gca/report.html"), "utf8")).not.toMatch(/(src|href)="https?:/);
  });
});
