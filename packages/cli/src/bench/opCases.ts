/** Single kernels: matrix products, the scan, and those that only move memory. */
import {
  attention, attentionOperations, causalConv, chunkAttention, chunkAttentionOperations, crossEntropy, deltaRule, deltaRuleOperations,
  type Device, dispose, DTYPES, foldIn, gatedDeltaRule, gatedDeltaRuleOperations, gatedLinearAttention, gatedLinearAttentionOperations,
  hostRandom, key, layerNorm, linear, matmul, retrieve, retrieveOperations, rmsNorm, selectiveScan,
  selectiveScanOperations, ssd, ssdOperations, type Tensor, tensor, uniform, vjp,
} from "@lenggen/kernels";
import type { BenchCase, BenchRun, Pass } from "./case";

const FLOAT = 4;
/** Half the width of a uniform distribution whose standard deviation is 1. */
const SPREAD = Math.sqrt(3);

/** A case from inputs and a function of them; `both` runs the gradient of all inputs too. */
function opCase<I extends Record<string, Tensor>>(
  about: Omit<BenchCase, "prepare">,
  inputs: (random: (shape: number[], std?: number) => Tensor, device: Device,
    seed: number) => { tracked: I; fixed?: Record<string, Tensor> },
  run: (tracked: I, fixed: Record<string, Tensor>) => Tensor,
): BenchCase {
  return {
    ...about,
    prepare(device, seed): BenchRun {
      let drawn = 0;
      // Uniform, since normal numbers cost much more and no kernel is the faster for them.
      const random = (shape: number[], std = 1): Tensor => uniform(foldIn(key(seed), drawn++), device, shape,
        { low: -SPREAD * std, high: SPREAD * std });
      const { tracked, fixed = {} } = inputs(random, device, seed);
      const forward = (): Tensor => run(tracked, fixed);
      const cotangent = about.pass === "both" ? likeOutput(forward(), random) : undefined;
      return {
        body: cotangent
          ? () => {
              const { outputs, pullback } = vjp((x: I) => run(x, fixed), tracked);
              return [outputs, pullback(cotangent)];
            }
          : forward,
        dispose: () => dispose([tracked, fixed, cotangent]),
      };
    },
  };
}

function likeOutput(output: Tensor, random: (shape: number[]) => Tensor): Tensor {
  output.dispose();
  return random([...output.shape]);
}

function matmulCase(m: number, n: number, k: number, pass: Pass): BenchCase {
  const products = pass === "both" ? 3 : 1;
  return opCase(
    { kernel: "matmul", shape: `${m}x${n}x${k}`, pass, operations: products * 2 * m * n * k,
      bytes: products * FLOAT * (m * n + m * k + n * k) },
    (random) => ({ tracked: { a: random([m, k]), b: random([k, n]) } }),
    ({ a, b }) => matmul(a, b),
  );
}

/** x [rows, in] times a weight [out, in]: the projections of a model. */
function linearCase(rows: number, into: number, from: number, pass: Pass): BenchCase {
  const products = pass === "both" ? 3 : 1;
  return opCase(
    {
      kernel: "linear", shape: `${rows} rows, ${from} to ${into}`, pass,
      operations: products * 2 * rows * into * from, bytes: products * FLOAT * (rows * (into + from) + into * from),
    },
    (random) => ({ tracked: { x: random([rows, from]), weight: random([into, from], from ** -0.5) } }),
    ({ x, weight }) => linear(x, weight),
  );
}

/** One token, or a few, times a weight that no cache holds: what generating takes, by the type of the weight. */
function tokenCase(rows: number, into: number, from: number, dtype: "f32" | "f16"): BenchCase {
  return opCase(
    {
      kernel: "linear", shape: `${rows} ${rows === 1 ? "row" : "rows"}, ${from} to ${into}, weight ${dtype}`, pass: "forward",
      operations: 2 * rows * into * from, bytes: FLOAT * rows * (into + from) + DTYPES[dtype].bytes * into * from,
    },
    (random, device, seed) => {
      const host = hostRandom(key(seed));
      // The same few again and again: what they are changes nothing, and there are many.
      const few = Array.from({ length: 1024 }, () => (host.uniform() - 0.5) * from ** -0.5);
      const numbers = Float32Array.from({ length: into * from }, (_, i) => few[i % few.length]!);
      return { tracked: { x: random([rows, from]) }, fixed: { weight: tensor(device, numbers, [into, from], dtype) } };
    },
    ({ x }, { weight }) => linear(x, weight!),
  );
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
  const { forward, gradient } = ssdOperations({ ...sizes, chunk, fromZero: true, finalUnused: true });
  const special = `${chunk === undefined ? "" : ` chunk=${chunk}`}${decay === 0.5 ? "" : ` decay=${decay}`}`;
  const floats = batch * time * (2 * heads * headSize + 2 * heads + 2 * groups * stateSize);
  return opCase(
    {
      kernel: "ssd", shape: `B=${batch} T=${time} H=${heads} P=${headSize} G=${groups} N=${stateSize}${special}`, pass,
      operations: pass === "both" ? forward + gradient : forward, bytes: (pass === "both" ? 3 : 1) * FLOAT * floats,
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
  const { forward, gradient } = deltaRuleOperations({ ...sizes, chunk, fromZero: true, finalUnused: true });
  const special = `${chunk === undefined ? "" : ` chunk=${chunk}`}${decay === 0.606 ? "" : ` decay=${decay}`}`;
  const floats = batch * time * heads * (5 * keySize + 2 * valueSize);
  return opCase(
    {
      kernel: "deltaRule", shape: `B=${batch} T=${time} H=${heads} K=${keySize} V=${valueSize}${special}`, pass,
      operations: pass === "both" ? forward + gradient : forward, bytes: (pass === "both" ? 3 : 1) * FLOAT * floats,
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
  const { forward, gradient } = gatedDeltaRuleOperations({ ...sizes, fromZero: true, finalUnused: true });
  const floats = batch * time * (2 * keyHeads * keySize + heads * (2 * valueSize + 2));
  const shared = keyHeads === heads ? "" : `/${keyHeads}`;
  return opCase(
    {
      kernel: "gatedDeltaRule", shape: `B=${batch} T=${time} H=${heads}${shared} K=${keySize} V=${valueSize}`, pass,
      operations: pass === "both" ? forward + gradient : forward, bytes: (pass === "both" ? 3 : 1) * FLOAT * floats,
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
  const { forward, gradient } = gatedLinearAttentionOperations({ ...sizes, fromZero: true, finalUnused: true });
  const floats = batch * time * heads * (3 * keySize + 2 * valueSize);
  return opCase(
    {
      kernel: "gatedLinearAttention", shape: `B=${batch} T=${time} H=${heads} K=${keySize} V=${valueSize}${bonus ? " bonus" : ""}`, pass,
      operations: pass === "both" ? forward + gradient : forward, bytes: (pass === "both" ? 3 : 1) * FLOAT * floats,
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

function convCase(batch: number, time: number, channels: number, pass: Pass): BenchCase {
  const width = 4;
  const numbers = batch * time * channels;
  return opCase(
    {
      kernel: "causalConv+silu", shape: `B=${batch} T=${time} C=${channels} K=${width}`, pass,
      // The gradient reads x and dy and writes dx.
      operations: (pass === "both" ? 6 : 2) * width * numbers, bytes: (pass === "both" ? 5 : 2) * FLOAT * numbers,
    },
    (random) => ({ tracked: { x: random([batch, time, channels]), weight: random([channels, width]), bias: random([channels]) } }),
    ({ x, weight, bias }) => causalConv(x, weight, bias, null, { silu: true }).outputs[0]!,
  );
}

function normCase(rows: number, width: number, pass: Pass): BenchCase {
  const numbers = rows * width;
  return opCase(
    { kernel: "rmsNorm", shape: `${rows}x${width}`, pass, operations: (pass === "both" ? 12 : 4) * numbers,
      bytes: (pass === "both" ? 5 : 2) * FLOAT * numbers },
    (random) => ({ tracked: { x: random([rows, width]), weight: random([width]) } }),
    ({ x, weight }) => rmsNorm(x, weight),
  );
}

function layerNormCase(rows: number, width: number, pass: Pass): BenchCase {
  const numbers = rows * width;
  return opCase(
    { kernel: "layerNorm", shape: `${rows}x${width}`, pass, operations: (pass === "both" ? 19 : 7) * numbers,
      bytes: (pass === "both" ? 5 : 2) * FLOAT * numbers },
    (random) => ({ tracked: { x: random([rows, width]), weight: random([width]), bias: random([width]) } }),
    ({ x, weight, bias }) => layerNorm(x, weight, bias),
  );
}

function crossEntropyCase(rows: number, width: number, vocabulary: number, pass: Pass): BenchCase {
  // Forward one product; the gradient needs the logits again and two more.
  const products = pass === "both" ? 4 : 1;
  return opCase(
    {
      kernel: "crossEntropy", shape: `${rows} rows, D=${width} V=${vocabulary}`, pass,
      operations: products * 2 * rows * width * vocabulary, bytes: (pass === "both" ? 2 : 1) * FLOAT * width * (rows + vocabulary),
    },
    (random, device, seed) => {
      const draw = hostRandom(foldIn(key(seed), 103));
      const targets = Int32Array.from({ length: rows }, () => draw.integer(vocabulary));
      return {
        tracked: { hidden: random([rows, width]), weight: random([vocabulary, width], width ** -0.5) },
        fixed: { targets: tensor(device, targets, [rows], "i32") },
      };
    },
    ({ hidden, weight }, { targets }) => crossEntropy(hidden, weight, targets!),
  );
}

/** All landmarks are visible to all queries, as in a memory of the past, or with `causal` those of earlier chunks, as in training. */
function retrieveCase(batch: number, queries: number, landmarks: number, width: number, k: number, pass: Pass, causal = false): BenchCase {
  const first = causal ? 0 : landmarks;
  const { forward, gradient } = retrieveOperations({ batch, queryCount: queries, landmarkCount: landmarks, width, k, first });
  const floats = batch * width * (queries + landmarks);
  return opCase(
    {
      kernel: "retrieve", shape: `B=${batch} C=${queries} M=${landmarks} D=${width} k=${k}`, pass,
      // The gradient reads both and writes that of both.
      operations: pass === "both" ? forward + gradient : forward, bytes: (pass === "both" ? 3 : 1) * FLOAT * floats,
    },
    (random) => ({ tracked: { queries: random([batch, queries, width]), landmarks: random([batch, landmarks, width]) } }),
    (inputs) => retrieve(inputs, { k, first }).weights,
  );
}

/** Causal attention over a sliding window, one sequence. */
function attentionCase(time: number, heads: number, headSize: number, window: number, pass: Pass): BenchCase {
  const { forward, gradient } = attentionOperations({ batch: 1, time, heads, headSize, window });
  const numbers = time * heads * headSize;
  return opCase(
    {
      kernel: "attention", shape: `T=${time} H=${heads} D=${headSize} window=${window}`, pass,
      // The gradient reads all four again, and do, and writes three.
      operations: pass === "both" ? forward + gradient : forward, bytes: (pass === "both" ? 12 : 4) * FLOAT * numbers,
    },
    (random) => ({ tracked: { q: random([1, time, heads, headSize]), k: random([1, time, heads, headSize]),
      v: random([1, time, heads, headSize]) } }),
    (inputs) => attention(inputs, { window }),
  );
}

/** One sequence in chunks that each attend to `slots` different ones, drawn from all. */
function chunkAttentionCase(queries: number, heads: number, headSize: number, chunkSize: number, slots: number, pass: Pass): BenchCase {
  const { forward, gradient } = chunkAttentionOperations({ batch: 1, queries, heads, headSize, chunkSize, slots });
  const chunks = Math.floor(queries / chunkSize);
  const numbers = queries * heads * headSize;
  return opCase(
    {
      kernel: "chunkAttention", shape: `T=${queries} H=${heads} D=${headSize} S=${chunkSize} k=${slots}`, pass,
      // The gradient reads q, keys and values again, and do, and writes three.
      operations: pass === "both" ? forward + gradient : forward, bytes: (pass === "both" ? 11 : 4) * FLOAT * numbers,
    },
    (random, device, seed) => {
      const draw = hostRandom(foldIn(key(seed), 104));
      const indices = Array.from({ length: chunks }, () => {
        const drawn = new Set<number>();
        while (drawn.size < slots) drawn.add(draw.integer(chunks));
        return [...drawn];
      });
      const memory = [1, chunks, chunkSize, heads, headSize];
      return {
        tracked: { q: random([1, queries, heads, headSize]), keys: random(memory), values: random(memory),
          weights: random([1, chunks, slots]) },
        fixed: {
          indices: tensor(device, indices.flat(), [1, chunks, slots], "i32"),
          offsets: tensor(device, Array.from({ length: chunks + 1 }, (_, i) => i * chunkSize), [1, chunks + 1], "i32"),
        },
      };
    },
    (tracked, { indices, offsets }) => chunkAttention({ ...tracked, indices: indices!, offsets: offsets! }),
  );
}

export const OP_CASES: readonly BenchCase[] = [
  ...[128, 256, 512, 1024].map((n) => matmulCase(n, n, n, "forward")),
  matmulCase(512, 512, 512, "both"),
  // Projections of the byte models below, 2,048 rows: into the block, out of it, and onto 256 bytes.
  linearCase(2048, 648, 128, "forward"),
  linearCase(2048, 648, 128, "both"),
  linearCase(2048, 128, 256, "both"),
  ...[1, 4].flatMap((rows) => (["f32", "f16"] as const).map((dtype) => tokenCase(rows, 32_768, 768, dtype))),
  ...(["forward", "both"] as const)
    .map((pass) => ssdCase({ batch: 1, time: 4096, heads: 24, headSize: 64, groups: 1, stateSize: 128 }, pass)),
  ...(["forward", "both"] as const)
    .map((pass) => ssdCase({ batch: 16, time: 128, heads: 8, headSize: 32, groups: 1, stateSize: 64 }, pass)),
  ...[64, 256].flatMap((chunk) => (["forward", "both"] as const).map((pass) =>
    ssdCase({ batch: 1, time: 512, heads: 24, headSize: 64, groups: 1, stateSize: 128 }, pass, { decay: 3, chunk }))),
  ...(["forward", "both"] as const).map((pass) => deltaRuleCase({ batch: 1, time: 4096, heads: 12, keySize: 64, valueSize: 64 }, pass)),
  ...([[6, 6, 128, 256], [6, 6, 256, 512], [4, 8, 128, 128]] as const).flatMap(([keyHeads, heads, keySize, valueSize]) =>
    (["forward", "both"] as const).map((pass) => gatedDeltaRuleCase({ batch: 1, time: 4096, keyHeads, heads, keySize, valueSize }, pass))),
  // As in GLA 340M and in RWKV-6 of width 768.
  ...(["forward", "both"] as const)
    .map((pass) => linearAttentionCase({ batch: 1, time: 4096, heads: 4, keySize: 128, valueSize: 256 }, pass)),
  ...(["forward", "both"] as const)
    .map((pass) => linearAttentionCase({ batch: 1, time: 4096, heads: 12, keySize: 64, valueSize: 64, bonus: true }, pass)),
  ...(["forward", "both"] as const).map((pass) => selectiveScanCase(1, 4096, 1536, 16, pass)),
  ...(["forward", "both"] as const).map((pass) => convCase(1, 4096, 1792, pass)),
  ...(["forward", "both"] as const).map((pass) => normCase(4096, 1536, pass)),
  ...(["forward", "both"] as const).map((pass) => layerNormCase(4096, 1536, pass)),
  ...(["forward", "both"] as const).map((pass) => crossEntropyCase(2048, 128, 256, pass)),
  crossEntropyCase(1024, 768, 16384, "both"),
  ...(["forward", "both"] as const).map((pass) => attentionCase(16_384, 4, 64, 512, pass)),
  ...(["forward", "both"] as const).map((pass) => chunkAttentionCase(16_384, 4, 64, 64, 8, pass)),
  retrieveCase(1, 16, 262_144, 64, 8, "forward"),
  retrieveCase(8, 256, 256, 256, 8, "both", true),
];

/** Sizes at which a GPU is busy. */
export const GPU_OP_CASES: readonly BenchCase[] = [
  ...[2048, 4096].map((n) => matmulCase(n, n, n, "forward")),
  ...(["forward", "both"] as const)
    .map((pass) => ssdCase({ batch: 8, time: 2048, heads: 24, headSize: 64, groups: 1, stateSize: 128 }, pass)),
  ...(["forward", "both"] as const).map((pass) => selectiveScanCase(8, 2048, 1536, 16, pass)),
  ...(["forward", "both"] as const).map((pass) => deltaRuleCase({ batch: 8, time: 2048, heads: 12, keySize: 64, valueSize: 64 }, pass)),
  ...(["forward", "both"] as const)
    .map((pass) => gatedDeltaRuleCase({ batch: 8, time: 2048, keyHeads: 6, heads: 6, keySize: 128, valueSize: 256 }, pass)),
  ...(["forward", "both"] as const).map((pass) => convCase(8, 2048, 1792, pass)),
  ...(["forward", "both"] as const).map((pass) => normCase(16384, 1536, pass)),
  ...(["forward", "both"] as const).map((pass) => layerNormCase(16384, 1536, pass)),
];
