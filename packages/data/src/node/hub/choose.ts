/** Which of a repository's files are fetched: never all of them, as many hold the same weights several times. */
import { basename } from "node:path/posix";
import { check, isJsonObject, LenggenError, parseJsonBytes, WEIGHTS_FILE, WEIGHTS_INDEX } from "@lenggen/kernels";
import type { HubFile } from "./cache";

/** What files are wanted for. */
export type HubKind = "checkpoint" | "tokenizer" | "text";

export interface Wanted {
  readonly files: readonly HubFile[];
  /** The one file or the folder that a user opens; empty for the repository's root. */
  readonly path: string;
  /** A file among them that names more: a list of shards. */
  readonly index?: HubFile;
}

/** Weights in the order of preference: safetensors hold no programs, one file goes before several. */
const WEIGHTS = [WEIGHTS_FILE, WEIGHTS_INDEX, "pytorch_model.bin", "pytorch_model.bin.index.json"];
/** Weights of other names, in a repository that has none of those. */
const OTHER_WEIGHTS = [/\.safetensors$/, /\.(pth|pt|bin)$/];
const NOT_WEIGHTS = /(^|[/_.-])(optimizer|scheduler|training_args|rng_state|adapter_model)\b/;
const TOKENIZER = [/^tokenizer\.json$/, /^rwkv_vocab.*\.txt$/];
const BESIDE_TOKENIZER = /^(tokenizer_config|special_tokens_map)\.json$/;
const CONFIG = "config.json";
/** More than any published model has. */
const MOST_SHARDS = 1024;
const MOST_NAMED = 12;

/** Chooses what a kind of use needs; `label` names the repository in errors (`E_MISSING`, `E_ARGUMENT`). */
export function choose(listing: readonly HubFile[], kind: HubKind, path: string, label: string, reads?: (path: string) => boolean): Wanted {
  if (kind === "text") return chooseTexts(listing, path, label, reads);
  const file = listing.find((each) => each.path === path);
  const folder = file ? path.slice(0, -basename(path).length) : path === "" ? "" : `${path}/`;
  const here = listing.filter((each) => each.path.startsWith(folder) && !each.path.slice(folder.length).includes("/"));
  check(here.length > 0, "E_MISSING", () => `${label}: there is no file or folder ${path}; there are ${names(listing)}`);
  const named = (name: string): HubFile | undefined => here.find((each) => each.path === folder + name);
  const vocabulary = here.filter((each) => TOKENIZER.some((pattern) => pattern.test(basename(each.path))));
  const beside = here.filter((each) => BESIDE_TOKENIZER.test(basename(each.path)));
  if (kind === "tokenizer") {
    if (file) return { files: [...new Set([file, ...beside])], path };
    check(vocabulary.length > 0, "E_MISSING", () =>
      `${label} has no tokenizer: neither a tokenizer.json nor an rwkv_vocab*.txt; there are ${names(here)}`);
    return { files: [...vocabulary, ...beside], path };
  }
  const config = named(CONFIG);
  const others = [...(config ? [config] : []), ...vocabulary, ...beside];
  const standard = file ?? WEIGHTS.map(named).find((each) => each !== undefined);
  const weights = standard ?? onlyOther(here, label);
  const index = basename(weights.path).endsWith(".index.json") ? weights : undefined;
  const whole = WEIGHTS.includes(basename(weights.path));
  return { files: [...new Set([...others, weights])], path: whole ? folder.slice(0, -1) : weights.path, ...(index && { index }) };
}

/** The one file of weights that has a name of its own, such as RWKV's. */
function onlyOther(here: readonly HubFile[], label: string): HubFile {
  for (const pattern of OTHER_WEIGHTS) {
    const found = here.filter(({ path }) => pattern.test(path) && !NOT_WEIGHTS.test(path));
    check(found.length < 2, "E_ARGUMENT", () =>
      `${label} holds ${found.length} files of weights; name one, such as ${label}/${found[0]!.path}: there are ${names(found)}`);
    if (found[0]) return found[0];
  }
  throw new LenggenError("E_MISSING", `${label} has no weights: none of ${WEIGHTS.join(", ")}, and no .safetensors or .pth; there are `
    + names(here));
}

/** The files that an index of shards names, beside it. */
export function shardsOf(index: HubFile, bytes: Uint8Array, listing: readonly HubFile[], label: string): HubFile[] {
  const read = parseJsonBytes(bytes, index.path);
  const map = isJsonObject(read) ? read["weight_map"] : undefined;
  check(isJsonObject(map), "E_FORMAT", () => `${label}: ${index.path} has no weight_map, which says where the tensors are`);
  const found = new Set(Object.values(map));
  check(found.size <= MOST_SHARDS, "E_FORMAT", () => `${label}: ${index.path} names ${found.size} files; at most ${MOST_SHARDS} are read`);
  const folder = index.path.slice(0, -basename(index.path).length);
  return [...found].map((name) => {
    const shard = listing.find(({ path }) => typeof name === "string" && path === folder + name);
    check(shard, "E_MISSING", () => `${label}: ${index.path} names ${JSON.stringify(name)}, which is not in the repository`);
    return shard;
  });
}

/** A file, those below a folder, or those that a pattern names. Without any, only what is a single one. */
function chooseTexts(listing: readonly HubFile[], path: string, label: string, reads: (path: string) => boolean = () => true): Wanted {
  const file = listing.find((each) => each.path === path);
  if (file) return { files: [file], path };
  const readable = listing.filter((each) => reads(each.path) && !basename(each.path).startsWith("."));
  const pattern = path.includes("*") ? globOf(path) : undefined;
  const found = path === "" ? readable.filter((each) => !/\.(md|py)$|(^|\/)(dataset_infos?|croissant)\.json$/.test(each.path))
    : readable.filter((each) => (pattern ? pattern.test(each.path) : each.path.startsWith(`${path}/`)));
  check(found.length > 0, "E_MISSING", () =>
    `${label}: there is no text ${path === "" ? "in it" : path} that can be read; there are ${names(listing)}`);
  check(path !== "" || found.length === 1, "E_ARGUMENT", () =>
    `${label} holds ${found.length} files of text; name one, a folder, or several with *, behind a slash: there are ${names(found)}`);
  if (path === "") return { files: found, path: found[0]!.path };
  return { files: found, path: pattern ? path.slice(0, path.lastIndexOf("/", path.indexOf("*")) + 1).replace(/\/$/, "") : path };
}

/** `*` stands for part of a name, `**` for folders too. */
function globOf(pattern: string): RegExp {
  const parts = pattern.split(/(\*\*\/?|\*)/).map((part) =>
    part === "*" ? "[^/]*" : part.startsWith("**") ? "(?:.*/)?" : part.replaceAll(/[\\^$.|?+()[\]{}]/g, String.raw`\$&`));
  return new RegExp(`^${parts.join("")}$`);
}

function names(files: readonly HubFile[]): string {
  const shown = files.slice(0, MOST_NAMED).map(({ path }) => path).join(", ");
  return files.length > MOST_NAMED ? `${shown} and ${files.length - MOST_NAMED} more` : shown || "no files";
}
