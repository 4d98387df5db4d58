/** What the host does for each token, whatever the device. */
import { foldIn, hostRandom, key, sample, type Sampling } from "@lenggen/kernels";
import type { BenchCase } from "./case";

/** Tokens of the published Mamba-2 models. */
const VOCABULARY = 50_277;
/** How far logits of a trained model lie apart: some tokens have nearly all of the probability. */
const SPREAD = 6;

/** `temperature` 0 reads the logits once; else each gets a weight. */
function sampleCase(name: string, how: Sampling): BenchCase {
  return {
    kernel: "sample", shape: `V=${VOCABULARY} ${name}`, pass: "forward", operations: VOCABULARY, bytes: 4 * VOCABULARY, tokens: 1,
    prepare(_, seed) {
      const random = hostRandom(foldIn(key(seed), 11));
      // Normal numbers, by Box and Muller.
      const normal = (): number => Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform());
      const logits = Float32Array.from({ length: VOCABULARY }, () => SPREAD * normal());
      return { body: () => void sample(logits, { ...how, random: random.uniform() }), dispose() {} };
    },
  };
}

export const HOST_CASES: readonly BenchCase[] = [
  sampleCase("greedy", { temperature: 0 }),
  sampleCase("top-k 40", { temperature: 1, topK: 40 }),
  sampleCase("top-p 0.9", { temperature: 1, topP: 0.9 }),
];
