/**
 * The cache of one repository, in the layout of Python's huggingface_hub, so that each finds what the other fetched:
 *
 *   models--owner--name/refs/main                   the commit that a branch or tag stood for
 *   models--owner--name/blobs/<hash>                a file's bytes: SHA-256 of large files, git's SHA-1 of others
 *   models--owner--name/snapshots/<commit>/<path>   a link to ../../blobs/<hash>; the file itself where there are no links
 *   models--owner--name/trees/<commit>.json         all files of a commit, since huggingface_hub 1.22
 *   .locks/models--owner--name/                     who works there
 *
 * What is half fetched has a name of its own, `blobs/<hash>.lenggen.incomplete`: Python guards its file by flock, which Node lacks, and
 * two that write into one would spoil it.
 */
import { copyFile, readdir, readFile, rename, rm, stat, symlink } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { check, isJsonObject, LenggenError, parseJson } from "@lenggen/kernels";
import { type FolderLock, lockFolder, makeFolder, writeWhole } from "@lenggen/kernels/node";
import { type HubReference, isRelative } from "./reference";
import type { HubSettings } from "./settings";

/** A file of a commit. */
export interface HubFile {
  readonly path: string;
  readonly size: number;
  /** Git's hash: of the file, or of what stands for a large one. */
  readonly sha1: string;
  /** Of large files. */
  readonly sha256?: string;
  readonly xet?: string;
}

/** The name of a file's bytes in the cache; files of a cache without lists have none. */
export const hashOf = ({ sha1, sha256 }: HubFile): string => sha256 ?? sha1;

export const COMMIT = /^[0-9a-f]{40}$/;
const SHA256 = /^[0-9a-f]{64}$/;
/** What file systems without links, and Windows for those who may not make any, answer. */
const NO_LINKS: ReadonlySet<string> = new Set(["EPERM", "EACCES", "ENOSYS", "ENOTSUP", "EOPNOTSUPP", "EINVAL", "UNKNOWN"]);
const FORMAT = 1;
const LOCK = "lenggen.lock";

export class RepositoryCache {
  readonly folder: string;
  readonly #locks: string;

  constructor(private readonly settings: HubSettings, { type, name }: HubReference) {
    const own = [`${type}s`, ...name.split("/")].join("--");
    this.folder = join(settings.cache, own);
    this.#locks = join(settings.cache, ".locks", own);
  }

  refPath(revision: string): string {
    return join(this.folder, "refs", ...revision.split("/"));
  }

  /** Throws `E_FORMAT` for a path that leads elsewhere: it may be a server's. */
  snapshotPath(commit: string, path = ""): string {
    check(path === "" || isRelative(path), "E_FORMAT", () => `the hub lists a file with the name "${path}", which can't be one here`);
    return join(this.folder, "snapshots", commit, ...path.split("/"));
  }

  blobPath(file: HubFile): string {
    return join(this.folder, "blobs", hashOf(file));
  }

  #treePath(commit: string): string {
    return join(this.folder, "trees", `${commit}.json`);
  }

  /** The commit that a revision stood for when somebody last asked; undefined when nobody did. */
  async readRef(revision: string): Promise<string | undefined> {
    if (COMMIT.test(revision)) return revision;
    const text = await readFile(this.refPath(revision), "utf8").catch(() => "");
    return COMMIT.test(text.trim()) ? text.trim() : undefined;
  }

  /** Where nothing can be written, what is there is still read. */
  async writeRef(revision: string, commit: string): Promise<void> {
    if (revision === commit || (await this.readRef(revision)) === commit) return;
    await writeQuietly(this.refPath(revision), commit);
  }

  /** The files of a commit, as listed before; undefined when they were not, or the list is damaged. */
  async readTree(commit: string): Promise<HubFile[] | undefined> {
    try {
      const tree = parseJson(await readFile(this.#treePath(commit), "utf8"), "tree");
      if (!isJsonObject(tree) || tree["format_version"] !== FORMAT || !isJsonObject(tree["files"])) return undefined;
      return Object.entries(tree["files"]).map(([path, about]) => hubFile(path, isJsonObject(about)
        ? { size: about["size"], sha1: about["blob_id"], sha256: about["lfs_sha256"], xet: about["xet_hash"] } : {}));
    } catch {
      return undefined;
    }
  }

  async writeTree(commit: string, files: readonly HubFile[]): Promise<void> {
    const sorted = files.toSorted((a, b) => (a.path < b.path ? -1 : 1));
    const about = sorted.map(({ path, size, sha1, sha256, xet }) => [path, {
      size, blob_id: sha1, ...(sha256 && { lfs_sha256: sha256, lfs_size: size }), ...(xet && { xet_hash: xet }),
    }]);
    await writeQuietly(this.#treePath(commit), JSON.stringify({ format_version: FORMAT, files: Object.fromEntries(about) }, null, 1));
  }

  /** What a snapshot holds, where no list says what it should. */
  async readSnapshot(commit: string): Promise<HubFile[]> {
    const root = this.snapshotPath(commit);
    const entries = await readdir(root, { recursive: true, withFileTypes: true }).catch(() => []);
    const files: HubFile[] = [];
    for (const entry of entries) {
      const at = join(entry.parentPath, entry.name);
      const found = await stat(at).catch(() => undefined);
      if (found?.isFile()) files.push({ path: relative(root, at).replaceAll("\\", "/"), size: found.size, sha1: "" });
    }
    return files;
  }

  /** Whether a file is there, whole. */
  async holds(commit: string, file: HubFile): Promise<boolean> {
    return (await sizeOf(this.snapshotPath(commit, file.path))) === file.size;
  }

  /** Puts a file whose bytes are in the cache into a snapshot; `fresh` when no other snapshot can have them yet. */
  async link(commit: string, file: HubFile, fresh: boolean): Promise<void> {
    const pointer = this.snapshotPath(commit, file.path);
    const blob = this.blobPath(file);
    await makeFolder(dirname(pointer));
    await rm(pointer, { force: true });
    if (!this.settings.noLinks) {
      try {
        await symlink(relative(dirname(pointer), blob), pointer);
        return;
      } catch (error) {
        if (!NO_LINKS.has((error as NodeJS.ErrnoException).code ?? "")) throw error;
      }
    }
    if (fresh) await rename(blob, pointer);
    else await copyFile(blob, pointer);
  }

  /** Takes the right to fetch into this repository; waits while another process has it, which may fetch the same. */
  async lock(signal: AbortSignal | undefined, onWait: (who: string) => void): Promise<FolderLock> {
    try {
      await makeFolder(this.#locks);
      return await lockFolder(this.#locks, { name: LOCK, wait: true, signal, onWait });
    } catch (error) {
      if (!(error instanceof LenggenError) || error.code !== "E_IO") throw error;
      throw new LenggenError("E_IO", `${error.message}; the environment variable HF_HOME names another cache`, { cause: error });
    }
  }
}

/** A file's size; undefined when there is none, or a link to none. */
export async function sizeOf(path: string): Promise<number | undefined> {
  const found = await stat(path).catch(() => undefined);
  return found?.isFile() ? found.size : undefined;
}

/** Checks what a server or a list in the cache says about a file; whether its path is one here is asked when it is fetched. */
export function hubFile(path: string, about: { readonly size?: unknown; sha1?: unknown; sha256?: unknown; xet?: unknown }): HubFile {
  const { size, sha1, sha256, xet } = about;
  const fits = typeof size === "number" && Number.isSafeInteger(size) && size >= 0 && isHash(sha1, COMMIT)
    && (sha256 === undefined || isHash(sha256, SHA256));
  check(fits, "E_FORMAT", () => `a list of the hub's files has an entry that can't be: ${JSON.stringify({ path, ...about })}`);
  return { path, size, sha1, ...(sha256 !== undefined && { sha256 }), ...(isHash(xet, SHA256) && { xet }) };
}

const isHash = (value: unknown, kind: RegExp): value is string => typeof value === "string" && kind.test(value);

async function writeQuietly(path: string, text: string): Promise<void> {
  try {
    await makeFolder(dirname(path));
    await writeWhole(path, [new TextEncoder().encode(text)]);
  } catch {
    // A cache that can't be written is still good to read; what can't be fetched into it is reported.
  }
}
