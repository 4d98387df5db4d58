/** The scans: recurrences with a state, by the sizes of published models. */
import {
  deltaRule, deltaRuleOperations, foldIn, gatedDeltaRule, gatedDeltaRuleOperations, gatedLinearAttention, gatedLinearAttentionOperations,
  key, selectiveScan, selectiveScanOperations, ssd, ssdOperations, uniform,
} from "@lenggen/kernels";
import type { BenchCase, Pass } from "./case";
import { bothPasses, FLOAT, opCase } from "./opCase";

/**
 * Steps that the composed form of a scan is timed with: where each is ops of their own, thousands of them take minutes, and what the
 * gradient needs of them gigabytes.
 */
const COMPOSED_TIME = 256;

/** What a scan takes: operations of its passes, and the numbers of its inputs and outputs, which the gradient moves twice more. */
function costs(pass: Pass, { forward, gradient }: { readonly forward: number; readonly gradient: number }, floats: number) {
  return pass === "both" ? { operations: forward + gradient, bytes: 3 * FLOAT * floats } : { operations: forward, bytes: FLOAT * floats };
}

interface ScanSizes {
  readonly batch: number;
  readonly time: number;
  readonly heads: number;
  readonly headSize: number;
  readonly groups: number;
  readonly stateSize: number;
}

/**
 * Log decays are uniform in (-`decay`, -0.001). Strong ones underflow within a chunk, as those of published models do at their chunk
 * of 256; mild ones never.
 */
function ssdCase(sizes: ScanSizes, pass: Pass, { decay = 0.5, chunk }: { decay?: number; chunk?: number } = {}): BenchCase {
  const { batch, time, heads, headSize, groups, stateSize } = sizes;
  const operations = ssdOperations({ ...sizes, chunk, fromZero: true, finalUnused: true });
  const special = `${chunk === undefined ? "" : ` chunk=${chunk}`}${decay === 0.5 ? "" : ` decay=${decay}`}`;
  const floats = batch * time * (2 * heads * headSize + 2 * heads + 2 * groups * stateSize);
  return opCase(
    {
      kernel: "ssd", shape: `B=${batch} T=${time} H=${heads} P=${headSize} G=${groups} N=${stateSize}${special}`, pass,
      ...costs(pass, operations, floats),
    },
    (random, device, seed) => ({
      tracked: {
        x: random([batch, time, heads, headSize]),
        dt: uniform(foldIn(key(seed), 101), device, [batch, time, heads], { low: 0.001, high: 0.1 }),
        a: uniform(foldIn(key(seed), 102), device, [batch, time, heads], { low: -decay, high: -0.001 }),
        b: random([batch, time, groups, stateSize]),
        c: random([batch, time, groups, stateSize]),
        d: random([heads]),
      },
    }),
    (inputs) => ssd(inputs, { chunk }).y,
  );
}

interface DeltaSizes {
  readonly batch: number;
  readonly time: number;
  readonly heads: number;
  readonly keySize: number;
  readonly valueSize: number;
}

/** Keys and the two sides of the removal are so small that no state grows; decays are those of RWKV-7, or of a range. */
function deltaRuleCase(sizes: DeltaSizes, pass: Pass, { decay = 0.606, chunk }: { decay?: number; chunk?: number } = {}): BenchCase {
  const { batch, time, heads, keySize, valueSize } = sizes;
  const operations = deltaRuleOperations({ ...sizes, chunk, fromZero: true, finalUnused: true });
  const special = `${chunk === undefined ? "" : ` chunk=${chunk}`}${decay === 0.606 ? "" : ` decay=${decay}`}`;
  const floats = batch * time * heads * (5 * keySize + 2 * valueSize);
  return opCase(
    {
      kernel: "deltaRule", shape: `B=${batch} T=${time} H=${heads} K=${keySize} V=${valueSize}${special}`, pass,
      ...costs(pass, operations, floats),
    },
    (random, device, seed) => {
      const keys = [batch, time, heads, keySize];
      return {
        tracked: {
          q: random(keys), k: random(keys), v: random([batch, time, heads, valueSize]),
          a: uniform(foldIn(key(seed), 105), device, keys, { low: -decay, high: -0.001 }),
          remove: random(keys, 0.5 * keySize ** -0.5), write: random(keys, 0.5 * keySize ** -0.5),
        },
      };
    },
    (inputs) => deltaRule(inputs, { chunk }).y,
  );
}

function gatedDeltaRuleCase(sizes: DeltaSizes & { readonly keyHeads: number }, pass: Pass): BenchCase {
  const { batch, time, keyHeads, heads, keySize, valueSize } = sizes;
  const operations = gatedDeltaRuleOperations({ ...sizes, fromZero: true, finalUnused: true });
  const floats = batch * time * (2 * keyHeads * keySize + heads * (2 * valueSize + 2));
  const shared = keyHeads === heads ? "" : `/${keyHeads}`;
  return opCase(
    {
      kernel: "gatedDeltaRule", shape: `B=${batch} T=${time} H=${heads}${shared} K=${keySize} V=${valueSize}`, pass,
      ...costs(pass, operations, floats),
    },
    (random, device, seed) => ({
      tracked: {
        q: random([batch, time, keyHeads, keySize]), k: random([batch, time, keyHeads, keySize], keySize ** -0.5),
        v: random([batch, time, heads, valueSize]),
        a: uniform(foldIn(key(seed), 106), device, [batch, time, heads], { low: -0.5, high: -0.001 }),
        beta: uniform(foldIn(key(seed), 107), device, [batch, time, heads], { low: 0, high: 1 }),
      },
    }),
    (inputs) => gatedDeltaRule(inputs).y,
  );
}

/** GLA, or with a bonus RWKV-6. Log decays are uniform in (-0.5, -0.001). */
function linearAttentionCase(sizes: DeltaSizes & { readonly bonus?: boolean }, pass: Pass): BenchCase {
  const { batch, time, heads, keySize, valueSize, bonus = false } = sizes;
  const operations = gatedLinearAttentionOperations({ ...sizes, fromZero: true, finalUnused: true });
  const floats = batch * time * heads * (3 * keySize + 2 * valueSize);
  return opCase(
    {
      kernel: "gatedLinearAttention", shape: `B=${batch} T=${time} H=${heads} K=${keySize} V=${valueSize}${bonus ? " bonus" : ""}`, pass,
      ...costs(pass, operations, floats),
    },
    (random, device, seed) => {
      const keys = [batch, time, heads, keySize];
      return {
        tracked: {
          q: random(keys), k: random(keys), v: random([batch, time, heads, valueSize]),
          a: uniform(foldIn(key(seed), 108), device, keys, { low: -0.5, high: -0.001 }),
          ...(bonus ? { bonus: random([heads, keySize]) } : {}),
        },
      };
    },
    (inputs) => gatedLinearAttention(inputs, { scale: keySize ** -0.5 }).y,
  );
}

function selectiveScanCase(batch: number, time: number, channels: number, stateSize: number, pass: Pass): BenchCase {
  const { forward, gradient } = selectiveScanOperations({ batch, time, channels, stateSize });
  const both = pass === "both";
  const numbers = batch * time * (channels + stateSize);
  return opCase(
    {
      kernel: "selectiveScan", shape: `B=${batch} T=${time} D=${channels} N=${stateSize}`, pass,
      operations: forward.operations + (both ? gradient.operations : 0),
      exponentials: forward.exponentials + (both ? gradient.exponentials : 0),
      // x, dt and y with b and c beside them; the gradient reads those and dy, and writes those of all inputs.
      bytes: FLOAT * (both ? 8 : 3) * numbers,
    },
    (random, device, seed) => ({
      tracked: {
        x: random([batch, time, channels]),
        dt: uniform(foldIn(key(seed), 101), device, [batch, time, channels], { low: 0.001, high: 0.1 }),
        a: uniform(foldIn(key(seed), 102), device, [channels, stateSize], { low: -16, high: -1 }),
        b: random([batch, time, 1, stateSize]),
        c: random([batch, time, 1, stateSize]),
        d: random([channels]),
      },
    }),
    (inputs) => selectiveScan(inputs).y,
  );
}

/** Both passes at so many steps, and the composed form at fewer. */
const scanCases = (time: number, make: (time: number, pass: Pass) => BenchCase): BenchCase[] =>
  bothPasses((pass) => ({ ...make(time, pass), composed: make(Math.min(time, COMPOSED_TIME), pass) }));

export const SCAN_CASES: readonly BenchCase[] = [
  ...bothPasses((pass) => ssdCase({ batch: 1, time: 4096, heads: 24, headSize: 64, groups: 1, stateSize: 128 }, pass)),
  ...bothPasses((pass) => ssdCase({ batch: 16, time: 128, heads: 8, headSize: 32, groups: 1, stateSize: 64 }, pass)),
  ...[64, 256].flatMap((chunk) => bothPasses((pass) =>
    ssdCase({ batch: 1, time: 512, heads: 24, headSize: 64, groups: 1, stateSize: 128 }, pass, { decay: 3, chunk }))),
  ...scanCases(4096, (time, pass) => deltaRuleCase({ batch: 1, time, heads: 12, keySize: 64, valueSize: 64 }, pass)),
  ...([[6, 6, 128, 256], [6, 6, 256, 512], [4, 8, 128, 128]] as const).flatMap(([keyHeads, heads, keySize, valueSize]) =>
    scanCases(4096, (time, pass) => gatedDeltaRuleCase({ batch: 1, time, keyHeads, heads, keySize, valueSize }, pass))),
  // As in GLA 340M and in RWKV-6 of width 768.
  ...scanCases(4096, (time, pass) => linearAttentionCase({ batch: 1, time, heads: 4, keySize: 128, valueSize: 256 }, pass)),
  ...scanCases(4096, (time, pass) => linearAttentionCase({ batch: 1, time, heads: 12, keySize: 64, valueSize: 64, bonus: true }, pass)),
  ...scanCases(4096, (time, pass) => selectiveScanCase(1, time, 1536, 16, pass)),
];

/** Sizes at which a GPU is busy. */
export const GPU_SCAN_CASES: readonly BenchCase[] = [
  ...bothPasses((pass) => ssdCase({ batch: 8, time: 2048, heads: 24, headSize: 64, groups: 1, stateSize: 128 }, pass)),
  ...scanCases(2048, (time, pass) => selectiveScanCase(8, time, 1536, 16, pass)),
  ...scanCases(2048, (time, pass) => deltaRuleCase({ batch: 8, time, heads: 12, keySize: 64, valueSize: 64 }, pass)),
  ...scanCases(2048, (time, pass) => gatedDeltaRuleCase({ batch: 8, time, keyHeads: 6, heads: 6, keySize: 128, valueSize: 256 }, pass)),
];
