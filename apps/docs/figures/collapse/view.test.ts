import { readFileSync } from "node:fs";
import { devices, open } from "@lenggen/kernels";
import { describe, expect, it } from "vitest";
import { prepareFigures } from "../prepare.mjs";
import { stillMarkup } from "../shared/chart";
import { type Curves, meanBetween, type Recorded, type Snapshot } from "./curves";
import { FIRST_LENGTH, LENGTHS, REACH, WAYS } from "./plan";
import { trainBase, type Told } from "./training";
import { chartOf, findingOf, tableOf } from "./view";

const here = (name: string) => new URL(name, import.meta.url);
const recorded = JSON.parse(readFileSync(here("recorded.json"), "utf8")) as Recorded;
const curves = recorded.lengths[FIRST_LENGTH];
const cpu = (await devices()).find(({ name }) => name === "cpu")!;
if (!cpu.available) console.warn(`the recorded training is not run again: not run: ${cpu.reason}`);

const far = ({ ends }: Curves, bits: readonly number[]) => meanBetween(ends, bits, REACH / 2, REACH);

describe("what is recorded", () => {
  it("shows the collapse at every training length, and each way of training on", () => {
    for (const length of LENGTHS) {
      const { base, ways, ends } = recorded.lengths[length];
      expect(ends.at(-1)).toBe(REACH);
      const lost = (snapshot: Snapshot) => far(recorded.lengths[length], snapshot.bits) - far(recorded.lengths[length], snapshot.short);
      const collapse = lost(base.at(-1)!);
      expect(collapse, `${length}`).toBeGreaterThan(0.3);
      for (const way of WAYS) expect(ways[way]!.map(({ step }) => step), `${length} ${way}`).toEqual([20, 40, 60, 80, 100]);
      expect(lost(ways["state-passing"]!.at(-1)!), `${length}`).toBeLessThan(0.2 * collapse);
    }
  });

  it("is what the still shows", () => {
    expect(readFileSync(here("still.svg"), "utf8") === stillMarkup(chartOf({ length: FIRST_LENGTH, way: "state-passing", curves })),
      "still.svg is older than recorded.json: run apps/docs/scripts/record-figures.mjs collapse").toBe(true);
  });

  it.runIf(cpu.available)("comes of the training that the page does", async () => {
    const text = new Uint8Array(readFileSync(`${await prepareFigures()}/moby-dick.txt`));
    const device = await open("cpu");
    const told: Told[] = [];
    await trainBase({ device, text, length: FIRST_LENGTH, measurements: 1, tell: (one) => told.push(one) });
    device.close();
    const last = told.findLast((one) => one.kind === "curve")!;
    expect(last).toMatchObject({ part: "base", ends: curves.ends, snapshot: { step: 400 } });
    if (last.kind !== "curve") return;
    expect(far(curves, last.snapshot.short)).toBeCloseTo(far(curves, curves.base.at(-1)!.short), 0);
    expect(far(curves, last.snapshot.bits)).toBeGreaterThan(1.2 * far(curves, last.snapshot.short));
  });
});

describe("the figure", () => {
  it("has a line for the base, for what became of it, and for a short memory", () => {
    const { lines, legend } = chartOf({ length: 64, way: "zero", curves });
    expect(lines.map(({ className }) => className)).toEqual(["reference", "base", "control"]);
    expect(legend.map(({ className }) => className)).toEqual(["base", "control", "reference"]);
  });

  it("says what it shows, also while it grows", () => {
    const shown = { length: 64, way: "tbtt", curves } as const;
    expect(findingOf(shown)).toMatch(/^Trained on 64 bytes at a time, .*; after 100 steps with TBTT, [\d.]+ and [\d.]+\.$/);
    expect(findingOf({ ...shown, at: { base: 0 } })).toMatch(/ at 4,096\.$/);
    expect(findingOf({ ...shown, curves: { ends: [], base: [], ways: {} } })).toBe("Nothing is measured yet.");
    expect(tableOf(shown).rows.at(-1)![0]).toBe("4,096");
    expect(tableOf({ ...shown, at: { base: 0 } }).head).toEqual(["up to byte", "from zero states", "short memory"]);
  });
});
