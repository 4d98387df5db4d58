/** Words that sentences of reports share. */

/** `a`, `a and b`, `a, b and c`. */
export function list(items: readonly string[]): string {
  return items.length < 2 ? items.join("") : `${items.slice(0, -1).join(", ")} and ${items.at(-1)}`;
}

/** With a capital at the front. */
export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** What positions of a report count: bytes unless it has a tokenizer. */
export function unitOf({ tokens }: { readonly tokens?: object }): "byte" | "token" {
  return tokens ? "token" : "byte";
}
