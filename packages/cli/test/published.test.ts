/**
 * `reproduce published` from the hub to the report: a stand-in for state-spaces/mamba2-130m, of its layout (PyTorch's file in halves with
 * decays in float32, no tokenizer beside it) and with GPT-NeoX's tokenizer, but with few layers and narrow, on a hub that is played on
 * loopback. Without the shared data the tokenizer is a small one of the same kind.
 */
import { existsSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { dispose, isJsonObject, keep, key, leaves, open, type Parameters } from "@lenggen/kernels";
import { mamba2 } from "@lenggen/recurrent";
import { afterAll, beforeAll, expect, it } from "vitest";
import { playHub, type PlayedHub } from "../../data/test/playedHub";
import { archive, ordered, tensorOf } from "../../kernels/src/pytorch/write.fixture";
import { lenggen, start } from "./lenggen";
import { workplace, type Workplace } from "./trained";

const NEOX = fileURLToPath(new URL("../../../../shared/data/tokenizers/gpt-neox-20b.tokenizer.json", import.meta.url));
const SMALL = fileURLToPath(new URL("../../data/test/fixtures/tokenizers.json", import.meta.url));
const shared = existsSync(NEOX);
if (!shared) console.warn("the stand-in of mamba2-130m has a small tokenizer: the shared data (data/tokenizers) is not there");
const tokenizer = shared ? readFileSync(NEOX, "utf8")
  : JSON.stringify((JSON.parse(readFileSync(SMALL, "utf8")) as { bases: Record<string, unknown> }).bases["byte-level"]);
const VOCABULARY = shared ? 50277 : 422;
const CONFIG = {
  d_model: 32, d_intermediate: 0, n_layer: 2, vocab_size: VOCABULARY, ssm_cfg: { layer: "Mamba2", d_state: 16, headdim: 16 },
  attn_layer_idx: [], attn_cfg: {}, rms_norm: true, residual_in_fp32: true, fused_add_norm: true, pad_vocab_size_multiple: 16,
  tie_embeddings: true,
};

let place: Workplace;
let hub: PlayedHub;
beforeAll(async () => {
  place = await workplace();
  hub = await playHub({
    "state-spaces/mamba2-130m": { files: { "config.json": JSON.stringify(CONFIG),
      "pytorch_model.bin": { bytes: await standIn(), large: true }, "README.md": "# A stand-in" } },
    "EleutherAI/gpt-neox-20b": { files: { "tokenizer.json": tokenizer, "config.json": "{}" } },
  });
});
afterAll(async () => {
  await hub.close();
  await place.remove();
});

/** PyTorch's file of the model with random weights: matrices in halves, what decides decays in float32, the output tied. */
async function standIn(): Promise<Uint8Array> {
  const device = await open("reference");
  const model = mamba2(CONFIG);
  const parameters: Parameters = keep(model.init(key(5), device));
  const entries: [string, ReturnType<typeof tensorOf>][] = [];
  const storages: Record<string, Uint8Array> = {};
  for (const { path, tensor } of leaves(parameters)) {
    const wide = /\.(?:A_log|D|dt_bias)$/.test(path);
    const values = Float32Array.from(await tensor.read());
    const storage = String(entries.length);
    storages[storage] = wide ? new Uint8Array(values.buffer) : new Uint8Array(Uint16Array.from(values, halfOf).buffer);
    entries.push([path, tensorOf(storage, tensor.shape, wide ? "FloatStorage" : "HalfStorage")]);
  }
  const [rows, width] = model.parameterShapes()["backbone.embedding.weight"]!;
  entries.push(["lm_head.weight", tensorOf("0", [rows!, width!], "HalfStorage")]);
  dispose(parameters);
  device.close();
  return archive(ordered(...entries), storages);
}

/** The bits of a number as a half; small ones become 0, which is near enough for random weights. */
function halfOf(x: number): number {
  const [bits] = new Uint32Array(Float32Array.of(x).buffer);
  const exponent = ((bits! >>> 23) & 0xff) - 112;
  return exponent <= 0 ? 0 : ((bits! >>> 16) & 0x8000) | (exponent << 10) | ((bits! >>> 13) & 0x3ff);
}

const environment = () => ({
  HF_HOME: join(place.folder, "hf"), HF_ENDPOINT: hub.endpoint, HF_TOKEN: "", LENGGEN_CACHE: join(place.folder, "cache"),
});
const ARGUMENTS = ["reproduce", "published", "--checkpoint", "hf:state-spaces/mamba2-130m", "--tokenizer", "hf:EleutherAI/gpt-neox-20b",
  "--text", "book.txt", "--held-out", "book.txt", "--preset", "smoke"];

it("takes a checkpoint from the hub to a report, and goes on where Ctrl-C stopped it", { timeout: 240_000 }, async () => {
  const args = [...ARGUMENTS, "--out", "runs/stopped"];
  const running = start(args, { cwd: place.folder, env: environment() });
  const seen: string[] = [];
  running.process.stdout!.on("data", (piece: Buffer) => {
    seen.push(String(piece));
    if (seen.join("").includes("base: done")) running.process.kill("SIGINT");
  });
  expect((await running.finished).code).toBe(130);

  const { code, stdout, stderr } = await lenggen([...args, "--json"], { cwd: place.folder, env: environment() });
  expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
  const report = JSON.parse(stdout) as Record<string, unknown> & { models: Record<string, unknown>[] };
  const commit = hub.commitOf("state-spaces/mamba2-130m");
  expect(report).toMatchObject({ experiment: "published", origin: { checkpoint: `hf:state-spaces/mamba2-130m@${commit}` },
    model: { family: "mamba2" }, tokens: { tokenizer: expect.stringContaining("tokenizer.json") as string } });
  expect((report["tokens"] as { bytesPerToken: number }).bytesPerToken).toBeGreaterThan(1);
  expect(report.models.map(({ method, steps }) => [method, steps])).toEqual([["base", 0], ["state-passing", 3]]);
  for (const { lossByPosition } of report.models)
    for (const { bitsPerByte } of lossByPosition as { bitsPerByte: number }[]) expect(Number.isFinite(bitsPerByte)).toBe(true);
  expect(stderr).toMatch(/about .* on this machine: .* to measure a model, .* to train one; .* of memory for tensors/);
  // Nothing came twice: what was fetched before the stop was there.
  expect(hub.sent["pytorch_model.bin"]).toBe((await standIn()).length);

  const html = await readFile(join(place.folder, "runs/stopped/report.html"), "utf8");
  expect(html).toContain("position (tokens)");
  expect(html).not.toMatch(/position \(bytes\)|next-byte/);
  // The model that was trained on is whole: it writes with its own tokenizer.
  const written = await lenggen(["generate", "runs/stopped/state-passing", "--prompt", "It was the", "--tokens", "5", "--json"],
    { cwd: place.folder });
  const said: unknown = JSON.parse(written.stdout);
  expect(isJsonObject(said as never) && (said as { text: string }).text.length).toBeGreaterThan(0);
});

it("says what to do where the checkpoint has no tokenizer", async () => {
  const args = ARGUMENTS.filter((word) => word !== "--tokenizer" && word !== "hf:EleutherAI/gpt-neox-20b");
  expect(await lenggen([...args, "--out", "runs/none"], { cwd: place.folder, env: environment() })).toMatchObject({ code: 1,
    error: expect.stringMatching(/no tokenizer: .* give one with --tokenizer \[E_CONFIG\]$/) as string });
});
