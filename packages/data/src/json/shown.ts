/** JSON in error messages. */
import { type Json } from "@lenggen/kernels";

const MOST = 80;

/** A value as JSON, not too long. */
export function shown(value: Json | undefined): string {
  const text = value === undefined ? "missing" : JSON.stringify(value);
  return text.length > MOST ? `${text.slice(0, MOST)}…` : text;
}
