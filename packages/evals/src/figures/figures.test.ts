import { describe, expect, test } from "vitest";
import { charts, recallMaps } from "../report/charts";
import { syntheticReport } from "../report/synthetic.fixture";
import { binaryTicks, decimalTicks, formatLength, formatSeconds } from "./format";
import { heatMap } from "./heatMap";
import { type LineChart, lineChart } from "./lineChart";
import { terminalChart } from "./terminal";

const chart: LineChart = {
  id: "test", description: "A <test> & more.",
  x: { label: "position" }, y: { label: "loss" },
  series: [
    { label: "base", method: "base", points: [1, 2, 4, 8].map((x) => ({ x, y: x, interval: [x - 0.5, x + 0.5] as const })) },
    { label: "TBTT", method: "tbtt", points: [1, 2, 4, 8].map((x) => ({ x, y: 2 })) },
  ],
};

describe("lineChart", () => {
  test("is a standalone SVG with a description, the fixed colours and no outside resource", () => {
    const svg = lineChart(chart, { width: 760 });
    expect(svg).toMatch(/^<svg [^>]*xmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
    expect(svg.match(/aria-label/g)).toHaveLength(1); // no names of parts: it is one picture
    expect(svg).toContain('aria-label="A &#60;test&#62; &#38; more."');
    expect(svg).toContain("var(--lg-tbtt, #00805c)");
    expect(svg).toContain("prefers-color-scheme:dark");
    expect(svg).not.toMatch(/NaN|undefined|href="http|url\(http/);
  });

  test("labels lines at their ends when wide, in a legend when narrow", () => {
    const place = (svg: string) => Number(/<text[^>]*\bx="([\d.]+)"[^>]*>base<\/text>/.exec(svg)![1]);
    expect(place(lineChart(chart, { width: 760 }))).toBeGreaterThan(600);
    expect(place(lineChart(chart, { width: 380 }))).toBeLessThan(100);
  });

  test("labels at the ends never overlap", () => {
    const svg = lineChart(charts(syntheticReport()).ratio!, { width: 760 });
    const ys = [...svg.matchAll(/<text([^>]*)font-weight="600"([^>]*)>/g)].map((m) => Number(/\by="([\d.]+)"/.exec(m[0])![1]))
      .sort((a, b) => a - b);
    expect(ys).toHaveLength(6);
    ys.slice(1).forEach((y, i) => expect(y - ys[i]!).toBeGreaterThanOrEqual(14.9));
  });

  test("on a logarithmic axis shows bands that reach to 0 or below it, and with them what lies beyond the lines", () => {
    const points = (low: number) => [1, 2, 4, 8].map((x) => ({ x, y: x, interval: [low, 2 * x] as const }));
    const bandOf = (low: number) => {
      const series = [{ label: "base", method: "base" as const, points: points(low) }];
      const svg = lineChart({ ...chart, y: { label: "loss", type: "log" }, series }, { width: 760 });
      expect(svg).not.toMatch(/NaN|Infinity/);
      return /<g[^>]*fill-opacity="0\.13"[^>]*>.*?<path d="([^"]+)"/s.exec(svg)![1]!.split(/[ML]/).length;
    };
    expect(bandOf(-3)).toBe(bandOf(0.9));
    const wide = syntheticReport();
    const models = wide.models.map((model) => ({ ...model, statePooledStd: model.statePooledStd!.map(({ position, std }, i) =>
      ({ position, std: i === 0 ? std / 9 : std, ci95: [-1, 1.4 * std] as const })) }));
    const highest = Math.max(...models.flatMap((model) => model.statePooledStd.map(({ std }) => std)));
    expect(charts({ ...wide, models }).state!.y)
      .toMatchObject({ type: "log", domain: [expect.any(Number), expect.closeTo(1.54 * highest)] });
  });

  test("shows every tick on a logarithmic axis", () => {
    const svg = lineChart({ ...chart, x: { label: "position", domain: [16, 65536] } }, { width: 760 });
    for (const tick of ["16", "256", "4k", "64k"]) expect(svg).toContain(`>${tick}</text>`);
  });
});

test("heatMap holds each share as a percentage", () => {
  const svg = heatMap({ ...recallMaps(syntheticReport())[0]!, id: "map" }, { width: 380 });
  expect(svg.match(/<rect/g)).toHaveLength(6 * 8);
  expect(svg).toContain(">100</text>");
  expect(svg).not.toMatch(/NaN|undefined/);
});

const ESCAPE = "\u001b";
const ESCAPE_CODES = new RegExp(`${ESCAPE}\\[[\\d;]*m`, "g");

describe("terminalChart", () => {
  test("keeps to the width, with and without colour", () => {
    for (const width of [40, 80, 120]) {
      for (const color of [false, true]) {
        const lines = terminalChart(charts(syntheticReport()).ratio!, { width, color }).replaceAll(ESCAPE_CODES, "").split("\n");
        for (const line of lines) expect(Array.from(line).length).toBeLessThanOrEqual(width);
      }
    }
  });

  test("has no escape codes without colour, and letters instead", () => {
    expect(terminalChart(chart, { width: 50, height: 7 })).toMatchInlineSnapshot(`
      "loss
      8.0 ┤                                         bbbb
          │                                     bbbbb
          │                                 bbbbb
      4.5 ┤                             bbbbb
          │                      bbbbbbbb
          │ttttttttttttttttttttttttttttttttttttttttttttt
      1.0 ┤bbbbbbbbbbbbbb
          └┴──────────────┴─────────────┴──────────────┴
           1              2             4              8
                                                position
      b base   t TBTT"
    `);
    expect(terminalChart(chart, { color: true })).toMatch(new RegExp(`${ESCAPE}\\[38;5;42m[\u2800-\u28ff]`));
  });

  test("tells small values apart, and lines without a method", () => {
    const lines = terminalChart({ ...chart,
      series: [1, 2].map((n) => ({ label: `line ${n}`, points: [{ x: 1, y: 0 }, { x: 2, y: n * 2e-4 }] })) }).split("\n");
    expect(lines.filter((line) => line.includes("┤")).map((line) => line.split("┤")[0]!.trim()))
      .toEqual(["0.00040", "0.00029", "0.00018", "0.00007", "0.00000"]);
    expect(lines.at(-1)).toBe("* line 1   o line 2");
  });

  test("is empty without data", () => {
    expect(terminalChart({ ...chart, series: [] })).toBe("");
  });
});

test("numbers as people read them", () => {
  expect([1, 999, 1000, 1024, 65536, 1048576, 1572864, 100000].map(formatLength))
    .toEqual(["1", "999", "1,000", "1k", "64k", "1M", "1.5M", "100,000"]);
  expect([0.4, 59.6, 754, 7384].map(formatSeconds)).toEqual(["0 s", "1 min 0 s", "12 min 34 s", "2 h 3 min"]);
  expect(binaryTicks([16, 65536], 5)).toEqual([16, 256, 4096, 65536]);
  expect(decimalTicks([0.8, 2.2], 5)).toEqual([0.8, 1, 1.5, 2]);
  expect(decimalTicks([0.5, 300], 4)).toEqual([1, 10, 100]);
});
