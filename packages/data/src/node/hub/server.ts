/**
 * Requests to the hub. What a commit is and what it holds is asked through `@huggingface/hub`; files are fetched here, since that library
 * (2.17.5) neither goes on behind a break nor looks at hashes, and files a branch's files under each file's own last commit, where Python
 * looks for none of them. Its requests run through {@link HubServer.request} too, which adds the token (the library refuses tokens that
 * do not begin with `hf_`, as mirrors give), tries again, and turns refusals into our errors.
 */
import { LenggenError } from "@lenggen/kernels";
import { COMMIT, hubFile, type HubFile } from "./cache";
import { formatHubReference, type HubReference } from "./reference";
import type { HubSettings } from "./settings";

/** The hub can't be reached, or breaks off: what is in the cache may do. Never leaves this folder. */
export class Unreachable extends Error {
  /** `answered`: whether somebody was there, so that asking again at once has a chance. */
  constructor(message: string, readonly answered: boolean, cause?: unknown) {
    super(message, { cause });
  }
}

/** Answers after which a server may have recovered. */
const PASSING: ReadonlySet<number> = new Set([408, 429, 500, 502, 503, 504]);
/** Milliseconds between attempts. */
const PAUSES: readonly number[] = [500, 1_000, 2_000, 4_000];
const LONGEST_PAUSE_MS = 60_000;
/** For what is answered in a moment or not at all; a machine without a network should not wait long for what is in its cache. */
const QUESTION_MS = 10_000;
/** Errors of a connection that was there. */
const BROKEN_OFF: ReadonlySet<string> = new Set(["ECONNRESET", "EPIPE", "UND_ERR_SOCKET"]);

export interface RequestOptions {
  readonly signal?: AbortSignal;
  /** Milliseconds between attempts, each one another; for tests. */
  readonly pauses?: readonly number[];
}

export class HubServer {
  readonly signal: AbortSignal | undefined;
  readonly pauses: readonly number[];

  constructor(readonly settings: HubSettings, private readonly reference: HubReference, { signal, pauses = PAUSES }: RequestOptions) {
    this.signal = signal;
    this.pauses = pauses;
  }

  /** The commit that the reference's revision stands for now. */
  async commit(): Promise<string> {
    const { type, name, revision } = this.reference;
    const { modelInfo, datasetInfo } = await import("@huggingface/hub");
    const about = { name, revision, additionalFields: ["sha" as const], hubUrl: this.settings.endpoint, fetch: this.#fetch };
    const { sha } = await this.#understood(async () => (type === "model" ? modelInfo(about) : datasetInfo(about)));
    return COMMIT.test(sha) ? sha : this.#noHub(`names "${sha}" as a commit`);
  }

  /** All files of a commit. */
  async list(commit: string): Promise<HubFile[]> {
    const { listFiles } = await import("@huggingface/hub");
    return this.#understood(async () => {
      const files: HubFile[] = [];
      const repo = { type: this.reference.type, name: this.reference.name };
      const list = listFiles({ repo, revision: commit, recursive: true, hubUrl: this.settings.endpoint, fetch: this.#fetch });
      for await (const { type, path, size, oid, lfs, xetHash } of list) {
        if (type === "file") files.push(hubFile(path, { size: lfs?.size ?? size, sha1: oid, sha256: lfs?.oid, xet: xetHash }));
      }
      return files;
    });
  }

  /** Begins to fetch a file of a commit behind its first bytes. The caller sees to it that a silent server is not waited for. */
  file(commit: string, path: string, from: number, signal: AbortSignal): Promise<Response> {
    const { type, name } = this.reference;
    const place = `${type === "dataset" ? "datasets/" : ""}${name}/resolve/${commit}/${path.split("/").map(encodeURIComponent).join("/")}`;
    // Compressed on the way, parts of a file could not be told.
    const headers = { "accept-encoding": "identity", ...(from > 0 && { range: `bytes=${from}-` }) };
    return this.#answer(`${this.settings.endpoint}/${place}`, { headers, signal });
  }

  /** What the library fetches with. Its answers are small: the whole of one has the time that silence has elsewhere. */
  readonly #fetch = async (input: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    const url = input instanceof Request ? input.url : String(input);
    const { signal, settings: { patience } } = this;
    for (let n = 0; ; n++) {
      const timeout = AbortSignal.timeout(Math.min(patience, QUESTION_MS));
      try {
        return await this.#answer(url, { ...init, signal: AbortSignal.any([timeout, ...(signal ? [signal] : [])]) });
      } catch (error) {
        if (!(error instanceof Unreachable && error.answered) || n >= this.pauses.length) throw error;
        await this.pause(n);
      }
    }
  };

  async pause(n: number): Promise<void> {
    const { signal } = this;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.min(LONGEST_PAUSE_MS, this.pauses[n] ?? 0));
      signal?.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
    });
    this.checkSignal();
  }

  checkSignal(): void {
    if (this.signal?.aborted) throw new LenggenError("E_INTERRUPTED", "interrupted");
  }

  /** One request; throws {@link Unreachable} where another may be answered, and a {@link LenggenError} for refusals. */
  async #answer(url: string, init: RequestInit): Promise<Response> {
    const headers = new Headers(init.headers);
    headers.set("user-agent", "lenggen; @huggingface/hub");
    const { token, endpoint } = this.settings;
    // The server names addresses too (pages of a list): the token is for the hub alone. On redirects elsewhere, fetch drops it.
    if (token !== undefined && new URL(url).origin === new URL(endpoint).origin) headers.set("authorization", `Bearer ${token}`);
    let response: Response;
    try {
      response = await fetch(url, { ...init, headers });
    } catch (error) {
      this.checkSignal();
      throw unreachable(error, url);
    }
    if (response.ok || response.status === 416) return response;
    const said = await response.text().catch(() => "");
    if (PASSING.has(response.status)) throw new Unreachable(`${new URL(url).host} answers with status ${response.status}`, true);
    throw this.#refusal(response, said);
  }

  /** A refusal in words, told by the headers that the hub sends with it. */
  #refusal({ status, headers, url }: Response, said: string): LenggenError {
    const { type, name, revision } = this.reference;
    const { endpoint, token } = this.settings;
    const label = formatHubReference(this.reference);
    const [code, words] = [headers.get("x-error-code"), headers.get("x-error-message") ?? messageIn(said)];
    const page = `${endpoint}/${type === "dataset" ? "datasets/" : ""}${name}`;
    const kind = type === "dataset" ? "data set" : "model";
    if (code === "RevisionNotFound") {
      return new LenggenError("E_MISSING",
        `${label}: ${name} has no branch, tag or commit "${revision}"; those that there are stand at ${page}/tree/main`);
    }
    if (code === "EntryNotFound")
      return new LenggenError("E_MISSING", `${label}: the hub has the file ${decodeURIComponent(new URL(url).pathname)} no longer`);
    if (code === "GatedRepo") {
      const now = token === undefined ? "there is none now" : "the present one does not do";
      return new LenggenError("E_ACCESS", `${label}: the ${kind} is given only to accounts that were granted access; ask for it at `
        + `${page}, and set HF_TOKEN to a token of that account (${now})`);
    }
    if (status === 401 && /invalid credentials/i.test(words)) {
      return new LenggenError("E_ACCESS",
        `${label}: ${endpoint} does not know the token, which HF_TOKEN or the file of hf auth login has; make a new one`);
    }
    if (status === 404 || (status === 401 && code !== "DisabledRepo")) {
      return new LenggenError("E_MISSING", `${label}: ${endpoint} has no ${kind} ${name}, or keeps it private: check the name`
        + (token === undefined ? ", or set HF_TOKEN to a token of an account that may read it"
          : " and what the account of HF_TOKEN may read"));
    }
    return new LenggenError(status === 401 || status === 403 ? "E_ACCESS" : "E_NETWORK",
      `${label}: ${endpoint} refuses with status ${status}${words && `: ${words}`}`);
  }

  /** Runs what reads answers; those that are none of a hub give an error that says so. */
  async #understood<T>(read: () => Promise<T>): Promise<T> {
    try {
      return await read();
    } catch (error) {
      if (error instanceof LenggenError || error instanceof Unreachable) throw error;
      this.checkSignal();
      if (isTimeout(error)) throw unreachable(error, this.settings.endpoint);
      return this.#noHub(`gives an answer that can't be read (${error instanceof Error ? error.message : String(error)})`);
    }
  }

  #noHub(what: string): never {
    throw new LenggenError("E_NETWORK", `${formatHubReference(this.reference)}: ${this.settings.endpoint} ${what}; `
      + "it does not seem to be a hub: is HF_ENDPOINT right, or does a network ask to be logged in to?");
  }
}

const isTimeout = (error: unknown): boolean => error instanceof Error && ["TimeoutError", "AbortError"].includes(error.name);

/** Why a request failed, in words. */
export function unreachable(error: unknown, url: string): Unreachable {
  const { host } = new URL(url);
  if (isTimeout(error)) return new Unreachable(`${host} does not answer`, false, error);
  const cause = (error as Error).cause as NodeJS.ErrnoException | undefined;
  const words: Readonly<Record<string, string>> = {
    ENOTFOUND: `the name ${host} is not known`, EAI_AGAIN: `the name ${host} can't be looked up`,
    ECONNREFUSED: `${host} takes no connection`, ECONNRESET: `${host} broke the connection off`,
    UND_ERR_SOCKET: `${host} broke the connection off`,
  };
  const code = cause?.code ?? "";
  const proxy = process.env["HTTPS_PROXY"] ?? process.env["https_proxy"];
  const hint = proxy && !process.env["NODE_USE_ENV_PROXY"]
    ? "; HTTPS_PROXY counts only with NODE_USE_ENV_PROXY=1, in Node 22.21 and newer" : "";
  const reason = `${words[code] ?? cause?.message ?? (error as Error).message}${code && ` (${code})`}${hint}`;
  return new Unreachable(reason, BROKEN_OFF.has(code), error);
}

function messageIn(body: string): string {
  try {
    const { error } = JSON.parse(body) as { error?: unknown };
    return typeof error === "string" ? error.slice(0, 300) : "";
  } catch {
    return "";
  }
}
