/** Settings and records are made of JSON. */
import type { Json, JsonObject as JsonRecord } from "@lenggen/kernels";

export type { Json, JsonObject as JsonRecord } from "@lenggen/kernels";

/** Where two values differ, as lines `path: there, here`; empty when they agree. Key order does not matter. */
export function differences(there: Json | undefined, here: Json | undefined, path = ""): string[] {
  if (isRecord(there) && isRecord(here)) {
    const keys = [...new Set([...Object.keys(there), ...Object.keys(here)])];
    return keys.flatMap((key) => differences(own(there, key), own(here, key), path === "" ? key : `${path}.${key}`));
  }
  const [before, now] = [show(there), show(here)];
  return before === now ? [] : [`${path}: ${before} there, ${now} here`];
}

function isRecord(value: Json | undefined): value is JsonRecord {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function own(record: JsonRecord, key: string): Json | undefined {
  return Object.hasOwn(record, key) ? record[key] : undefined;
}

function show(value: Json | undefined): string {
  return value === undefined ? "nothing" : JSON.stringify(value);
}
