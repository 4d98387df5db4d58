import { expect, test } from "vitest";
import { binEdges, logPositions } from "./positions";

test("positions are whole, increasing, log-spaced, and end at the length", () => {
  expect(logPositions(64)).toEqual([1, 3, 2, 4, 6, 8, 11, 16, 23, 32, 45, 64].sort((a, b) => a - b));
  expect(logPositions(100, 1)).toEqual([1, 2, 4, 8, 16, 32, 64, 100]);
  expect(logPositions(1)).toEqual([1]);
  expect(() => logPositions(0)).toThrow("a whole number of at least 1");
  expect(() => logPositions(10, 0)).toThrow("above 0");
});

test("wanted edges are there exactly, and no bin is a sliver", () => {
  const edges = binEdges(10_000, [256, 1000, 5000]);
  for (const wanted of [256, 1000, 5000, 10_000]) expect(edges).toContain(wanted);
  expect(new Set(edges).size).toBe(edges.length);
  expect(edges).toEqual([...edges].sort((a, b) => a - b));
  const steps = edges.map((edge, i) => edge / edges[i - 1]!).slice(edges.findIndex((edge) => edge > 16));
  expect(Math.min(...steps)).toBeGreaterThan(1.15);
  expect(binEdges(8, [100])).toEqual(binEdges(8));
});
