/** A tokenizer's normaliser: which ones are read, and what of them decides where a text may be cut. */
import { check, isJsonObject, type Json, LenggenError, quote } from "@lenggen/kernels";

/** What is known of a normaliser. */
export interface NormalizerFacts {
  /** What it writes in the place of a space; the space itself where it leaves it. */
  readonly space: string;
  /** What it puts before each text. */
  readonly prepended: string;
  /** `none`: it changes nothing else. `composes`: NFC. `other`: something else, so that texts can't be cut. */
  readonly kind: "none" | "composes" | "other";
}

/** Throws `E_CONFIG` for a kind that is not read, `E_FORMAT` for damage. */
export function normalizerFacts(config: Json, where: string): NormalizerFacts {
  const facts: { space: string; prepended: string; kind: NormalizerFacts["kind"] } = { space: " ", prepended: "", kind: "none" };
  for (const [i, step] of stepsOf(config, where, 0).entries()) {
    if (step.type === "NFC") facts.kind = facts.kind === "none" ? "composes" : "other";
    else if (step.type === "Prepend" && i === 0) facts.prepended = step.text;
    else if (step.type === "Replace" && step.from === " " && facts.space === " " && Array.from(step.text).length === 1) {
      facts.space = step.text;
      facts.prepended = facts.prepended.replaceAll(" ", step.text);
    } else facts.kind = "other";
  }
  // What composes could reach into what was put before, and the other way round.
  return facts.kind === "composes" && (facts.space !== " " || facts.prepended !== "") ? { ...facts, kind: "other" } : facts;
}

type Step = { readonly type: "NFC" | "NFD" | "NFKC" | "NFKD" } | { readonly type: "Prepend"; readonly text: string }
  | { readonly type: "Replace"; readonly from: string; readonly text: string };

function stepsOf(config: Json, where: string, depth: number): Step[] {
  if (config === null) return [];
  check(isJsonObject(config) && typeof config["type"] === "string", "E_FORMAT", () => `${where}: a normalizer is an object with a type`);
  const { type } = config;
  switch (type) {
    case "NFC":
    case "NFD":
    case "NFKC":
    case "NFKD":
      return [{ type }];
    case "Prepend":
      check(typeof config["prepend"] === "string", "E_FORMAT", () => `${where}: Prepend needs a text to prepend`);
      return [{ type, text: config["prepend"] }];
    case "Replace": {
      const from = isJsonObject(config["pattern"]) ? config["pattern"]["String"] : undefined;
      check(typeof from === "string" && from !== "" && typeof config["content"] === "string", "E_CONFIG", () =>
        `${where}: a normalizer that Replaces is read where its pattern is a String and its content a text`);
      return [{ type, from, text: config["content"] }];
    }
    case "Sequence":
      check(Array.isArray(config["normalizers"]) && depth === 0, "E_FORMAT", () =>
        `${where}: a Sequence needs a list of normalizers, none of them a Sequence`);
      return (config["normalizers"] as Json[]).flatMap((each) => stepsOf(each, where, depth + 1));
    default:
      throw new LenggenError("E_CONFIG", `${where}: a normalizer of type ${quote(type)} is not read; NFC, NFD, NFKC, NFKD, Prepend, `
        + "Replace (of a text) and a Sequence of them are");
  }
}
