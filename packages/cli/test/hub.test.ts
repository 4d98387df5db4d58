/** Checkpoints of the hub through the commands, from a hub that is played on loopback. */
import { lstat, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { playHub, type PlayedHub } from "../../data/test/playedHub";
import { lenggen, start } from "./lenggen";
import { CONFIG, trainBase, workplace, type Workplace } from "./trained";

let place: Workplace;
let hub: PlayedHub;
let weights: Uint8Array;
beforeAll(async () => {
  place = await workplace();
  await trainBase(place);
  weights = await readFile(join(place.folder, "runs", "base", "checkpoints", "step-6", "model.safetensors"));
  const files = { "config.json": JSON.stringify(CONFIG), "model.safetensors": { bytes: weights, large: true }, "README.md": "# Small" };
  const lines = (word: string): string => Array.from({ length: 20 }, () => `${JSON.stringify({ body: `${word} of times. ` })}\n`).join("");
  const texts = { "README.md": "# Texts", "data/best.jsonl": lines("The best"), "data/worst.jsonl": lines("The worst"), "more.txt": "No" };
  hub = await playHub({ "some/small": { files }, "some/slow": { files }, "datasets/some/texts": { files: texts } });
});
afterAll(async () => {
  await hub.close();
  await place.remove();
});

const run = (args: readonly string[], env: NodeJS.ProcessEnv = {}) => lenggen(args, { cwd: place.folder, env: environment(env) });
const environment = (env: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv =>
  ({ HF_HOME: join(place.folder, "hf"), HF_ENDPOINT: hub.endpoint, HF_TOKEN: "",
    LENGGEN_CACHE: join(place.folder, "cache"), ...env });

describe("checkpoints of the hub", () => {
  const evaluation = ["eval", "loss-by-position", "--checkpoint", "hf:some/small", "--text", "book.txt", "--lengths", "64",
    "--samples", "2", "--train-length", "32", "--device", "reference"];

  it("are evaluated, as those in a folder", async () => {
    const commit = hub.commitOf("some/small");
    const fetched = await run([...evaluation, "--json"]);
    expect(fetched.stderr).toMatch(new RegExp(
      `hf:some/small@${commit}: fetching 2 files, .* KiB \\(config\\.json .*, model\\.safetensors .*\\), into .*hf/hub`));
    const said = JSON.parse(fetched.stdout) as { hub: string; result: unknown };
    expect(said.hub).toBe(`hf:some/small@${commit}`);
    const local = await run([...evaluation.map((word) => (word === "hf:some/small" ? "runs/base" : word)), "--json"]);
    expect(said.result).toEqual((JSON.parse(local.stdout) as { result: unknown }).result);
    const again = await run(evaluation);
    expect(again.stderr).not.toContain("fetching");
    expect(hub.sent["model.safetensors"]).toBe(weights.length);
  });

  it("are measured on texts of the hub, of which only those asked for are fetched", async () => {
    const text = "hf:datasets/some/texts/data/*st.jsonl";
    const args = evaluation.map((word) => (word === "book.txt" ? text : word));
    const { stdout, stderr } = await run([...args, "--field", "body", "--json"]);
    expect(JSON.parse(stdout)).toMatchObject({ text: `hf:datasets/some/texts@${hub.commitOf("datasets/some/texts")}/data/*st.jsonl`,
      read: { textBytes: 20 * "The best of times. The worst of times. ".length } });
    expect(stderr).toContain("fetching 2 files");
    expect(hub.sent["more.txt"]).toBeUndefined();
    expect(await run(args.map((word) => word.replace("/data/*st.jsonl", "")))).toMatchObject({ code: 2, error: expect.stringMatching(
      /hf:datasets\/some\/texts@main holds 3 files of text; name one, a folder, or several with \*, .* \[E_ARGUMENT\]$/) as string });
  });

  it("are trained on, and the run's record names the commit", async () => {
    const { stderr } = await run(["post-train", "--method", "state-passing", "--checkpoint", "hf:some/small@main", "--text", "book.txt",
      "--context", "32", "--batch", "2", "--steps", "2", "--out", "runs/passed", "--device", "reference"]);
    expect(stderr).not.toMatch(/E_/);
    const record = await readFile(join(place.folder, "runs", "passed", "run.json"), "utf8");
    expect(record).toContain(`"hub": "hf:some/small@${hub.commitOf("some/small")}"`);
  });

  it("write without a network once they are there, and say what is missing before", async () => {
    const offline = { HF_HUB_OFFLINE: "1" };
    const words = ["--prompt", "It was", "--tokens", "4", "--device", "reference"];
    expect(await run(["generate", "hf:some/small", ...words], offline)).toMatchObject({ code: 0 });
    expect(await run(["generate", "hf:some/slow", ...words], offline)).toMatchObject({ code: 1, error: expect.stringMatching(
      /hf:some\/slow@main: nothing is fetched, as HF_HUB_OFFLINE is set; .*refs\/main would name a commit, .* \[E_MISSING\]$/) as string });
    const gone = await playHub({});
    await gone.close();
    expect(await run(["generate", "hf:some/slow", ...words], { HF_ENDPOINT: gone.endpoint })).toMatchObject({ code: 1,
      error: expect.stringMatching(/the hub can't be asked: .* takes no connection \(ECONNREFUSED\); .* \[E_NETWORK\]$/) as string });
  });

  it("are refused by name where there are none", async () => {
    expect(await run(["generate", "hf:some/smal", "--prompt", "x"])).toMatchObject({ code: 1,
      error: expect.stringMatching(/hf:some\/smal@main: .* has no model some\/smal, or keeps it private: .* \[E_MISSING\]$/) as string });
    expect(await run(["generate", "hf:some/small@old", "--prompt", "x"])).toMatchObject({ code: 1,
      error: expect.stringMatching(/some\/small has no branch, tag or commit "old".* \[E_MISSING\]$/) as string });
    expect(await run(["generate", "hf:some", "--prompt", "x"])).toMatchObject({ code: 1 });
  });

  it("are converted, and what comes out is no part of the cache", async () => {
    expect(await run(["convert", "hf:some/small", "converted"])).toMatchObject({ code: 0 });
    expect(await readFile(join(place.folder, "converted", "config.json"), "utf8")).toContain("Mamba2");
    expect((await lstat(join(place.folder, "converted", "model.safetensors"))).isFile()).toBe(true);
  });

  it.each([["SIGINT", 130], ["SIGKILL", null]] as const)("go on behind what came where %s ended the command", async (signal, code) => {
    const name = `some/slow-${signal.toLowerCase()}`;
    hub.repositories[name] = hub.repositories["some/small"]!;
    const before = hub.sent["model.safetensors"]!;
    hub.faults.push({ path: "model.safetensors", cutAfter: 1000 }, { path: "model.safetensors", silent: true });
    const running = start(["generate", `hf:${name}`, "--prompt", "x"], { cwd: place.folder, env: environment() });
    while (hub.faults.length > 0) await new Promise((resolve) => setTimeout(resolve, 50));
    running.process.kill(signal);
    const ended = await running.finished;
    expect(ended.code).toBe(code);
    if (signal === "SIGINT") expect(ended.error).toContain("[E_INTERRUPTED]");
    const again = await run(["generate", `hf:${name}`, "--prompt", "It", "--tokens", "2", "--device", "reference"]);
    expect(again).toMatchObject({ code: 0, stderr: expect.stringMatching(/1000 bytes of them are there from before/) as string });
    expect(hub.sent["model.safetensors"]! - before).toBe(weights.length);
  });
});
