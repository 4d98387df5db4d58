/** Single kernels: matrix products, the scans, and those that only move memory. */
import {
  attention, attentionOperations, causalConv, chunkAttention, chunkAttentionOperations, crossEntropy, DTYPES, foldIn, hostRandom, key,
  layerNorm, lerp, linear, matmul, retrieve, retrieveOperations, rmsNorm, tensor, turn,
} from "@lenggen/kernels";
import type { BenchCase, Pass } from "./case";
import { bothPasses, FLOAT, opCase } from "./opCase";
import { GPU_SCAN_CASES, SCAN_CASES } from "./scanCases";

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

/** Mixes of a token and the one before it as in RWKV-6, their shares by channel and row. */
function lerpCase(rows: number, width: number, count: number, pass: Pass): BenchCase {
  const numbers = rows * width;
  return opCase(
    {
      kernel: "lerp", shape: `${count} of ${rows}x${width}`, pass,
      // The gradient reads the same and that of each mix, and writes those of a, b and each share of a row.
      operations: ((pass === "both" ? 11 : 3) * count + 1) * numbers,
      bytes: FLOAT * (pass === "both" ? 5 * count + 6 : 2 * count + 2) * numbers,
    },
    (random) => ({
      tracked: { a: random([rows, width]), b: random([rows, width]), extra: random([count, rows, width]),
        ...Object.fromEntries(Array.from({ length: count }, (_, i) => [`share${i}`, random([width])])) },
    }),
    ({ a, b, extra, ...shares }) => lerp(a, b, Object.values(shares), extra),
  );
}

/** Queries or keys of Mamba-3: one group that all heads read, each with a bias and angles of its own, half of its numbers turned. */
function turnCase(time: number, heads: number, size: number, pass: Pass): BenchCase {
  const angles = size / 4;
  const numbers = time * heads * size;
  return opCase(
    {
      kernel: "turn", shape: `T=${time} H=${heads} N=${size} A=${angles}`, pass,
      // The gradient turns dy back, reads angles and y again, and writes those of angles, bias and the group.
      operations: (pass === "both" ? 6.75 : 2.5) * numbers,
      bytes: FLOAT * ((pass === "both" ? 3.75 : 1.25) * numbers + (pass === "both" ? 2 : 1) * time * size),
    },
    (random) => ({
      tracked: { x: random([1, time, 1, 1, size]), bias: random([1, heads, size]), angle: random([1, time, heads, angles]) },
    }),
    (inputs) => turn(inputs),
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
  ...SCAN_CASES,
  ...bothPasses((pass) => convCase(1, 4096, 1792, pass)),
  ...bothPasses((pass) => normCase(4096, 1536, pass)),
  ...bothPasses((pass) => layerNormCase(4096, 1536, pass)),
  ...bothPasses((pass) => lerpCase(4096, 768, 5, pass)),
  ...bothPasses((pass) => turnCase(4096, 24, 128, pass)),
  ...bothPasses((pass) => crossEntropyCase(2048, 128, 256, pass)),
  crossEntropyCase(1024, 768, 16384, "both"),
  ...bothPasses((pass) => attentionCase(16_384, 4, 64, 512, pass)),
  ...bothPasses((pass) => chunkAttentionCase(16_384, 4, 64, 64, 8, pass)),
  retrieveCase(1, 16, 262_144, 64, 8, "forward"),
  retrieveCase(8, 256, 256, 256, 8, "both", true),
];

/** Sizes at which a GPU is busy. */
export const GPU_OP_CASES: readonly BenchCase[] = [
  ...[2048, 4096].map((n) => matmulCase(n, n, n, "forward")),
  ...GPU_SCAN_CASES,
  ...bothPasses((pass) => convCase(8, 2048, 1792, pass)),
  ...bothPasses((pass) => normCase(16384, 1536, pass)),
  ...bothPasses((pass) => layerNormCase(16384, 1536, pass)),
];
