/** Numbers and times for people. */

/** 75 -> "1 min 15 s", 4000 -> "1 h 7 min". */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "unknown";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min${whole % 60 > 0 ? ` ${whole % 60} s` : ""}`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** 31234.5 -> "31,235"; small numbers keep three digits. */
export function count(value: number): string {
  if (value !== 0 && Math.abs(value) < 100) return String(Number(value.toPrecision(3)));
  return Math.round(value).toLocaleString("en-GB");
}

/** 1 -> "1 step", 1500 -> "1,500 steps". */
export function counted(number: number, noun: string): string {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
}

/** A loss in nats per byte, as people compare it: 0.6931 -> "1.000 bits/byte". */
function bitsPerByte(nats: number): string {
  return `${(nats / Math.LN2).toFixed(3)} bits/byte`;
}

/** A loss in nats per token: of byte models in bits per byte, of others both ways, for tokens of so many bytes on average. */
export function lossInWords(nats: number, bytesPerToken: number): string {
  return bytesPerToken === 1 ? bitsPerByte(nats) : `${nats.toFixed(3)} nats/token, ${bitsPerByte(nats / bytesPerToken)}`;
}

/** Lengths as they are given: 65536 -> "64k", 1048576 -> "1M", 1000 -> "1000". */
export function lengthName(length: number): string {
  if (length >= 1 << 20 && length % (1 << 20) === 0) return `${length / (1 << 20)}M`;
  return length >= 1024 && length % 1024 === 0 ? `${length / 1024}k` : String(length);
}

/** 0.8734 -> "87%". */
export function percent(share: number): string {
  return `${Math.round(share * 100)}%`;
}

/** 12582912 -> "12.0 MiB". */
export function bytes(value: number): string {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}
