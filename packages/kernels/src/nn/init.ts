/**
 * How parameters begin. An {@link Init} is any function of a key and a place; these are the ones that several families share. A family with
 * its own (one that depends on the channel, as RWKV's) writes a function, or uses {@link elementsInit}.
 */
import type { Device } from "../device";
import type { DType } from "../dtype";
import { normal, uniform } from "../ops/random";
import { hostRandom, type HostRandom, type Key } from "../random";
import { type Shape, sizeOf } from "../shape";
import { type Tensor, tensor } from "../tensor";
import { full } from "../ops/memory";

/** What a parameter is drawn for. */
export interface InitPlace {
  /** The parameter's own key, which no other is drawn from. */
  readonly key: Key;
  readonly device: Device;
  readonly shape: Shape;
  readonly dtype: DType;
}

/** Makes a parameter's starting values. The same key gives the same numbers on every device. */
export type Init = (place: InitPlace) => Tensor;

/** One number everywhere: 1 for norms, 0 for biases. */
export function constantInit(value: number): Init {
  return ({ device, shape, dtype }) => full(device, shape, value, dtype);
}

/** Normal numbers around 0 with this standard deviation. */
export function normalInit(std: number): Init {
  return ({ key, device, shape, dtype }) => normal(key, device, shape, { std, dtype });
}

/** Uniform numbers between -bound and bound. */
export function uniformInit(bound: number): Init {
  return ({ key, device, shape, dtype }) => uniform(key, device, shape, { low: -bound, high: bound, dtype });
}

/**
 * Each number by a function of its place in row-major order, on the host: for vectors whose values follow a formula of the channel, of
 * random numbers (one stream for the whole parameter), or of both.
 */
export function elementsInit(value: (random: HostRandom, index: number) => number): Init {
  return ({ key, device, shape, dtype }) => {
    const random = hostRandom(key);
    return tensor(device, Array.from({ length: sizeOf(shape) }, (_, index) => value(random, index)), shape, dtype);
  };
}
