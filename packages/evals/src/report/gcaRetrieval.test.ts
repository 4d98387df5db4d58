import { describe, expect, test } from "vitest";
import { terminalChart } from "../figures/terminal";
import { syntheticRetrieval } from "./gcaRetrieval.fixture";
import { buildGcaRetrievalReport } from "./gcaRetrieval";
import { depthMaps, retrievalCharts } from "./gcaRetrievalCharts";
import { percent, retrievalByLength, retrievalFindings, retrievalInWords, streamingChange } from "./gcaRetrievalFindings";
import type { GcaRetrievalReport } from "./gcaRetrievalTypes";

describe("the report page", () => {
  const html = buildGcaRetrievalReport(syntheticRetrieval());

  test("is complete in itself, the same for the same numbers, and shows nothing that is missing", () => {
    expect(html).toMatch(/^<!doctype html>/);
    expect(html).not.toMatch(/\b(src|href)="?https?:|@import|url\(https?:|<script|<link/);
    expect(html).not.toMatch(/NaN|undefined|Infinity|\[object/);
    expect(buildGcaRetrievalReport(syntheticRetrieval())).toBe(html);
  });

  test("holds every figure, with unique clip paths", () => {
    // accuracy, three heat maps, training, speed, memory, loss, reading
    expect(html.match(/<figure>/g)).toHaveLength(9);
    const ids = [...html.matchAll(/<clipPath id="([^"]+)"/g)].map((match) => match[1]);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test("leaves out what was not measured", () => {
    const report = syntheticRetrieval();
    const bare: GcaRetrievalReport = {
      ...report, streaming: [], stream: undefined,
      models: report.models.map(({ method, parameters, retrieval }) => ({ method, parameters,
        retrieval: retrieval.filter((cell) => !cell.aligned && cell.task === "key-retrieval") })),
    };
    const page = buildGcaRetrievalReport(bare);
    expect(page.match(/<figure>/g)).toHaveLength(2);
    for (const absent of ["Reading one long stream", "Aligned and unaligned", "Training time by length", "Loss on held-out text",
      "Reading at equal cost", "NaN"]) expect(page).not.toContain(absent);
    const nothing = buildGcaRetrievalReport({ ...bare, models: [] });
    expect(nothing).toContain("asked no questions");
    expect(nothing).not.toMatch(/NaN|undefined|Infinity/);
  });

  test("tells settings in lists of records by their numbers", () => {
    expect(html).toContain("<td>stages.2.length</td><td>1024</td>");
  });

  test("escapes what comes in", () => {
    expect(buildGcaRetrievalReport({ ...syntheticRetrieval(), command: "<script>alert(1)</script>" })).not.toContain("<script>");
  });
});

describe("figures", () => {
  const report = syntheticRetrieval();

  test("heat maps have a cell for each depth and length, in the same columns for all models", () => {
    const [map] = depthMaps(report);
    expect(map!.columns).toEqual(["1k", "2k", "4k", "8k", "16k", "32k", "64k", "128k", "256k", "512k", "1M", "2M", "4M", "8M", "16M"]);
    expect(map!.cells.filter(({ panel }) => panel === "DRT \u00d71")).toHaveLength(15 * 5);
    expect(map!.cells.filter(({ panel }) => panel === "full attention")).toHaveLength(5 * 5);
    expect(map!.caption).toContain("4 to 20 samples in a cell");
  });

  test("the accuracy chart works in a terminal", () => {
    expect(terminalChart(retrievalCharts(report).accuracy!, { width: 60 })).toMatch(/1 DRT \u00d71 {3}2 DRT \u00d72/);
  });

  test("loss by position begins where bins hold enough", () => {
    const chart = retrievalCharts(report).reading!;
    expect(chart.series).toHaveLength(4);
    expect(chart.series[0]!.points.map(({ x }) => x)).toEqual([128, 256, 512, 1024, 2048, 4096, 8192, 16_384]);
  });

  test("a tier that holds nothing is no line", () => {
    const inMemory = { ...report, streaming: report.streaming.map((point) => ({ ...point, diskBytes: 0 })) };
    expect(retrievalCharts(inMemory).memory!.series.map(({ panel }) => panel)).toEqual(["in memory, all", "on the device"]);
  });
});

describe("findings follow the numbers", () => {
  const report = syntheticRetrieval();

  test("all depths of a length are added up, aligned questions apart", () => {
    const sliding = report.models.find(({ method }) => method === "sliding-window")!;
    const [first, second] = retrievalByLength(sliding, "key-retrieval");
    expect(first).toMatchObject({ length: 1024, samples: 100, accuracy: 0.06 });
    expect(second).toMatchObject({ length: 2048, accuracy: 0 });
    expect(retrievalByLength(sliding, "key-retrieval", { aligned: true }).map(({ length }) => length)).toEqual([1024, 65_536]);
    expect(retrievalByLength(sliding, "copying")).toEqual([]);
  });

  test("the worst length is the shortest of the worst, and lengths below the training length are not judged", () => {
    const longer = { ...report, trainLength: 4096 };
    const finding = retrievalFindings(longer).find(({ method, task }) => method === "full-attention" && task === "two-hop")!;
    expect([finding.first.length, finding.longest.length, finding.worst.length]).toEqual([4096, 16_384, 8192]);
  });

  test("words", () => {
    const words = retrievalInWords(report);
    expect(words).toContain("DRT \u00d71 answers 100% at 1k and 100% at 16M, 16,384 times as far");
    expect(words).toContain("Two hops: DRT \u00d71 25% at 16M, DRT \u00d72 75% at 16M");
    expect(words).toMatch(/Reading 16M bytes \(DRT ×1, its chunks on the disk\) went at 36,\d{3} bytes a second in the end, 60\.\d% of the rate at 64k/);
    expect(words).toContain("Trained on text alone, all for about as long, and read to 16k: DRT \u00d71 2.180, DRT \u00d72 2.210, "
      + "sliding window 2.240 and full attention 2.270 bits per byte.");
    expect(retrievalInWords({ ...report, models: [] })).toContain("asked no questions");
  });

  test("the end of a stream is compared to 64k, or to what is nearest", () => {
    expect(streamingChange(report.streaming).near.length).toBe(65_536);
    expect(streamingChange(report.streaming.slice(3))).toMatchObject({ near: { length: 2 ** 20 } });
  });

  test("nothing is rounded up to 100%", () => {
    expect([1, 0.9999, 0.995, 0.5, 1 / 3, 0].map(percent)).toEqual(["100%", "99.9%", "99.5%", "50%", "33.3%", "0%"]);
  });
});
