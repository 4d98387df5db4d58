import { readFileSync } from "node:fs";
import { devices, open } from "@lenggen/kernels";
import { describe, expect, it } from "vitest";
import { prepareFigures } from "../prepare.mjs";
import { stillMarkup } from "../shared/chart";
import { openPair } from "../shared/pair";
import { remembers } from "./reading";
import { chartOf, cutNear, findingOf, FIRST_LENGTH, LENGTHS, type Recorded, tableOf } from "./view";

const here = (name: string) => new URL(name, import.meta.url);
const recorded = JSON.parse(readFileSync(here("recorded.json"), "utf8")) as Recorded;
const curves = recorded.lengths[FIRST_LENGTH]!;
const cpu = (await devices()).find(({ name }) => name === "cpu")!;
if (!cpu.available) console.warn(`the recorded curves are not measured again: not run: ${cpu.reason}`);

describe("the recorded curves", () => {
  it("show that the beginning matters more without state passing, and the end most", () => {
    for (const length of LENGTHS.slice(2)) {
      const { base, "state-passing": passed } = recorded.lengths[length]!;
      const distance = (points: typeof base, share: number) => points.find(({ t }) => t === cutNear(points, share * length))!.distance;
      expect(distance(base, 0.75), `${length}`).toBeGreaterThan(2 * distance(passed, 0.75));
      expect(distance(passed, 0.97), `${length}`).toBeGreaterThan(distance(passed, 0.25));
    }
  });

  it("are what the still shows", () => {
    const still = stillMarkup(chartOf({ length: FIRST_LENGTH, curves, cut: cutNear(curves.base, FIRST_LENGTH * 0.75) }));
    expect(readFileSync(here("still.svg"), "utf8") === still,
      "still.svg is older than recorded.json: run apps/docs/scripts/record-figures.mjs remembrance").toBe(true);
  });

  it.runIf(cpu.available)("are those of the committed models", async () => {
    const text = new Uint8Array(readFileSync(`${await prepareFigures()}/moby-dick.txt`));
    const device = await open("cpu");
    const pair = await openPair(device, async (member) => new Uint8Array(readFileSync(here(`../models/${member}.safetensors`))));
    const points = await remembers(pair.base, text, 256);
    points.forEach(({ t, distance }, i) => {
      expect(t).toBe(recorded.lengths[256]!.base[i]!.t);
      expect(distance).toBeCloseTo(recorded.lengths[256]!.base[i]!.distance, 3);
    });
    device.close();
  });
});

describe("the figure", () => {
  it("says what it shows", () => {
    const shown = { length: FIRST_LENGTH, curves, cut: cutNear(curves.base, 770) };
    expect(findingOf(shown)).toMatch(/^Without the first 768 of 1,024 bytes, the prediction of the next one moves by 0\.\d\d \(.*\), or 0\.\d\d /);
    expect(findingOf({ ...shown, curves: {} })).toBe("Nothing is measured yet.");
    expect(chartOf({ ...shown, curves: { base: curves.base } }).legend).toHaveLength(1);
    expect(tableOf(shown).rows).toHaveLength(curves.base.length);
    expect(tableOf({ ...shown, curves: {} }).rows).toEqual([]);
  });
});
