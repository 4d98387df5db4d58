/** A report of `gca-retrieval` with made-up but plausible numbers, for tests of figures and pages. */
import type { Retriever } from "../methods";
import { wilsonInterval } from "../statistics";
import type { GcaRetrievalReport, RetrievalCell } from "./gcaRetrievalTypes";

const LENGTHS = Array.from({ length: 15 }, (_, i) => 1024 * 2 ** i); // 1k ... 16M
const DEPTHS = [0.1, 0.3, 0.5, 0.7, 0.9];

/** How often a model answers: what it can, and how much it loses with each doubling. */
const SKILL: Readonly<Record<Retriever, Readonly<Record<string, readonly [most: number, lost: number]>>>> = {
  "drt-1": { "key-retrieval": [1, 0], "two-hop": [0.45, 0.01], "many-key": [0.99, 0.002] },
  "drt-2": { "key-retrieval": [1, 0.0005], "two-hop": [0.97, 0.01], "many-key": [1, 0.001] },
  "sliding-window": { "key-retrieval": [0, 0], "two-hop": [0, 0], "many-key": [0, 0] },
  "full-attention": { "key-retrieval": [1, 0.3], "two-hop": [0.9, 0.3], "many-key": [0.95, 0.3] },
};
const PARAMETERS: Readonly<Record<Retriever,
  number>> = { "drt-1": 303_000, "drt-2": 303_100, "sliding-window": 340_000, "full-attention": 340_000 };

export function syntheticRetrieval(): GcaRetrievalReport {
  const cell = (method: Retriever, task: string, length: number, depth: number, aligned: boolean,
    more: Partial<RetrievalCell> = {}): RetrievalCell => {
    const [most, lost] = SKILL[method][task]!;
    const inWindow = method === "sliding-window" && depth > 0.8 && length === 1024;
    const samples = length > 2 ** 20 ? 4 : 20;
    const correct = Math.round(samples * (inWindow ? 0.3 : Math.max(0, most - lost * Math.log2(length / 1024))));
    return {
      task, length, depth, samples, accuracy: correct / samples, aligned, correct, ci95: wilsonInterval(correct, samples),
      characters: correct / samples, teacherForced: Math.min(1, 0.05 + correct / samples), answerBits: 4.7 * (1 - correct / samples),
      perStream: length > 2 ** 20 ? 20 : 1, ...more,
    };
  };
  const reach = (method: Retriever) =>
    LENGTHS.filter((length) => length <= (method === "full-attention" ? 16_384 : method === "sliding-window" ? 65_536 : 2 ** 24));
  return {
    experiment: "gca-retrieval", preset: "full", seed: 0, trainLength: 1024, seconds: 5321, tokensTrained: 98_304_000,
    chunk: 16, sequences: 4, command: "lenggen reproduce gca-retrieval --preset full --seed 0", device: "AVX-512, 2 threads",
    settings: { pass: 1024, questions: [{ task: "key-retrieval", depths: 5 }, { task: "two-hop", depths: 5 }] },
    readingSequences: 4,
    models: (Object.keys(SKILL) as Retriever[]).map((method, i) => ({
      method, parameters: PARAMETERS[method], steps: 3000, tokensTrained: 24_576_000, seconds: 500,
      settings: { model: { window: 33 }, stages: [{ steps: 1500, length: 192 }, { steps: 500, length: 1024 }], learningRate: 0.002 },
      retrieval: Object.keys(SKILL[method]).flatMap((task) => [
        ...reach(method).flatMap((length) => DEPTHS.map((depth) => cell(method, task, length, depth, false))),
        ...[1024, 65_536].filter((length) => reach(method).includes(length))
          .flatMap((length) => DEPTHS.map((depth) => cell(method, task, length, depth, true))),
      ]),
      trainingSpeed: [1024, 2048, 4096, 8192, 16_384]
        .map((length, j) => ({ length, batch: 16 / 2 ** j, tokensPerSecond: i === 3 ? 60_000 / (1 + length / 4096) : 42_000 + 6000 * i
          - 300 * j })),
      reading: {
        steps: 2000 - 200 * i, tokensTrained: 8192 * (2000 - 200 * i), seconds: 240 + i,
        lossByLength: [1024, 4096, 16_384]
          .map((position, j) => ({ position, bitsPerByte: 2.2 + 0.03 * i - 0.01 * j, referenceBitsPerByte: 2.2,
            ci95: [2.1 + 0.03 * i, 2.3 + 0.03 * i] as const })),
        lossByPosition: Array.from({ length: 15 },
          (_, j) => ({ position: 2 ** j, bitsPerByte: 2.2 + 2 / (j + 1), referenceBitsPerByte: 2.2,
            ci95: [2.1, 2.3 + 2 / (j + 1)] as const })),
      },
      lossByLength: [1024, 4096, 16_384]
        .map((position, j) => ({ position, bitsPerByte: 2.31 + 0.04 * i - 0.01 * j, referenceBitsPerByte: 2.35,
          ci95: [2.27 + 0.04 * i, 2.35 + 0.04 * i] as const })),
    })),
    stream: { method: "drt-1", tier: "disk", seconds: 900 },
    streaming: [16, 64, 256, 1024, 4096, 16_384].map((k, i) => ({
      length: k * 1024, tokensPerSecond: 61_000 / (1 + 0.00004 * k), residentBytes: (210 + 3.2 * i) * 2 ** 20 + k * 4096,
      deviceBytes: 9 * 2 ** 20 + k * 4096, diskBytes: k * 1024 * 512, landmarkBytes: k * 4096,
    })),
  };
}
