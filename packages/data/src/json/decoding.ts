/** What the tokens of a `tokenizer.json` stand for, in bytes, as its decoder says. */
import { check, isJsonObject, type Json, type JsonObject, LenggenError } from "@lenggen/kernels";
import { shown } from "./shown";
import type { Parts } from "./parts";

/** How ids become bytes. */
export interface Decoding {
  readonly bytes: readonly (Uint8Array | undefined)[];
  /** Whether a space at the very beginning of a text is the tokenizer's own, and not the text's. */
  readonly skipSpace: boolean;
}

const encoder = new TextEncoder();

/** The character that stands for each byte where a token is written byte by byte: printable ones for themselves, others from U+0100 on. */
export const BYTE_CHARACTERS: readonly string[] = (() => {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
    return String.fromCharCode(printable ? byte : next++);
  });
})();
const BYTE_OF: ReadonlyMap<string, number> = new Map(BYTE_CHARACTERS.map((character, byte) => [character, byte]));

/** The bytes of all tokens. Throws `E_CONFIG` for a decoder that is not read. */
export function decodingOf({ decoder, tokens, added }: Parts, where: string): Decoding {
  const steps = stepsOf(decoder, where);
  const asTheyAre = new Set(added.map(({ id }) => id));
  const byteLevel = steps.some(({ type }) => type === "ByteLevel");
  const spaces = steps.flatMap((step) => (step.type === "Metaspace" || step.type === "Replace" ? [step.from] : []));
  const fallback = steps.some(({ type }) => type === "ByteFallback");
  const bytes = tokens.map((text, id) => {
    if (text === undefined) return undefined;
    if (asTheyAre.has(id)) return encoder.encode(text);
    if (byteLevel) return fromCharacters(text) ?? encoder.encode(text);
    const byte = fallback ? /^<0x([0-9A-Fa-f]{2})>$/.exec(text)?.[1] : undefined;
    if (byte !== undefined) return Uint8Array.of(Number.parseInt(byte, 16));
    return encoder.encode(spaces.reduce((written, from) => written.replaceAll(from, " "), text));
  });
  return { bytes, skipSpace: steps.some(({ type }) => type === "Strip" || type === "Metaspace") };
}

type Step = { readonly type: "ByteLevel" | "ByteFallback" | "Fuse" | "Strip" }
  | { readonly type: "Metaspace" | "Replace"; readonly from: string };

function stepsOf(config: Json, where: string): Step[] {
  const refuse = (what: string): never => {
    throw new LenggenError("E_CONFIG", `${where}: ${what} is not read; ByteLevel, Metaspace, and a Sequence of Replace (by a space), `
      + "ByteFallback, Fuse and Strip (of a space at the beginning) are");
  };
  if (!isJsonObject(config)) return refuse(`a decoder that is ${shown(config)}`);
  const { type } = config;
  switch (type) {
    case "ByteLevel":
    case "ByteFallback":
    case "Fuse":
      return [{ type }];
    case "Metaspace": {
      const from = config["replacement"] ?? "▁";
      check(typeof from === "string" && from !== "", "E_FORMAT", () => `${where}: the decoder's replacement is no text`);
      return [{ type: config["prepend_scheme"] === "never" || config["add_prefix_space"] === false ? "Replace" : "Metaspace", from }];
    }
    case "Replace": {
      const from = (config["pattern"] as JsonObject | undefined)?.["String"];
      if (typeof from !== "string" || from === "" || config["content"] !== " ") return refuse("a Replace by something else than a space");
      return [{ type, from }];
    }
    case "Strip":
      if (config["content"] !== " " || config["start"] !== 1 || (config["stop"] ?? 0) !== 0) return refuse("a Strip of its kind");
      return [{ type }];
    case "Sequence": {
      const { decoders } = config;
      check(Array.isArray(decoders), "E_FORMAT", () => `${where}: a Sequence needs a list of decoders`);
      return (decoders as Json[]).flatMap((each) =>
        isJsonObject(each) && each["type"] === "Sequence" ? refuse("a Sequence in a Sequence") : stepsOf(each, where));
    }
    default:
      return refuse(`a decoder of type ${shown(type)}`);
  }
}

function fromCharacters(text: string): Uint8Array | undefined {
  const bytes = Array.from(text, (character) => BYTE_OF.get(character));
  return bytes.includes(undefined) ? undefined : Uint8Array.from(bytes as number[]);
}
