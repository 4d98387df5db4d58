/** From the command line: a run that begins on WebGPU goes on on another device, and either measures it. */
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { devices } from "@lenggen/kernels";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { lenggen } from "./lenggen";
import { type Workplace, workplace } from "./trained";

const listings = await devices({ fallback: true });
const webgpu = listings.find(({ name }) => name === "webgpu")!;
if (!webgpu.available) console.warn(`the command's test on webgpu does not run: ${webgpu.reason}`);
const other = listings.find(({ name, available }) => name !== "webgpu" && available)!.name;

let place: Workplace;
beforeAll(async () => (place = await workplace()));
afterAll(() => place?.remove());

async function json(...args: string[]): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await lenggen([...args, "--json"], { cwd: place.folder, env: { LENGGEN_WEBGPU_FALLBACK: "1" } });
  expect({ code, stderr }).toMatchObject({ code: 0 });
  return JSON.parse(stdout) as Record<string, unknown>;
}

const read = (file: string): Promise<string> => readFile(join(place.folder, "runs/moved", file), "utf8");

describe.skipIf(!webgpu.available)("a run begun on webgpu", () => {
  it(`goes on on ${other}, with the losses that it would have had, and its measures agree`, async () => {
    const train = (device: string, ...more: string[]) =>
      json("train", ...place.training, "--steps", "4", "--checkpoint-every", "2", "--out", "runs/moved", "--device", device, ...more);
    const lossesOf = async (): Promise<number[]> => (await read("metrics.jsonl")).trim().split("\n")
      .map((line) => (JSON.parse(line) as { loss: number }).loss);

    expect(await train("webgpu")).toMatchObject({ status: "done", step: 4, device: expect.stringMatching(/ by WebGPU$/) as string });
    const straight = await lossesOf();
    expect(straight).toHaveLength(4);

    await rm(join(place.folder, "runs/moved/checkpoints/step-4"), { recursive: true }); // as if it had been killed
    expect(await train(other, "--resume")).toMatchObject({ status: "done", step: 4 });
    const moved = await lossesOf();
    expect(moved).toHaveLength(4);
    for (const [i, loss] of moved.entries()) expect(Math.abs(loss / straight[i]! - 1)).toBeLessThan(1e-5);
    expect(JSON.parse(await read("run.json"))).toMatchObject({ about: { device: expect.stringMatching(/ by WebGPU$/) as string } });
    expect(JSON.parse(await read("checkpoints/step-4/trainer.json")))
      .toMatchObject({ device: expect.not.stringMatching(/ by WebGPU$/) as string });

    const measure = async (device: string): Promise<number> => {
      const document = await json("eval", "loss-by-position", "--checkpoint", "runs/moved", "--text", "book.txt", "--lengths", "64",
        "--samples", "1", "--device", device);
      return (document["result"] as { lengths: { bitsPerByte: number }[] }).lengths[0]!.bitsPerByte;
    };
    const [here, there] = [await measure("webgpu"), await measure(other)];
    expect(Math.abs(here / there - 1)).toBeLessThan(1e-5);
  }, 600_000);
});

it.skipIf(!webgpu.available)("doctor shows the adapter's limits in units", async () => {
  const { stdout } = await lenggen(["doctor", "--device", "webgpu"], { env: { LENGGEN_WEBGPU_FALLBACK: "1" } });
  expect(stdout).toMatch(/^webgpu +available: adapter .+; type (software|hardware); features .+; largest buffer \d+\.\d [MG]iB; group memory \d+\.\d KiB$/m);
});

it.skipIf(!webgpu.available)("bench tells of a kernel on webgpu its time, operations and bytes, its share of the adapter's ceiling, "
  + "and what it launches", async () => {
  const document = await json("bench", "rmsNorm", "--device", "webgpu");
  expect(document).toMatchObject({ device: expect.stringMatching(/ by WebGPU$/) as string, software: expect.any(Boolean) as boolean });
  for (const figure of Object.values(document["ceiling"] as Record<string, number>)) expect(figure).toBeGreaterThan(0);
  const results = document["results"] as Record<string, unknown>[];
  expect(results.map(({ kernel, pass }) => [kernel, pass])).toEqual([["rmsNorm", "forward"], ["rmsNorm", "both"]]);
  for (const result of results) {
    for (const name of ["ms", "operations", "bytes", "gflops", "gbs", "share"]) expect(result[name]).toBeGreaterThan(0);
    expect(result).toMatchObject({ bound: "bandwidth", clock: expect.stringMatching(/^(timestamps|wall)$/) as string,
      counts: { allocations: 0, submissions: 1 } });
  }
  const [forward, both] = results.map(({ counts }) => (counts as { dispatches: number }).dispatches);
  expect(forward).toBe(1);
  expect(both).toBeGreaterThan(1);
}, 600_000);
