import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, statfs, symlink, writeFile } from "node:fs/promises";
import type * as fs from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { playHub, type PlayedHub, type PlayedRepository } from "../../../test/playedHub";
import { type HubPlan, type HubRequest, resolveHub } from ".";

vi.mock("node:fs/promises", async (original) => {
  const real = await original<typeof fs>();
  return { ...real, statfs: vi.fn<typeof fs.statfs>(real.statfs) };
});

const sha1 = (text: string): string => createHash("sha1").update(`blob ${text.length}\0${text}`).digest("hex");
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
/** 300 kB that don't repeat. */
const WEIGHTS = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 2654435761) >>> 13);
const CONFIG = '{"model_type":"mamba2"}';
const TOKENIZER = '{"version":"1.0"}';

const MODEL: PlayedRepository = {
  files: {
    "config.json": CONFIG, "tokenizer.json": TOKENIZER, "README.md": "# A model", "model.safetensors": { bytes: WEIGHTS, large: true },
    "pytorch_model.bin": { bytes: WEIGHTS.slice(1), large: true }, "onnx/model.onnx": { bytes: WEIGHTS.slice(2), large: true },
  },
  revisions: { v1: { "config.json": '{"old":1}', "model.safetensors": { bytes: WEIGHTS, large: true } } },
};

let hub: PlayedHub;
let home: string;
let env: NodeJS.ProcessEnv;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "lenggen-hub-"));
  hub = await playHub({ "some/model": structuredClone(MODEL) });
  env = { HF_HOME: home, HF_ENDPOINT: hub.endpoint };
});
afterEach(async () => {
  await hub.close();
  await rm(home, { recursive: true });
});

const resolve = (reference: string, more: Partial<HubRequest> = {}) =>
  resolveHub(reference, { kind: "checkpoint", env, pauses: [1, 1, 1], ...more });

/** Whether a snapshot has the right weights. */
const holdsWeights = async (path: string): Promise<boolean> => (await readFile(join(path, "model.safetensors"))).equals(WEIGHTS);

/** A folder as lines: paths, with what links point to. */
async function tree(folder: string): Promise<string[]> {
  const lines: string[] = [];
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isDirectory()) continue;
    const path = join(entry.parentPath, entry.name);
    lines.push(`${relative(folder, path)}${entry.isSymbolicLink() ? ` -> ${await readlink(path)}` : ""}`);
  }
  return lines.sort();
}

describe("a model of the hub", () => {
  it("is fetched without what is not needed, into the tree that Python's huggingface_hub makes", async () => {
    const plans: HubPlan[] = [];
    const done: number[] = [];
    const { path, commit, reference, files } = await resolve("hf:some/model", {
      onPlan: (plan) => plans.push(plan), onProgress: (bytes) => done.push(bytes) });
    expect(commit).toBe(hub.commitOf("some/model"));
    expect(reference).toBe(`hf:some/model@${commit}`);
    const repository = join(home, "hub", "models--some--model");
    expect(path).toBe(join(repository, "snapshots", commit));
    expect(files.map((file) => relative(path, file)).sort()).toEqual(["config.json", "model.safetensors", "tokenizer.json"]);
    expect(await tree(join(home, "hub"))).toEqual([
      ...[sha1(CONFIG), sha256(WEIGHTS), sha1(TOKENIZER)].sort().map((hash) => `models--some--model/blobs/${hash}`),
      "models--some--model/refs/main",
      `models--some--model/snapshots/${commit}/config.json -> ../../blobs/${sha1(CONFIG)}`,
      `models--some--model/snapshots/${commit}/model.safetensors -> ../../blobs/${sha256(WEIGHTS)}`,
      `models--some--model/snapshots/${commit}/tokenizer.json -> ../../blobs/${sha1(TOKENIZER)}`,
      `models--some--model/trees/${commit}.json`,
    ]);
    expect(await readFile(join(repository, "refs", "main"), "utf8")).toBe(commit);
    expect(await holdsWeights(path)).toBe(true);
    expect(plans).toHaveLength(1);
    expect(plans[0]).toMatchObject({ bytes: WEIGHTS.length + CONFIG.length + TOKENIZER.length, begun: 0, reference });
    expect(done.at(-1)).toBe(plans[0]!.bytes);
  });

  it("is not fetched again, nor asked for more than its commit", async () => {
    const first = await resolve("hf:some/model");
    const sent = { ...hub.sent };
    hub.requests.length = 0;
    const onPlan = (): never => expect.unreachable();
    expect(await resolve("hf:some/model", { onPlan })).toEqual(first);
    expect(await resolve(`hf:some/model@${first.commit}`, { onPlan })).toEqual(first);
    expect(hub.requests).toEqual(["GET /api/models/some/model/revision/main"]);
    expect(hub.sent).toEqual(sent);
  });

  it("goes on behind a break, and fetches no byte twice", async () => {
    hub.faults.push({ path: "model.safetensors", cutAfter: 100_000 }, { path: "model.safetensors", cutAfter: 50_000 });
    const { path } = await resolve("hf:some/model");
    expect(await holdsWeights(path)).toBe(true);
    expect(hub.sent["model.safetensors"]).toBe(WEIGHTS.length);
    expect(hub.requests.filter((line) => line.includes("model.safetensors"))).toEqual(["", " bytes=100000-", " bytes=150000-"]
      .map((range) => `GET /some/model/resolve/${hub.commitOf("some/model")}/model.safetensors${range}`));
  });

  it("goes on behind what an earlier process left, and says how much that is", async () => {
    for (let i = 0; i < 2; i++) hub.faults.push({ path: "model.safetensors", cutAfter: i === 0 ? 120_000 : 0 });
    await expect(resolve("hf:some/model", { pauses: [] })).rejects.toMatchObject({
      code: "E_NETWORK", message: expect.stringMatching(/120000 of 300000 bytes of model\.safetensors are in .*\.incomplete/) as string });
    expect((await tree(home)).filter((line) => line.includes("model.safetensors"))).toEqual([]);
    const plans: HubPlan[] = [];
    await resolve("hf:some/model", { onPlan: (plan) => plans.push(plan) });
    expect(plans[0]).toMatchObject({ files: [{ path: "model.safetensors" }], bytes: WEIGHTS.length, begun: 120_000 });
    expect(hub.sent["model.safetensors"]).toBe(WEIGHTS.length);
  });

  it("begins anew where a server sends the whole in the place of a part", async () => {
    hub.faults.push({ path: "model.safetensors", cutAfter: 100_000 }, { path: "model.safetensors", noRange: true });
    const { path } = await resolve("hf:some/model");
    expect(await holdsWeights(path)).toBe(true);
  });

  it("refuses other bytes than those listed, and takes the right ones", async () => {
    const notes: string[] = [];
    hub.faults.push({ path: "model.safetensors", wrong: true }, { path: "config.json", wrong: true });
    const { path } = await resolve("hf:some/model", { onNote: (text) => notes.push(text) });
    expect(notes).toHaveLength(2);
    expect(notes[1]).toMatch(/model\.safetensors came with hash [0-9a-f]{64} in the place of [0-9a-f]{64}; it is fetched anew/);
    expect(await holdsWeights(path)).toBe(true);
    expect(await readFile(join(path, "config.json"), "utf8")).toBe(CONFIG);
  });

  it("keeps nothing of a file that comes wrong twice", async () => {
    hub.faults.push({ path: "model.safetensors", wrong: true }, { path: "model.safetensors", wrong: true });
    await expect(resolve("hf:some/model")).rejects.toMatchObject({
      code: "E_FORMAT", message: expect.stringMatching(/sends model\.safetensors with hash .* in the place of .*, twice/) as string });
    expect((await tree(home)).filter((line) => /model\.safetensors|incomplete/.test(line))).toEqual([]);
    expect((await stat(join((await resolve("hf:some/model")).path, "model.safetensors"))).size).toBe(WEIGHTS.length);
  });

  it("finds out that what an earlier process left is something else", async () => {
    const blob = join(home, "hub", "models--some--model", "blobs", sha256(WEIGHTS));
    await mkdir(join(blob, ".."), { recursive: true });
    await writeFile(`${blob}.lenggen.incomplete`, new Uint8Array(200_000));
    const { path } = await resolve("hf:some/model");
    expect(await holdsWeights(path)).toBe(true);
  });

  it("takes a file that was cut on the disk for one that is missing", async () => {
    const { path } = await resolve("hf:some/model");
    await writeFile(join(path, "model.safetensors"), WEIGHTS.slice(0, 100));
    await resolve("hf:some/model");
    expect((await stat(join(path, "model.safetensors"))).size).toBe(WEIGHTS.length);
  });

  it("is named by branch, tag or commit, and shares what is alike", async () => {
    const main = await resolve("hf:some/model");
    const plans: HubPlan[] = [];
    const old = await resolve("hf://models/some/model@v1", { onPlan: (plan) => plans.push(plan) });
    expect(old.commit).toBe(hub.commitOf("some/model", "v1"));
    expect(old.commit).not.toBe(main.commit);
    expect(plans[0]!.files.map(({ path }) => path)).toEqual(["config.json"]);
    expect(hub.sent["model.safetensors"]).toBe(WEIGHTS.length);
    expect(await readFile(join(home, "hub", "models--some--model", "refs", "v1"), "utf8")).toBe(old.commit);
    expect((await resolve(old.reference)).path).toBe(old.path);
  });

  it("follows a branch that has moved on, and asks for what is new alone", async () => {
    const before = await resolve("hf:some/model");
    hub.repositories["some/model"] = { files: { ...MODEL.files, "config.json": '{"model_type":"mamba"}' } };
    const after = await resolve("hf:some/model");
    expect(after.commit).not.toBe(before.commit);
    expect(hub.sent["model.safetensors"]).toBe(WEIGHTS.length);
    expect(await readFile(join(before.path, "config.json"), "utf8")).toBe(CONFIG);
  });

  it("is copied where there are no links", async () => {
    env["HF_HUB_DISABLE_SYMLINKS"] = "1";
    const { path } = await resolve("hf:some/model");
    expect((await tree(join(home, "hub"))).filter((line) => line.includes("->") || line.includes("blobs"))).toEqual([]);
    expect(await holdsWeights(path)).toBe(true);
  });

  it("is fetched once by two that want it at the same time", async () => {
    const notes: string[] = [];
    const [a, b] = await Promise.all([1, 2].map(() => resolve("hf:some/model", { onNote: (text) => notes.push(text) })));
    expect(a).toEqual(b);
    expect(hub.sent["model.safetensors"]).toBe(WEIGHTS.length);
    expect(notes.filter((text) => text.startsWith("waiting for process "))).toHaveLength(1);
  });

  it("is read page by page where the list is long", async () => {
    const many = Object.fromEntries(Array.from({ length: 25 }, (_, i) => [`logs/${i}.txt`, String(i)]));
    const paged = await playHub({ "some/model": { files: { ...many, ...MODEL.files } } }, { page: 10 });
    try {
      const { files } = await resolve("hf:some/model", { env: { ...env, HF_ENDPOINT: paged.endpoint } });
      expect(files).toHaveLength(3);
    } finally {
      await paged.close();
    }
  });
});

describe("what a server may not", () => {
  it("makes other places than its own", async () => {
    hub.repositories["some/model"] = { files: { ...MODEL.files, "../../../../out.txt": "x", "a:b.txt": "y" } };
    expect(await holdsWeights((await resolve("hf:some/model")).path)).toBe(true); // odd names harm nobody who does not want them
    hub.repositories["datasets/some/texts"] = { files: { "data/a.txt": "a", "data/../../../../../out.txt": "x" } };
    await expect(resolve("hf:datasets/some/texts/data", { kind: "text" })).rejects.toMatchObject({ code: "E_FORMAT",
      message: 'the hub lists a file with the name "data/../../../../../out.txt", which can\'t be one here' });
    expect((await tree(home)).filter((line) => line.includes("out.txt"))).toEqual([]);
  });

  it("lists what can't be", async () => {
    const real = globalThis.fetch;
    const listing = [{ type: "file", path: "model.safetensors", size: 5, oid: "../../x" }];
    vi.stubGlobal("fetch", (...[input, init]: Parameters<typeof fetch>) =>
      (typeof input === "string" && input.includes("/tree/") ? Promise.resolve(Response.json(listing)) : real(input, init)));
    try {
      await expect(resolve("hf:some/model")).rejects.toMatchObject({ code: "E_FORMAT",
        message: expect.stringMatching(/a list of the hub's files has an entry that can't be: .*model\.safetensors.*\.\.\/\.\.\/x/) as string });
    } finally {
      vi.unstubAllGlobals();
    }
  });
});

describe("without a network", () => {
  it("takes what is in the cache", async () => {
    const first = await resolve("hf:some/model");
    hub.requests.length = 0;
    expect(await resolve("hf:some/model", { env: { ...env, HF_HUB_OFFLINE: "1" } })).toEqual(first);
    expect(hub.requests).toEqual([]);
    const notes: string[] = [];
    const onNote = (text: string): void => void notes.push(text);
    hub.faults.push({ path: "api", silent: true });
    expect(await resolve("hf:some/model", { env: { ...env, HF_HUB_DOWNLOAD_TIMEOUT: "0.3" }, onNote })).toEqual(first);
    expect(notes[0]).toMatch(/the hub can't be asked \(127\.0\.0\.1:\d+ does not answer\); taken as it last was, [0-9a-f]{40}$/);
    await hub.close();
    expect(await resolve("hf:some/model", { onNote })).toEqual(first);
    expect(notes[1]).toMatch(/takes no connection/);
  });

  it("takes what Python's tools fetched, which may have listed nothing", async () => {
    const { path } = await resolve("hf:some/model");
    await rm(join(home, "hub", "models--some--model", "trees"), { recursive: true });
    const offline = { ...env, HF_HUB_OFFLINE: "1" };
    expect((await resolve("hf:some/model", { env: offline })).path).toBe(path);
    await rm(join(path, "model.safetensors"));
    await expect(resolve("hf:some/model", { env: offline })).rejects.toMatchObject({
      code: "E_MISSING", message: expect.stringContaining(`they would be in ${path}`) as string });
  });

  it("says which files are missing and where they would go", async () => {
    const { path } = await resolve("hf:some/model");
    await rm(join(path, "model.safetensors"));
    await rm(join(path, "tokenizer.json"));
    const places = [join(path, "tokenizer.json"), join(path, "model.safetensors")].join(", ");
    await expect(resolve("hf:some/model", { env: { ...env, HF_HUB_OFFLINE: "yes" } })).rejects.toMatchObject({ code: "E_MISSING",
      message: `hf:some/model@main: nothing is fetched, as HF_HUB_OFFLINE is set; the cache lacks 2 files of it: ${places}` });
    await hub.close();
    await expect(resolve("hf:some/model")).rejects.toMatchObject({ code: "E_NETWORK", message: expect.stringMatching(
      /can't be asked: 127\.0\.0\.1:\d+ takes no connection \(ECONNREFUSED\); the cache lacks 2 files/) as string });
  });

  it("says where a model would be that was never fetched", async () => {
    await hub.close();
    const repository = join(home, "hub", "models--some--model");
    const places = `${join(repository, "refs", "main")} would name a commit, and its files would be in ${join(repository, "snapshots")}`;
    await expect(resolve("hf:some/model")).rejects.toMatchObject({ code: "E_NETWORK", message: expect.stringContaining(places) as string });
    expect(await readdir(home)).toEqual([]);
  });

  it("tries again when a server does not answer, or answers that it can't now", async () => {
    hub.faults.push({ path: "api", status: 503 }, { path: "api", status: 429 }, { path: "model.safetensors", silent: true },
      { path: "model.safetensors", status: 500 });
    const { path } = await resolve("hf:some/model", { env: { ...env, HF_HUB_DOWNLOAD_TIMEOUT: "0.3" } });
    expect((await stat(join(path, "model.safetensors"))).size).toBe(WEIGHTS.length);
  });
});

describe("a cache without room", () => {
  const blob = (): string => join(home, "hub", "models--some--model", "blobs", sha256(WEIGHTS));

  it("is told before anything is fetched", async () => {
    vi.mocked(statfs).mockResolvedValueOnce({ bavail: 70, bsize: 4096 } as never);
    await expect(resolve("hf:some/model", { onPlan: () => expect.unreachable() })).rejects.toMatchObject({ code: "E_IO",
      message: expect.stringMatching(/300040 bytes are to be fetched into .*blobs, where 286720 are free; HF_HOME names another/) as string });
    expect(hub.sent).toEqual({});
    // What is there already needs no room.
    await mkdir(join(blob(), ".."), { recursive: true });
    await writeFile(`${blob()}.lenggen.incomplete`, WEIGHTS.slice(0, 20_000));
    vi.mocked(statfs).mockResolvedValueOnce({ bavail: 70, bsize: 4096 } as never);
    expect(await holdsWeights((await resolve("hf:some/model")).path)).toBe(true);
  });

  it.runIf(process.platform === "linux")("leaves what came where it fills up, and nothing by its name", async () => {
    await mkdir(join(blob(), ".."), { recursive: true });
    await symlink("/dev/full", `${blob()}.lenggen.incomplete`);
    await expect(resolve("hf:some/model")).rejects.toMatchObject({ code: "E_IO", message: expect.stringMatching(
      /\.incomplete: can't be written: the disk is full \(ENOSPC\); what came stays there and the same command goes on behind it/) as string });
    expect((await tree(home)).filter((line) => line.includes("model.safetensors"))).toEqual([]);
    await rm(`${blob()}.lenggen.incomplete`);
    expect(await holdsWeights((await resolve("hf:some/model")).path)).toBe(true);
  });

  it("is read all the same where nothing can be written", async () => {
    const { path } = await resolve("hf:some/model");
    await rm(join(home, "hub", "models--some--model", "refs"), { recursive: true });
    await writeFile(join(home, "hub", "models--some--model", "refs"), "a file in the place of the folder");
    expect((await resolve("hf:some/model")).path).toBe(path);
  });
});

describe("refusals", () => {
  it.each([
    ["hf:some/none", "E_MISSING", /has no model some\/none, or keeps it private: check the name, or set HF_TOKEN/],
    ["hf:some/model@v9", "E_MISSING", /some\/model has no branch, tag or commit "v9"/],
    [`hf:some/model@${"0".repeat(40)}`, "E_MISSING", /no branch, tag or commit "0{40}"/],
    ["hf:some/model/no.pth", "E_MISSING", /there is no file or folder no\.pth; there are config\.json, tokenizer\.json/],
    ["hf:datasets/some/model", "E_MISSING", /has no data set some\/model/],
  ])("names what is wrong with %s", async (reference, code, message) => {
    await expect(resolve(reference)).rejects.toMatchObject({ code, message: expect.stringMatching(message) as string });
    expect((await tree(home)).filter((line) => !line.includes("trees") && !line.includes("refs"))).toEqual([]);
  });

  it("says that a model is given to some only, and takes the token, which goes to the hub alone", async () => {
    hub.repositories["some/model"] = { ...MODEL, token: "secret" };
    await expect(resolve("hf:some/model")).rejects.toMatchObject({ code: "E_ACCESS", message: expect.stringMatching(
      /only to accounts that were granted access; ask for it at .*\/some\/model, and set HF_TOKEN .*none now/) as string });
    await expect(resolve("hf:some/model", { env: { ...env, HF_TOKEN: "other" } })).rejects.toThrow("the present one does not do");
    await expect(resolve("hf:some/model", { env: { ...env, HF_TOKEN: "expired" } })).rejects.toMatchObject({ code: "E_ACCESS",
      message: expect.stringContaining("does not know the token") as string });
    await writeFile(join(home, "token"), "secret\n");
    await resolve("hf:some/model");
    expect(hub.sent["model.safetensors"]).toBe(WEIGHTS.length);
    expect(hub.leaked).toEqual([]);
  });

  it("knows a private model by the token alone", async () => {
    hub.repositories["some/model"] = { ...MODEL, token: "secret", hidden: true };
    await expect(resolve("hf:some/model")).rejects.toMatchObject({ code: "E_MISSING" });
    await expect(resolve("hf:some/model", { env: { ...env, HF_TOKEN: "other" } })).rejects.toThrow("what the account of HF_TOKEN may read");
    await resolve("hf:some/model", { env: { ...env, HF_TOKEN: "secret" } });
  });

  it("says when what answers is no hub", async () => {
    hub.faults.push({ path: "api", html: true });
    await expect(resolve("hf:some/model")).rejects.toMatchObject({ code: "E_NETWORK",
      message: expect.stringMatching(/does not seem to be a hub: is HF_ENDPOINT right/) as string });
    await expect(resolve("hf:some/model", { env: { ...env, HF_ENDPOINT: "huggingface.co" } })).rejects.toMatchObject({ code: "E_ARGUMENT",
      message: expect.stringContaining("HF_ENDPOINT is") as string });
  });

  it("stops when asked to, and keeps what came", async () => {
    const controller = new AbortController();
    hub.faults.push({ path: "model.safetensors", cutAfter: 100_000 });
    const stopped = resolve("hf:some/model", { signal: controller.signal, pauses: [60_000], onProgress: (done) => {
      if (done >= 100_000) controller.abort();
    } });
    await expect(stopped).rejects.toMatchObject({ code: "E_INTERRUPTED" });
    await resolve("hf:some/model");
    expect(hub.sent["model.safetensors"]).toBe(WEIGHTS.length);
  });
});

describe("data sets and tokenizers", () => {
  it("come the same way", async () => {
    hub.repositories["datasets/some/texts"] = { files: { "README.md": "# Texts", "data/a.jsonl": '{"text":"a"}', "data/b.jsonl": "{}" } };
    const reads = (name: string): boolean => name.endsWith(".jsonl");
    const { path, files, reference } = await resolve("hf:datasets/some/texts/data/a*", { kind: "text", reads });
    const commit = hub.commitOf("datasets/some/texts");
    expect(path).toBe(join(home, "hub", "datasets--some--texts", "snapshots", commit, "data"));
    expect(files).toEqual([join(path, "a.jsonl")]);
    expect(await readFile(files[0]!, "utf8")).toBe('{"text":"a"}');
    expect(reference).toBe(`hf:datasets/some/texts@${commit}/data/a*`);
    expect(hub.requests.at(-1)).toBe(`GET /datasets/some/texts/resolve/${commit}/data/a.jsonl`);
    const tokenizer = await resolve("hf:some/model", { kind: "tokenizer" });
    expect(tokenizer.files).toEqual([join(tokenizer.path, "tokenizer.json")]);
    expect(hub.sent["model.safetensors"]).toBeUndefined();
  });

  it("come in shards", async () => {
    const map = { a: "model-1.safetensors", b: "model-2.safetensors" };
    hub.repositories["some/model"] = { files: { "config.json": CONFIG, "model.safetensors.index.json": JSON.stringify({ weight_map: map }),
      "model-1.safetensors": { bytes: WEIGHTS, large: true }, "model-2.safetensors": { bytes: WEIGHTS.slice(5), large: true } } };
    const { path, files } = await resolve("hf:some/model");
    expect(files.map((file) => relative(path, file)).sort()).toEqual(
      ["config.json", "model-1.safetensors", "model-2.safetensors", "model.safetensors.index.json"]);
    await rm(join(path, "model-2.safetensors"));
    await expect(resolve("hf:some/model", { env: { ...env, HF_HUB_OFFLINE: "1" } })).rejects.toThrow(
      `the cache lacks a file of it: ${join(path, "model-2.safetensors")}`);
  });
});
