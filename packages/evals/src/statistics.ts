/** Confidence intervals, as small as measures need them. Every interval here is two-sided at 95%. */

/** Lower and upper end of a confidence interval. */
export type Interval = readonly [low: number, high: number];

/** 97.5% quantiles of Student's t for 1 ... 30 degrees of freedom. */
const T_975 = [
  12.7062, 4.30265, 3.18245, 2.77645, 2.57058, 2.44691, 2.36462, 2.306, 2.26216, 2.22814,
  2.20099, 2.17881, 2.16037, 2.14479, 2.13145, 2.11991, 2.10982, 2.10092, 2.09302, 2.08596,
  2.07961, 2.07387, 2.06866, 2.0639, 2.05954, 2.05553, 2.05183, 2.04841, 2.04523, 2.04227,
];
const Z_975 = 1.959964;

/** 97.5% quantile of Student's t: a table to 30 degrees of freedom, then the first Cornish-Fisher term (error < 0.002). */
export function studentT975(degrees: number): number {
  return T_975[degrees - 1] ?? Z_975 + (Z_975 ** 3 + Z_975) / (4 * degrees);
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** a / b, and 1 where both are 0: there is no difference. */
export function quotient(a: number, b: number): number {
  return a === b ? 1 : a / b;
}

/** Half the width of the t-interval of a mean; null for fewer than two values, about which nothing can be said. */
function halfWidth(values: readonly number[]): number | null {
  if (values.length < 2) return null;
  const centre = mean(values);
  const variance = values.reduce((sum, value) => sum + (value - centre) ** 2, 0) / (values.length - 1);
  return studentT975(values.length - 1) * Math.sqrt(variance / values.length);
}

/** t-interval of a mean over independent values (here: one per sequence). Null for fewer than two. */
export function meanInterval(values: readonly number[]): Interval | null {
  const half = halfWidth(values);
  return half === null ? null : [mean(values) - half, mean(values) + half];
}

/**
 * Interval of the ratio of two means over paired values, by the linearised residuals of the ratio estimator
 * (Cochran, Sampling Techniques, section 6.3): paired, so that what makes one text harder than another cancels. Null where the mean
 * below is 0.
 */
export function ratioInterval(numerators: readonly number[], denominators: readonly number[]): Interval | null {
  const below = mean(denominators);
  if (below === 0) return null;
  const ratio = mean(numerators) / below;
  const half = halfWidth(numerators.map((value, i) => (value - ratio * denominators[i]!) / below));
  return half === null ? null : [ratio - half, ratio + half];
}

/** Wilson's score interval for a share of successes. */
export function wilsonInterval(successes: number, trials: number): Interval {
  if (trials === 0) return [0, 1];
  const share = successes / trials;
  const z2 = Z_975 ** 2;
  const centre = (share + z2 / (2 * trials)) / (1 + z2 / trials);
  const half = (Z_975 / (1 + z2 / trials)) * Math.sqrt((share * (1 - share)) / trials + z2 / (4 * trials ** 2));
  return [Math.max(0, centre - half), Math.min(1, centre + half)];
}
