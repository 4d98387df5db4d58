/** Numbers as people read them on axes and in tables. */

/** A length for people, with a suffix where it is a whole binary multiple: 65536 -> `64k`, 1048576 -> `1M`, 1000 -> `1,000`. */
export function formatLength(tokens: number): string {
  if (tokens >= 2 ** 20 && Number.isInteger((tokens / 2 ** 20) * 4)) return `${tokens / 2 ** 20}M`;
  if (tokens >= 1024 && Number.isInteger(tokens / 1024)) return `${tokens / 1024}k`;
  return group(tokens);
}

/** Whole numbers with commas in thousands. */
export function group(value: number): string {
  return Math.round(value).toString().replace(/\B(?=(\d{3})+$)/g, ",");
}

/** A fixed number of decimals, with a true minus sign. */
export function fixed(value: number, decimals = 3): string {
  return value.toFixed(decimals).replace("-", "\u2212");
}

/** At most `digits` significant digits, without trailing zeros. */
export function significant(value: number, digits = 3): string {
  return String(Number(value.toPrecision(digits)));
}

/** A duration in words, in its two largest units: 754 -> `12 min 34 s`. */
export function formatSeconds(seconds: number): string {
  const whole = Math.round(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min ${rest} s` : `${rest} s`;
}

/** Powers of 2, 4, 16, 256 ... inside a domain, few enough for `most` labels. */
export function binaryTicks([low, high]: readonly [number, number], most: number): number[] {
  for (let step = 1; ; step *= 2) {
    const ticks: number[] = [];
    for (let power = Math.ceil(Math.log2(low) / step) * step; 2 ** power <= high; power += step) ticks.push(2 ** power);
    if (ticks.length <= Math.max(2, most)) return ticks;
  }
}

const MANTISSAS = [[1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 4, 5, 6, 8], [1, 1.5, 2, 3, 4, 6, 8], [1, 2, 5], [1]] as const;

/** Round numbers inside a domain for a logarithmic axis: the densest of a few patterns that needs at most `most` labels. */
export function decimalTicks([low, high]: readonly [number, number], most: number): number[] {
  const decades = Array.from({ length: Math.ceil(Math.log10(high)) - Math.floor(Math.log10(low)) + 1 },
    (_, i) => Math.floor(Math.log10(low)) + i);
  const patterns = MANTISSAS.map((mantissas) => decades
    .flatMap((decade) => mantissas.map((mantissa) => Number((mantissa * 10 ** decade).toPrecision(3))))
    .filter((tick) => tick >= low && tick <= high));
  return patterns.find((ticks) => ticks.length <= Math.max(2, most)) ?? patterns.at(-1)!;
}
