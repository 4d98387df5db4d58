/** Numbers in words. */

/** 64, 1,024. */
export const count = (value: number): string => Math.round(value).toLocaleString("en");

/** 64, 1k, 4k, 0.25: for axes. */
export const short = (value: number): string =>
  (value >= 1024 && value % 1024 === 0 ? `${value / 1024}k` : String(Number(value.toPrecision(3))));

/** "about 40 s", "about 2 minutes". */
export function about(seconds: number): string {
  const grain = seconds < 10 ? 1 : 5;
  if (seconds < 90) return `about ${Math.max(1, Math.round(seconds / grain) * grain)} s`;
  return `about ${Math.round(seconds / 60)} minutes`;
}
