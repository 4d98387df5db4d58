/** A report with made-up but plausible numbers, for tests of figures and pages. */
import { binEdges, logPositions } from "../positions";
import { METHODS, type Method } from "../methods";
import { wilsonInterval } from "../statistics";
import type { UnexploredStatesReport } from "./types";

/** How much each model loses per doubling beyond the training length. */
const SLOPE: Readonly<Record<Method, number>> = {
  base: 0.021, control: 0.024, "random-noise": 0.008, "fitted-noise": 0.0022, "state-passing": -0.0003, tbtt: -0.0005,
};

export function syntheticReport(options: { collapse?: boolean; trainLength?: number; length?: number } = {}): UnexploredStatesReport {
  const { collapse = true, trainLength = 256, length = 65536 } = options;
  // A fixed sequence of numbers in -1 ... 1, so that pages are the same each time.
  let seed = 7;
  const wobble = () => ((seed = (seed * 48271) % 2147483647) / 2147483647) * 2 - 1;
  const edges = binEdges(length, [trainLength]);
  const text = edges.map(() => wobble());
  return {
    experiment: "unexplored-states", preset: "quick", seed: 0, model: { family: "mamba2", parameters: 264_312 }, trainLength,
    tokensTrained: 18_350_080, seconds: 561, sequences: 4, remembranceLength: 8192,
    command: "npx lenggen reproduce unexplored-states --preset quick --seed 0",
    settings: { model: { layers: 4, width: 128, state: 64 }, optimizer: { name: "adamw", learningRate: 0.003, betas: [0.9, 0.95] } },
    models: METHODS.map((method, index) => ({
      method, steps: index === 0 ? 4000 : 200, tokensTrained: index === 0 ? 16_384_000 : 819_200, seconds: 60,
      settings: { resetProbability: 0.1, noiseScale: method === "random-noise" ? 0.5 : null },
      lossByPosition: edges.map((position, i) => {
        const excess = Math.max(0, Math.log2(position / trainLength)) * (collapse ? SLOPE[method] : SLOPE[method] / 40)
          * (1 + 0.05 * wobble());
        const reference = 2.08 + 3.1 * Math.exp(-Math.log2(position + 1) / 2.1) + 0.05 * text[i]! + (method === "random-noise" ? 0.03 : 0);
        const bitsPerByte = reference * (1 + excess);
        return {
          position, from: edges[i - 1] ?? 0, bitsPerByte, referenceBitsPerByte: reference, ratio: 1 + excess,
          ci95: [bitsPerByte - 0.06, bitsPerByte + 0.06] as const,
          ratioCi95: [1 + excess - 0.2 * Math.abs(excess), 1 + excess + 0.2 * Math.abs(excess)] as const,
        };
      }),
      effectiveRemembrance: logPositions(8000).map((t) => {
        const distance = (index < 2 ? 0.45 : 0.04 + 0.02 * index) * (1 - Math.exp(-t / 400)) + 0.5 * Math.exp(-(8192 - t) / 60);
        return { t, distance, ci95: [distance * 0.9, distance * 1.1] as const };
      }),
      stateStd: logPositions(length).flatMap((position) => [0, 1, 2, 3].flatMap((layer) => [0, 1, 2, 3].map((head) => ({
        position, layer, head,
        std: (0.3 + 0.2 * head + 0.1 * layer) * (1 + (index < 2 ? 0.09 : 0.02) * Math.log2(position) + 0.03 * wobble()),
      })))),
      statePooledStd: logPositions(length).map((position) => {
        const std = 0.8 + (index < 2 ? 0.09 : 0.02) * Math.log2(position) + 0.02 * index;
        return { position, std, ci95: [std * 0.96, std * 1.04] as const };
      }),
      recall: ["passkey", "recall", "copying"].map((task, k) => ({
        task,
        cells: [128, 256, 512, 1024, 2048, 4096, 8192, 16384].map((n, i) => {
          const correct = Math.round(32 * Math.max(0, Math.min(1, 1.1 - i * (0.28 - 0.035 * index) - 0.05 * k)));
          return { length: n, depth: null, samples: 32, correct, accuracy: correct / 32, ci95: wilsonInterval(correct, 32),
            characters: correct / 32, answerBits: 4 - correct / 9, teacherForced: correct / 32 };
        }),
      })),
    })),
  };
}
