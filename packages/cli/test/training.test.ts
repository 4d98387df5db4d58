/** Training from the command line: how it begins, how it is stopped, and how it goes on. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { lenggen } from "./lenggen";
import { type Workplace, workplace } from "./trained";

let place: Workplace;
beforeAll(async () => (place = await workplace()));
afterAll(() => place.remove());

const run = (...args: string[]) => lenggen(args, { cwd: place.folder });

describe("the warm-up", () => {
  it("is shorter where the run is shorter than the usual one, and says so; one that does not end is refused", async () => {
    const [, , ...others] = place.training.toReversed(); // without --warmup
    const args = ["train", ...others.toReversed(), "--steps", "20", "--log-every", "1", "--schedule", "constant"];
    const { code, stderr } = await run(...args, "--out", "runs/short");
    expect(code).toBe(0);
    expect(stderr).toContain("warm-up: 2 of 20 steps");
    const lines = (await readFile(join(place.folder, "runs/short/metrics.jsonl"), "utf8")).trimEnd().split("\n");
    expect(lines.map((line) => (JSON.parse(line) as { learningRate: number }).learningRate)).toEqual([5e-4, ...Array<number>(19).fill(1e-3)]);
    const refused = await run(...args, "--out", "runs/rising", "--warmup", "50");
    expect(refused.code).toBe(1);
    expect(refused.error).toContain("warmup is 50, longer than the run of 20 steps");
  });
});
