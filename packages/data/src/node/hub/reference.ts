/**
 * References to the hub, as Python's tools write them, with `hf:` or `hf://` before:
 *
 *   hf:state-spaces/mamba2-130m                          a model, as its branch `main` is now
 *   hf:state-spaces/mamba2-130m@v1                       a branch, tag or commit
 *   hf:BlinkDL/rwkv-6-world/RWKV-x060-World-1B6.pth      a file of it
 *   hf:datasets/owner/name@refs/convert/parquet/a/*.parquet   files of a data set
 *
 * A revision with a slash in it has %2F for that, but for `refs/pr/1` and `refs/convert/parquet`, of which only one reading makes sense.
 */
import { check } from "@lenggen/kernels";

export interface HubReference {
  readonly type: "model" | "dataset";
  /** `owner/name`; some old repositories have a name alone. */
  readonly name: string;
  readonly revision: string;
  /** A file, a folder, or names with `*`, below the repository's root; empty for all of it. */
  readonly path: string;
}

/** Whether a text is a reference to the hub, and not a path. */
export const isHubReference = (text: string): boolean => text.startsWith("hf:");

const PREFIX = /^hf:(?:\/\/)?/;
/** What a repository's owner and name are made of; `--` and `..` separate names in the cache and folders. */
const NAME = /^(?!.*(?:--|\.\.))[A-Za-z0-9_](?:[\w.-]{0,94}[A-Za-z0-9_])?$/;
/** Revisions that have slashes. */
const SPECIAL = /^(refs\/(?:pr\/\d+|convert\/[\w.-]+))(?:\/(.*))?$/s;
/** What git takes as a revision's name, without what leads out of a folder. */
const REVISION = /^(?!\/)(?!.*(?:\.\.|\/\/))[^\s~^:?*[\\\p{Cc}]+(?<!\/)$/u;
const OTHER_TYPES: ReadonlySet<string> = new Set(["spaces", "buckets", "kernels"]);

/** Reads a reference; throws `E_ARGUMENT` for what is none. */
export function parseHubReference(text: string): HubReference {
  const right = "right would be hf:owner/name, hf:owner/name@revision or hf:datasets/owner/name@revision/path";
  const wrong = (what: string) => (): string => `${text}: ${what}; ${right}`;
  const segments = text.replace(PREFIX, "").split("/");
  const type = segments[0] === "datasets" ? "dataset" : "model";
  if (segments[0] === "datasets" || segments[0] === "models") segments.shift();
  check(!OTHER_TYPES.has(segments[0] ?? ""), "E_ARGUMENT", wrong(`${segments[0]} of the hub are not read, only models and data sets`));
  // One segment, or one with a revision, is an old repository without an owner.
  const owner = segments.length > 1 && !segments[0]!.includes("@") ? segments.shift() : undefined;
  const [named = "", ...path] = segments;
  const at = named.indexOf("@");
  const bare = at < 0 ? named : named.slice(0, at);
  const name = owner === undefined ? bare : `${owner}/${bare}`;
  for (const part of name.split("/")) {
    check(NAME.test(part), "E_ARGUMENT", wrong(part === "" ? "an owner or a name is missing" : `"${part}" is no name of a repository`));
  }
  const behind = at < 0 ? { revision: "main", path: path.join("/") } : split([named.slice(at + 1), ...path].join("/"));
  const { revision } = behind;
  check(revision !== undefined && REVISION.test(revision), "E_ARGUMENT", wrong(
    revision ? `"${revision}" can't be a revision's name` : "a revision is missing behind @"));
  const inside = behind.path.replace(/\/$/, "");
  check(isRelative(inside) || inside === "", "E_ARGUMENT", wrong(`"${inside}" is no path inside a repository`));
  return { type, name, revision, path: inside };
}

/** What follows @: a revision, and a path. */
function split(behind: string): { revision: string | undefined; path: string } {
  const special = SPECIAL.exec(behind);
  if (special) return { revision: special[1]!, path: special[2] ?? "" };
  const [revision = "", ...path] = behind.split("/");
  return { revision: decoded(revision), path: path.join("/") };
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** What no part of a path may have: on Windows a colon names a drive or a stream. */
const NOT_IN_NAMES = process.platform === "win32" ? /[\\:\p{Cc}]/u : /[\\\p{Cc}]/u;

/** Whether a path stays below the folder that it is put into. */
export const isRelative = (path: string): boolean =>
  path !== "" && path.split("/").every((part) => !["", ".", ".."].includes(part) && !NOT_IN_NAMES.test(part));

/** The reference of one fixed commit, which reads the same for ever. */
export function formatHubReference({ type, name, revision, path }: HubReference): string {
  const written = SPECIAL.test(revision) ? revision : revision.replaceAll("/", "%2F");
  return `hf:${type === "dataset" ? "datasets/" : ""}${name}@${written}${path === "" ? "" : `/${path}`}`;
}

/** What a place in a cache of the hub is a copy of; undefined for other places. */
export function hubReferenceOf(place: string): string | undefined {
  const found = /(?:^|[/\\])(model|dataset)s--([^/\\]+)[/\\]snapshots[/\\]([0-9a-f]{40})(?:[/\\](.*))?$/s.exec(place);
  if (!found) return undefined;
  const [, type, name, revision, path = ""] = found;
  return formatHubReference({ type: type as HubReference["type"], name: name!.replace("--", "/"), revision: revision!,
    path: path.replaceAll("\\", "/").replace(/\/$/, "") });
}
