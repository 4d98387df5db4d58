/** Texts in records: each is a document, of the field that was named, also for a run that goes on. */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, it } from "vitest";
import { lenggen } from "./lenggen";
import { type Workplace, workplace } from "./trained";

let place: Workplace;
const at = (path: string) => join(place.folder, path);
const run = (...args: string[]) => lenggen(args, { cwd: place.folder, env: { LENGGEN_CACHE: at("cache") } });
const record = async (out: string) => JSON.parse(await readFile(at(`${out}/run.json`), "utf8")) as
  { settings: { data: { documents?: number; tokens: number } }; about: Record<string, unknown> };

const OPTIONS = ["--context", "32", "--batch", "2", "--warmup", "0", "--device", "reference", "--model", "small.json"];
const LENGTH = 200;
const RECORDS = Array.from({ length: 30 }, (_, i) => ({
  text: `${i} ${"short ".repeat(10)}`, body: `The ${i}th of them: `.padEnd(LENGTH, "grass is green. "),
}));

beforeAll(async () => {
  place = await workplace();
  const lines = RECORDS.map((one) => `${JSON.stringify(one)}\n`).join("");
  await writeFile(at("records.jsonl"), lines);
  await writeFile(at("records.jsonl.gz"), gzipSync(lines));
});
afterAll(() => place.remove());

it("train, go on, evaluate and write on what a field holds", async () => {
  const train = (...more: string[]) => run("train", ...OPTIONS, "--method", "tbtt", "--no-join-documents", "--out", "run", ...more);
  expect(await train("--text", "records.jsonl.gz", "--field", "body", "--steps", "2")).toMatchObject({ code: 0 });
  const { settings: { data }, about } = await record("run");
  expect(data).toMatchObject({ documents: RECORDS.length, tokens: RECORDS.length * LENGTH });
  expect(about).toMatchObject({ text: "records.jsonl.gz", field: "body" });
  // The run knows the field; another one is another text.
  expect(await train("--text", "records.jsonl", "--steps", "2", "--resume")).toMatchObject({ code: 0 });
  const other = await train("--text", "records.jsonl", "--field", "text", "--steps", "2", "--resume");
  expect(other.error).toMatch(/data\.(hash|tokens).*E_CONFIG/);
  const evaluated = await run("eval", "loss-by-position", "--checkpoint", "run", "--text", "records.jsonl", "--field", "body",
    "--lengths", "64", "--device", "reference", "--json");
  expect(JSON.parse(evaluated.stdout))
    .toMatchObject({ text: "records.jsonl", field: "body", read: { textBytes: RECORDS.length * LENGTH } });
  const written = await run("generate", "run", "--prompt-file", "records.jsonl", "--tokens", "1", "--device", "reference", "--json");
  expect(JSON.parse(written.stdout)).toMatchObject({ promptBytes: RECORDS.reduce((sum, { text }) => sum + text.length, 0) });
});

it("say what is there when the field is not", async () => {
  const { code, error } = await run("train", ...OPTIONS, "--out", "none", "--text", "records.jsonl", "--field", "bode", "--steps", "1");
  expect([code, error]).toEqual([2, expect.stringContaining(
    'records.jsonl, line 1: there is no field "bode" (did you mean "body"?); there are text, body [E_UNKNOWN_NAME]')]);
});

it("load their libraries only when there is something to unpack", async () => {
  const loaded = async (name: string, ...args: string[]): Promise<string[]> => {
    await lenggen(args, { cwd: place.folder, env: { LENGGEN_CACHE: at("cache"), NODE_V8_COVERAGE: at(name) } });
    const reports = await Promise.all((await readdir(at(name))).map((file) => readFile(join(at(name), file), "utf8")));
    return [...new Set(reports.flatMap((report) => report.match(/hyparquet|hysnappy|zstddec/g) ?? []))].sort();
  };
  expect(await loaded("help", "--help")).toEqual([]);
  expect(await loaded("plain", "train", ...OPTIONS, "--out", "plain-run", "--text", "records.jsonl", "--steps", "1")).toEqual([]);
  await writeFile(at("no.parquet"), "PAR1");
  expect(await loaded("parquet", "train", ...OPTIONS, "--out", "none", "--text", "no.parquet")).toContain("hyparquet");
});
