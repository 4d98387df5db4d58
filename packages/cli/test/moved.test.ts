/** What decides a run is what it reads, wherever that lies: texts and bases that are moved, renamed, gone, or very large. */
import { execFileSync } from "node:child_process";
import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { lenggen, start } from "./lenggen";
import { type Workplace, workplace } from "./trained";

let place: Workplace;
const at = (path: string) => join(place.folder, path);
const run = (...args: string[]) => lenggen(args, { cwd: place.folder });

interface Recorded {
  readonly settings: Record<string, unknown> & { readonly data: { readonly key: readonly number[]; readonly documents?: number } };
  readonly about: Record<string, unknown>;
}
const record = async (out: string): Promise<Recorded> => JSON.parse(await readFile(at(`${out}/run.json`), "utf8")) as Recorded;

const OPTIONS = ["--context", "32", "--batch", "2", "--warmup", "0", "--device", "reference"];
const train = (out: string, text: string, ...more: string[]) =>
  run("train", "--model", "small.json", ...OPTIONS, "--steps", "2", "--out", out, "--text", text, ...more);
const post = (out: string, ...more: string[]) => run("post-train", "--method", "state-passing", ...OPTIONS, "--steps", "2", "--out", out,
  "--text", "book.txt", ...more);

async function passes(finished: ReturnType<typeof run>): Promise<string> {
  const { code, stdout, stderr } = await finished;
  expect({ code, stderr }).toMatchObject({ code: 0 });
  return stderr + stdout;
}

/** A run as older versions recorded it: with the places of its text and base among the settings, and what they drew. */
async function recordedBefore(out: string, settings: Record<string, unknown>): Promise<void> {
  const { settings: now, about } = await record(out);
  const { base: _, ...others } = now;
  await writeFile(at(`${out}/run.json`), JSON.stringify({ format: 1, settings: { ...others, ...settings }, about }));
}

beforeAll(async () => {
  place = await workplace();
  await passes(train("runs/base", "book.txt"));
});
afterAll(() => place.remove());

describe("a text", () => {
  it("that is moved or renamed resumes its run; another one does not", async () => {
    await passes(train("runs/moved", "book.txt"));
    expect((await record("runs/moved")).about).toMatchObject({ text: "book.txt" });
    await mkdir(at("library"), { recursive: true });
    await writeFile(at("library/tale.txt"), await readFile(at("book.txt")));
    for (const text of ["./book.txt", at("book.txt"), "library/tale.txt", "library"]) {
      expect(await passes(train("runs/moved", text, "--resume"))).toContain("done: 2 steps");
    }
    await writeFile(at("other.txt"), (await readFile(at("book.txt"), "utf8")).replace("best", "rest"));
    expect((await train("runs/moved", "other.txt", "--resume")).error).toMatch(/data\.hash: "[0-9a-f]{16}" there.*\[E_CONFIG\]/);
    await recordedBefore("runs/moved", { text: "elsewhere/book.txt" });
    await passes(train("runs/moved", "./book.txt", "--resume"));
  });

  it("that comes out of a pipe is read", async ({ skip }) => {
    if (process.platform === "win32") skip();
    execFileSync("sh", ["-c", "mkfifo pipe"], { cwd: place.folder });
    const writing = writeFile(at("pipe"), await readFile(at("book.txt")));
    expect(await passes(train("runs/moved", "pipe", "--resume"))).toContain("done: 2 steps");
    await writing;
  });

  it("of more than 2 GiB is trained on, continued until Ctrl-C, and measured", async ({ skip }) => {
    const size = 2.2 * 10 ** 9 + 5;
    const handle = openSync(at("large.txt"), "w");
    try {
      ftruncateSync(handle, size); // takes no room on disks that know holes
      writeSync(handle, "the end", size - 7);
    } catch (error) {
      console.warn(`the test of a text of 2.2 GB does not run: there is no room for one (${(error as Error).message})`);
      skip();
    } finally {
      closeSync(handle);
    }
    const trained = await train("runs/large", "large.txt", "--json");
    expect(JSON.parse(trained.stdout)).toMatchObject({ status: "done", step: 2, textBytes: size, unusedBytes: 0 });
    const writing = start(["generate", "runs/base", "--prompt-file", "large.txt", "--tokens", "1"], { cwd: place.folder });
    await writing.until(/prompt: [\d,]+\/2,200,000,005 bytes/);
    writing.process.kill("SIGINT");
    expect((await writing.finished).code).toBe(130);
    const measured = await run("eval", "loss-by-position", "--checkpoint", "runs/base", "--text", "large.txt", "--lengths", "64",
      "--samples", "2", "--json");
    expect(JSON.parse(measured.stdout)).toMatchObject({ read: { sequences: 2, bytes: 130, textBytes: size } });
    await rm(at("large.txt"));
  }, 120_000);
});

describe("post-training", () => {
  it("draws other windows than its base with the same seed, at each stage, and the same for the same base", async () => {
    await passes(post("runs/first", "--checkpoint", "runs/base"));
    await passes(post("runs/again", "--checkpoint", "runs/base/checkpoints/step-2"));
    await passes(post("runs/second", "--checkpoint", "runs/first"));
    const keys = await Promise.all(["base", "first", "again", "second"]
      .map(async (out) => (await record(`runs/${out}`)).settings.data.key));
    expect(new Set(keys.map(String)).size).toBe(3);
    expect(keys[2]).toEqual(keys[1]);
  });

  it("goes on when its base is moved or gone, and not with another one", async () => {
    await passes(train("runs/passing", "book.txt"));
    await passes(post("runs/passed", "--checkpoint", "runs/passing"));
    expect(await record("runs/passed")).toMatchObject({ settings: { base: { weights: expect.stringMatching(/^[0-9a-f]{16}$/) as string } },
      about: { base: join("runs/passing", "checkpoints", "step-2") } });
    await rename(at("runs/passing"), at("runs/elsewhere"));
    expect(await passes(post("runs/passed", "--checkpoint", "runs/passing", "--resume")))
      .toContain("runs/passing is gone; the run in runs/passed goes on without it");
    await passes(post("runs/passed", "--checkpoint", "runs/elsewhere", "--resume"));
    await rm(at("runs/elsewhere"), { recursive: true });
    await passes(post("runs/passed", "--resume"));
    expect((await post("runs/passed", "--checkpoint", "runs/first", "--resume")).error)
      .toMatch(/began from other weights than those of .*leave out --checkpoint.*\[E_CONFIG\]/);
    expect((await post("runs/none", "--checkpoint", "runs/elsewhere", "--resume")).error).toMatch(/runs\/elsewhere.*\[E_MISSING\]/);
    expect(await post("runs/none")).toMatchObject({ code: 2 });
  });

  it("that was begun before goes on with what it drew then", async () => {
    await passes(post("runs/old", "--checkpoint", "runs/base"));
    const { settings: { data } } = await record("runs/old");
    await recordedBefore("runs/old",
      { text: "book.txt", base: "gone/checkpoints/step-2", data: { ...data, key: (await record("runs/base")).settings.data.key } });
    for (const base of [[], ["--checkpoint", "runs/base"]]) {
      expect(await passes(post("runs/old", ...base, "--resume"))).toContain("done: 2 steps");
    }
  });
});

describe("documents", () => {
  const tbtt = (out: string, ...more: string[]) => train(out, "short", "--method", "tbtt", "--batch", "1", ...more);

  it("shorter than the context are joined; apart, what is not used is said, and so are files that are no text", async () => {
    await mkdir(at("short"));
    for (let i = 0; i < 9; i++) await writeFile(at(`short/${i}.txt`), `Number ${i} is short.`);
    await writeFile(at("short/picture.png"), "not text");
    const said = await passes(tbtt("runs/joined"));
    expect(said).toContain('text "short": 1 of 162 bytes are in no batch: what is left at its end fills no window of 32');
    expect(said).toContain('folder "short": 1 other file is not read');
    expect((await tbtt("runs/apart", "--no-join-documents")).error).toMatch(/no document has the 33 tokens.*\[E_TEXT\]/);
    await writeFile(at("short/long.txt"), "This one is long enough for a window. ".repeat(3));
    const apart = await tbtt("runs/apart", "--no-join-documents", "--json");
    expect(JSON.parse(apart.stdout)).toMatchObject({ textBytes: 276, unusedBytes: 162 + 17 });
    expect(apart.stderr).toContain("179 of 276 bytes are in no batch: documents shorter than a window of 32");
    expect((await record("runs/apart")).settings.data.documents).toBe(10);
  });

  it("are read as a run began with them", async () => {
    await passes(tbtt("runs/apart", "--resume"));
    expect((await tbtt("runs/apart", "--resume", "--join-documents")).error).toMatch(/data\.documents: 10 there, 1 here/);
  });
});
