import { readFileSync } from "node:fs";
import { devices, open } from "@lenggen/kernels";
import { describe, expect, it } from "vitest";
import { prepareFigures } from "../prepare.mjs";
import { stillMarkup } from "../shared/chart";
import { MEMBERS } from "../shared/members";
import { openPair } from "../shared/pair";
import { readStates, repeated } from "./reading";
import { chartOf, findingOf, moments, READ, type Recorded, tableOf } from "./view";

const here = (name: string) => new URL(name, import.meta.url);
const recorded = JSON.parse(readFileSync(here("recorded.json"), "utf8")) as Recorded;
const { sizes } = recorded;
const cpu = (await devices()).find(({ name }) => name === "cpu")!;
if (!cpu.available) console.warn(`the recorded states are not read again: not run: ${cpu.reason}`);

describe("the recorded states", () => {
  it("grow far beyond the training length", () => {
    for (const member of MEMBERS) {
      const at = (position: number) => sizes[member].whole.find((point) => point.position === position)!;
      expect(at(READ).norm, `of ${member}`).toBeGreaterThan(10 * at(64).norm);
      expect(sizes[member].heads, `of ${member}`).toHaveLength(8);
      // The norm of the whole is that of its heads.
      const squares = sizes[member].heads.reduce((sum, points) => sum + points.at(-1)!.norm ** 2, 0);
      expect(at(READ).norm / Math.sqrt(squares)).toBeCloseTo(1, 2);
    }
  });

  it("are what the still shows", () => {
    expect(readFileSync(here("still.svg"), "utf8") === stillMarkup(chartOf({ sizes, measure: "norm", heads: false })),
      "still.svg is older than recorded.json: run apps/docs/scripts/record-figures.mjs state").toBe(true);
  });

  it.runIf(cpu.available)("are those of the committed models", async () => {
    const text = new Uint8Array(readFileSync(`${await prepareFigures()}/moby-dick.txt`));
    const device = await open("cpu");
    const pair = await openPair(device, async (member) => new Uint8Array(readFileSync(here(`../models/${member}.safetensors`))));
    const read = await readStates(pair.base, text.subarray(text.length - READ), READ);
    read.whole.forEach(({ norm }, i) => expect(norm / sizes.base.whole[i]!.norm).toBeCloseTo(1, 2));
    device.close();
  });
});

describe("the figure", () => {
  it("grows with what is read, on the axes of the whole", () => {
    const half = chartOf({ sizes, measure: "norm", heads: true, upTo: 256 });
    expect(half.lines).toHaveLength(18);
    expect(half.lines.at(-1)!.points.at(-1)![0]).toBe(256);
    expect(half.y.domain).toEqual(chartOf({ sizes, measure: "norm", heads: true }).y.domain);
    expect(chartOf({ sizes: {}, measure: "spread", heads: false }).lines).toEqual([]);
  });

  it("says what it shows", () => {
    expect(findingOf({ sizes, measure: "norm", heads: false })).toMatch(/^After 8,192 bytes the norm is [\d.]+, [\d.]+ times that at 64 /);
    expect(findingOf({ sizes, measure: "spread", heads: false, upTo: 32 })).toMatch(/^After 32 bytes the spread is [\d.]+ \(/);
    expect(findingOf({ sizes: {}, measure: "norm", heads: false })).toBe("Nothing is read yet.");
    expect(tableOf({ sizes, measure: "norm", heads: false }).rows.map(([bytes]) => bytes).slice(0, 2)).toEqual(["8", "16"]);
    expect(moments(sizes.base).at(-1)).toBe(READ);
  });

  it("reads a short text over and over", () => {
    expect([...repeated(Uint8Array.of(1, 2, 3), 7)]).toEqual([1, 2, 3, 1, 2, 3, 1]);
  });
});
