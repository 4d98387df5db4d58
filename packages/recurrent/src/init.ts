/** Starting values that several families draw alike. */
import { check } from "@lenggen/kernels";
import { type Field, nullableField, numberField, optionalField, pairField } from "@lenggen/kernels/nn";

const rate = numberField({ above: 0, to: 16 });

/** The number at the share u (0 to 1) of a range whose logarithm is evenly filled. */
export function logUniform([low, high]: readonly [number, number], u: number): number {
  return low * (high / low) ** u;
}

/**
 * A range of rates of decay per token, least first, that a model begins with: a field of lenggen's own, for families whose files have none.
 * 1e-4 keeps a state for some 10,000 tokens. null: as the family's authors begin.
 */
export const DECAY_RANGE = optionalField(nullableField(rangeField(rate), null), null);

/** Two numbers of which the first is not above the second. */
export function rangeField(bound: Field<number>): Field<readonly [number, number]> {
  const pair = pairField(bound, bound);
  return {
    expected: pair.expected,
    read(value, path, unknown) {
      const range = pair.read(value, path, unknown);
      if (range) checkRanges({ [path]: range });
      return range;
    },
  };
}

/** x with log(1 + exp(x)) = y. */
export function inverseSoftplus(y: number): number {
  return y + Math.log(-Math.expm1(-y));
}

/** Throws `E_CONFIG` where a range begins above its end. */
export function checkRanges(ranges: Readonly<Record<string, readonly [number, number] | null>>): void {
  for (const [name, given] of Object.entries(ranges)) {
    check(given === null || given[0] <= given[1], "E_CONFIG", () => `config: ${name}: ${given![0]} must not be above ${given![1]}`);
  }
}
