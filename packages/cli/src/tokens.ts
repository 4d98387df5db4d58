/** How the commands turn texts into tokens: which tokenizer it is, whether it fits the model, and texts in its ids. */
import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { dirname } from "node:path";
import {
  bytesFiles, findTokenizer, isHubReference, readTokenizer, type Text, type TokenizerFiles, type TokenText, tokenText,
} from "@lenggen/data/node";
import { check, type SequenceModel } from "@lenggen/kernels";
import type { Command } from "commander";
import { count, counted } from "./format";
import { fromHub, type HubContext } from "./hub";
import { underBars } from "./texts";

/** The name of the tokenizer that needs no file. */
const BYTES = "bytes";
/** The vocabulary of byte models. */
const BYTE_VOCABULARY = 256;

/** Adds the flag that says how texts become tokens; `otherwise`: what holds unless it is given. */
export function addTokenizerOption(command: Command, otherwise: string): Command {
  return command.option("--tokenizer <place>",
    "what makes tokens of texts: a tokenizer.json or a vocabulary of RWKV World (a file or its folder), hf:owner/name[@revision], or "
      + `bytes; ${otherwise} unless given`);
}

/**
 * The tokenizer for a model: the one given, the one that lies beside the checkpoint, or bytes for a model of bytes. Throws `E_CONFIG` for
 * one that the model has too few rows for, and where there is none.
 */
export async function tokenizerFor(
  model: Pick<SequenceModel, "vocabulary">, given: string | undefined, checkpoint: string | undefined, context: HubContext,
): Promise<TokenizerFiles> {
  const beside = await tokenizerBeside(checkpoint);
  const found = given !== undefined ? await tokenizerNamed(given, context)
    : beside === undefined ? undefined : await readTokenizer(beside);
  // Its bytes are compared: one that can't be read is no reason to refuse the one that was given in its place.
  if (given !== undefined && beside !== undefined && found!.tokenizer.hash !== sha256(await readFile(beside))) {
    process.stderr.write(`${checkpoint} has a tokenizer of its own, ${beside}, which is another one than ${given}: a model understands the `
      + "ids that it was trained with, and no others\n");
  }
  check(found !== undefined || model.vocabulary === BYTE_VOCABULARY, "E_CONFIG", () =>
    `${checkpoint ?? "the model"} has a vocabulary of ${count(model.vocabulary)} and no tokenizer: there is neither a tokenizer.json nor a `
      + "vocabulary of RWKV World (rwkv_vocab_*.txt) beside it; give one with --tokenizer");
  const { tokenizer } = found ?? bytesFiles;
  check(tokenizer.vocabulary <= model.vocabulary, "E_CONFIG", () =>
    `tokenizer ${tokenizer.name} has ids up to ${count(tokenizer.vocabulary - 1)}, and the model a vocabulary of `
      + `${count(model.vocabulary)} only; give the one that the model was trained with by --tokenizer`);
  return found ?? bytesFiles;
}

/** The tokenizer that somebody named: a place, a reference to the hub, or bytes. */
export async function tokenizerNamed(name: string, context: HubContext): Promise<TokenizerFiles> {
  if (name === BYTES) return bytesFiles;
  return readTokenizer(isHubReference(name) ? (await fromHub(name, "tokenizer", context)).path : name);
}

/** The path of the tokenizer that lies beside a checkpoint, if one does. */
async function tokenizerBeside(checkpoint: string | undefined): Promise<string | undefined> {
  if (checkpoint === undefined) return undefined;
  return findTokenizer((await stat(checkpoint)).isDirectory() ? checkpoint : dirname(checkpoint));
}

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** A text in tokens, at least so many, encoded under a bar where it has not been before. */
export async function inTokens(
  text: Text, { tokenizer }: TokenizerFiles, least: number, { signal }: Pick<HubContext, "signal">,
): Promise<TokenText> {
  const made = await underBars((onProgress) => tokenText(text, tokenizer, { signal, onProgress }));
  check(made.tokens.length >= least, "E_TEXT", () =>
    `text "${text.source}" has ${counted(made.tokens.length, unitOf(made).slice(0, -1))}; this needs at least ${count(least)}`);
  return made;
}

/** What positions in a text are, for labels. */
export function unitOf({ tokenizer }: Pick<TokenText, "tokenizer">): "bytes" | "tokens" {
  return tokenizer.kind === "bytes" ? "bytes" : "tokens";
}

/** Bytes in a token of a text, on average: 1 where they are the tokens. */
export function bytesPerToken({ bytes, tokens }: Pick<TokenText, "bytes" | "tokens">): number {
  return bytes / tokens.length;
}

/** Bytes in each token, by its id. */
export function tokenSizes({ tokenizer }: TokenizerFiles): Uint16Array {
  return Uint16Array.from({ length: tokenizer.vocabulary }, (_, id) => tokenizer.bytesOf(id)?.length ?? 0);
}

/** What runs and results record of a tokenizer; nothing of bytes. */
export function tokenizerRecord({ tokenizer }: TokenizerFiles): { readonly kind: string; readonly hash: string } | undefined {
  const { kind, hash } = tokenizer;
  return kind === "bytes" ? undefined : { kind, hash };
}
