import type { Layout } from "../../ops/layout";

/** A loop nest of two operands as native/cpu/nest.h reads it: rank, sizes, strides of each. */
export function nestNumbers({ sizes, strides }: Layout): number[] {
  return [sizes.length, ...sizes, ...strides[0]!, ...strides[1]!];
}
