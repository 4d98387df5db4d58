/**
 * How RWKV's parameters begin. Most vectors follow a formula of the channel n of C and of how deep the layer l of L lies (BlinkDL/RWKV-LM,
 * RWKV-v5/src/model.py and RWKV-v7/train_temp/src/model.py); matrices are orthogonal.
 */
import { hostRandom, type Shape, tensor } from "@lenggen/kernels";
import { elementsInit, type Init } from "@lenggen/kernels/nn";

/** Where a layer stands. */
export class Depth {
  constructor(readonly layer: number, readonly layers: number) {}

  /** 0 for the first layer, 1 for the last. */
  get down(): number {
    return this.layers > 1 ? this.layer / (this.layers - 1) : 0;
  }

  /** 1 for the first layer, 1/L for the last. */
  get left(): number {
    return 1 - this.layer / this.layers;
  }
}

/** How far along the channels one of them is: 0 for the first, 1 for the last. */
export function along(width: number, channel: number): number {
  return width > 1 ? channel / (width - 1) : 0;
}

/** Each number by its channel alone. */
export function channelInit(value: (channel: number) => number): Init {
  return elementsInit((_, channel) => value(channel));
}

/** The share of the token before in a mix with it, `1 - (n/C)^power - less`: low channels begin with most of it. */
export function shiftInit(width: number, power: number, less = 0): Init {
  return channelInit((channel) => 1 - (channel / width) ** power - less);
}

/** The weight of the norm behind the heads: deeper layers begin with more, ((l + 1) / L)^0.7. */
export function headNormWeight({ layer, layers }: Depth): number {
  return ((layer + 1) / layers) ** 0.7;
}

/** The gain of the output matrix [V,C], 0.5 √(V/C) where there are more tokens than channels. */
export function headGain(vocabulary: number, width: number): number {
  return 0.5 * Math.sqrt(Math.max(1, vocabulary / width));
}

/**
 * An orthogonal matrix times `gain`, each equally likely (Haar): its rows have length `gain` and stand at right angles to each other, or
 * its columns where there are fewer of them. Normal numbers, made orthonormal one vector after the other in float64 on the host, so that a
 * key gives the same numbers on every device; the time grows with the longer side times the square of the shorter.
 */
export function orthogonalInit(gain: number): Init {
  return ({ key, device, shape, dtype }) => {
    const [rows, columns] = shape as Shape & readonly [number, number];
    const count = Math.min(rows, columns);
    const length = Math.max(rows, columns);
    const random = hostRandom(key);
    const vectors = Array.from({ length: count }, () => Float64Array.from({ length }, () => normalOf(random.uniform(), random.uniform())));
    for (const [i, vector] of vectors.entries()) makeOrthonormal(vector, vectors, i);
    const values = new Float64Array(rows * columns);
    for (const [i, vector] of vectors.entries()) {
      if (rows <= columns) for (let j = 0; j < length; j++) values[i * columns + j] = gain * vector[j]!;
      else for (let j = 0; j < length; j++) values[j * columns + i] = gain * vector[j]!;
    }
    return tensor(device, values, shape, dtype);
  };
}

/** A normal number from two uniform ones in [0, 1) (Box & Muller 1958). */
function normalOf(a: number, b: number): number {
  return Math.sqrt(-2 * Math.log(1 - a)) * Math.cos(2 * Math.PI * b);
}

/** Takes from a vector what lies along the first `count` of some orthonormal ones, and gives it length 1. Four at a time, for speed. */
function makeOrthonormal(vector: Float64Array, others: readonly Float64Array[], count: number): void {
  const length = vector.length;
  for (let first = 0; first < count; first += 4) {
    const a = others[first]!;
    const [b, c, d] = [1, 2, 3].map((n) => others[first + n < count ? first + n : first]) as [Float64Array, Float64Array, Float64Array];
    let [alongA, alongB, alongC, alongD] = [0, 0, 0, 0];
    for (let j = 0; j < length; j++) {
      const x = vector[j]!;
      alongA += x * a[j]!;
      alongB += x * b[j]!;
      alongC += x * c[j]!;
      alongD += x * d[j]!;
    }
    if (first + 1 >= count) alongB = 0;
    if (first + 2 >= count) alongC = 0;
    if (first + 3 >= count) alongD = 0;
    for (let j = 0; j < length; j++) {
      vector[j] = vector[j]! - (alongA * a[j]! + alongB * b[j]! + alongC * c[j]! + alongD * d[j]!);
    }
  }
  let sum = 0;
  for (let j = 0; j < length; j++) sum += vector[j]! * vector[j]!;
  const factor = 1 / Math.sqrt(sum);
  for (let j = 0; j < length; j++) vector[j] = vector[j]! * factor;
}
