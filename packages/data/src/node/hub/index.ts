/**
 * Models and data sets of the hub as local files: `hf:owner/name[@revision][/path]` into the cache that Python's tools use too. What is in
 * the cache is not fetched again, and where there is no network it is all that is needed.
 */
import { readFile, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { check, LenggenError } from "@lenggen/kernels";
import { fileError, makeFolder } from "@lenggen/kernels/node";
import { COMMIT, type HubFile, RepositoryCache, sizeOf } from "./cache";
import { choose, type HubKind, shardsOf, type Wanted } from "./choose";
import { download, partialOf } from "./download";
import { formatHubReference, type HubReference, parseHubReference } from "./reference";
import { HubServer, Unreachable } from "./server";
import { type HubSettings, hubSettings } from "./settings";

export { hubReferenceOf, isHubReference } from "./reference";
export type { HubKind } from "./choose";

/** What {@link resolveHub} is to find or fetch, and whom it tells. */
export interface HubRequest {
  /** What the files are for, which decides which of them are fetched. */
  readonly kind: HubKind;
  /** Texts: which names can be read; all unless given. */
  readonly reads?: (path: string) => boolean;
  /** The environment; the process's own unless given. */
  readonly env?: NodeJS.ProcessEnv;
  readonly signal?: AbortSignal;
  /** Called before anything is fetched, with what and how much. Not called when all is there. */
  readonly onPlan?: (plan: HubPlan) => void;
  /** Bytes that are there of the plan's. */
  readonly onProgress?: (done: number, file: string) => void;
  readonly onNote?: (text: string) => void;
  /** Milliseconds between attempts; for tests. */
  readonly pauses?: readonly number[];
}

/** What {@link resolveHub} is about to fetch. */
export interface HubPlan {
  /** With the commit. */
  readonly reference: string;
  readonly files: readonly { readonly path: string; readonly size: number }[];
  /** Of all these files, and of those what earlier attempts left. */
  readonly bytes: number;
  readonly begun: number;
  readonly cache: string;
}

/** What {@link resolveHub} has found or fetched. */
export interface HubFiles {
  /** What to open: the folder of a checkpoint or tokenizer, or the one file that was named or chosen. */
  readonly path: string;
  /** Every file of the request; the folder may hold others that somebody else asked for. */
  readonly files: readonly string[];
  /** The reference with the commit in the place of a branch, which gives the same files for ever. */
  readonly reference: string;
  readonly commit: string;
}

/**
 * Finds or fetches the files of a reference. Throws `E_ARGUMENT` for what is no reference, `E_MISSING` for what the hub or, without a
 * network, the cache does not have, `E_ACCESS` for what needs another token, `E_NETWORK` for a hub that can't be reached, `E_FORMAT` for
 * files that come with other bytes than listed, and `E_IO` where the cache has no room.
 */
export async function resolveHub(text: string, request: HubRequest): Promise<HubFiles> {
  const reference = parseHubReference(text);
  const settings = await hubSettings(request.env);
  return new Resolution(reference, settings, request).files();
}

class Resolution {
  readonly #cache: RepositoryCache;
  readonly #server: HubServer;
  readonly #label: string;
  /** Why nothing can be asked; undefined while the hub answers. */
  #away: string | undefined;

  constructor(private readonly reference: HubReference, private readonly settings: HubSettings, private readonly request: HubRequest) {
    this.#cache = new RepositoryCache(settings, reference);
    this.#server = new HubServer(settings, reference, request);
    this.#label = formatHubReference({ ...reference, path: "" });
    if (settings.offline) this.#away = `${settings.offline} is set`;
  }

  async files(): Promise<HubFiles> {
    const { reference, request: { kind, reads } } = this;
    const commit = await this.#commit();
    const listing = await this.#listing(commit);
    const wanted = this.#chosen(commit, listing, () => choose(listing, kind, reference.path, this.#label, reads));
    const files = [...wanted.files];
    if (wanted.index) {
      await this.#fetch(commit, [wanted.index]);
      files.push(...(await this.#shards(commit, wanted.index, listing)));
    }
    await this.#fetch(commit, files);
    return {
      path: this.#cache.snapshotPath(commit, wanted.path), files: files.map(({ path }) => this.#cache.snapshotPath(commit, path)), commit,
      reference: formatHubReference({ ...reference, revision: commit }),
    };
  }

  /** The commit, by the hub; by what it was last time where the hub can't be asked. */
  async #commit(): Promise<string> {
    const { revision } = this.reference;
    if (COMMIT.test(revision)) return revision;
    const asked = await this.#ask(() => this.#server.commit());
    if (asked !== undefined) {
      await this.#cache.writeRef(revision, asked);
      return asked;
    }
    const known = await this.#cache.readRef(revision);
    if (known !== undefined) {
      const note = `${this.#label}: the hub can't be asked (${this.#away}); taken as it last was, ${known}`;
      if (!this.settings.offline) this.request.onNote?.(note);
      return known;
    }
    throw this.#absent(`the cache does not know it: ${this.#cache.refPath(revision)} would name a commit, and its files would be in `
      + this.#cache.snapshotPath("<commit>"));
  }

  /** The commit's files: as they were listed before, since they never change; by the hub; or those that are there. */
  async #listing(commit: string): Promise<readonly HubFile[]> {
    const known = await this.#cache.readTree(commit);
    if (known) return known;
    const listed = await this.#ask(() => this.#server.list(commit));
    if (listed === undefined) return this.#cache.readSnapshot(commit);
    await this.#cache.writeTree(commit, listed);
    return listed;
  }

  /** Asks the hub, unless it is away; undefined when it is. */
  async #ask<T>(request: () => Promise<T>): Promise<T | undefined> {
    if (this.#away !== undefined) return undefined;
    try {
      return await request();
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      this.#away = error.message;
      return undefined;
    }
  }

  /** What is chosen; where only the cache's files are known, what can't be chosen is missing there. */
  #chosen(commit: string, listing: readonly HubFile[], choice: () => Wanted): Wanted {
    try {
      return choice();
    } catch (error) {
      if (this.#away === undefined || listing.some(({ sha1 }) => sha1 !== "") || !(error instanceof LenggenError)) throw error;
      const { path } = this.reference;
      const needed = { checkpoint: "weights such as model.safetensors, with config.json", tokenizer: "tokenizer.json", text: "texts" };
      throw this.#absent(`the cache lacks ${path === "" ? `${needed[this.request.kind]}: they` : `${path}: it`} would be in `
        + this.#cache.snapshotPath(commit, path));
    }
  }

  async #shards(commit: string, index: HubFile, listing: readonly HubFile[]): Promise<HubFile[]> {
    const path = this.#cache.snapshotPath(commit, index.path);
    try {
      return shardsOf(index, await readFile(path), listing, this.#label);
    } catch (error) {
      throw fileError("read", path, error);
    }
  }

  /** Fetches those that are not there, one process at a time. */
  async #fetch(commit: string, files: readonly HubFile[]): Promise<void> {
    if ((await this.#missing(commit, files)).length === 0) return;
    if (this.#away !== undefined) {
      const paths = (await this.#missing(commit, files)).map(({ path }) => this.#cache.snapshotPath(commit, path));
      throw this.#absent(`the cache lacks ${paths.length === 1 ? "a file" : `${paths.length} files`} of it: ${paths.join(", ")}`);
    }
    const { signal, onNote } = this.request;
    const lock = await this.#cache.lock(signal, (who) => onNote?.(`waiting for ${who}, which fetches files of ${this.#label}`));
    try {
      const missing = await this.#missing(commit, files);
      if (missing.length > 0) await this.#fetchAll(commit, missing);
    } finally {
      await lock.release();
    }
  }

  async #missing(commit: string, files: readonly HubFile[]): Promise<HubFile[]> {
    const held = await Promise.all(files.map((file) => this.#cache.holds(commit, file)));
    return files.filter((_, i) => !held[i]);
  }

  async #fetchAll(commit: string, files: readonly HubFile[]): Promise<void> {
    const { request: { onPlan, onProgress, onNote } } = this;
    const blobs = await Promise.all(files.map(async (file) => {
      const blob = this.#cache.blobPath(file);
      const there = (await sizeOf(blob)) === file.size;
      return { file, blob, there, begun: there ? file.size : Math.min(file.size, (await sizeOf(partialOf(blob))) ?? 0) };
    }));
    const fetched = blobs.filter(({ there }) => !there);
    const sum = (numbers: readonly number[]): number => numbers.reduce((total, each) => total + each, 0);
    const [bytes, begun] = [sum(fetched.map(({ file }) => file.size)), sum(fetched.map((each) => each.begun))];
    if (fetched.length > 0) {
      await this.#checkRoom(bytes - begun, dirname(blobs[0]!.blob));
      const reference = formatHubReference({ ...this.reference, revision: commit, path: "" });
      onPlan?.({ reference, files: fetched.map(({ file }) => file), bytes, begun, cache: this.settings.cache });
    }
    let done = 0;
    for (const { file, blob, there } of blobs) {
      if (!there) {
        const onBytes = (size: number): void => onProgress?.(done + size, file.path);
        await download(this.#server, { file, commit, blob, label: this.#label }, { onBytes, onNote });
        done += file.size;
      }
      await this.#cache.link(commit, file, !there);
    }
  }

  /** Refuses to begin what can't end. */
  async #checkRoom(bytes: number, folder: string): Promise<void> {
    await makeFolder(folder);
    const disk = await statfs(folder).catch(() => undefined); // not every file system tells
    if (disk === undefined) return;
    const free = disk.bavail * disk.bsize;
    check(bytes <= free, "E_IO", () =>
      `${this.#label}: ${bytes} bytes are to be fetched into ${folder}, where ${free} are free; HF_HOME names another cache`);
  }

  /** What is missing where nothing can be fetched. */
  #absent(what: string): LenggenError {
    const code = this.settings.offline ? "E_MISSING" : "E_NETWORK";
    const why = this.settings.offline ? `nothing is fetched, as ${this.#away}` : `the hub can't be asked: ${this.#away}`;
    return new LenggenError(code, `${this.#label}: ${why}; ${what}`);
  }
}
