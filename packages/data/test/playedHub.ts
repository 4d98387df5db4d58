/**
 * A hub on loopback for tests, with the answers of the real one as far as fetching needs them: commits, lists in pages, files with
 * ETag, X-Linked-Etag, X-Repo-Commit and ranges, large ones by a redirect to another server. It breaks off, sends other bytes or refuses
 * when told to, and counts what it sent.
 */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface PlayedFile {
  readonly bytes: Uint8Array;
  /** Whether it lies on the other server, as large files do. */
  readonly large?: boolean;
}

export interface PlayedRepository {
  /** Files by path; a commit's name follows from them unless given. */
  readonly files: Readonly<Record<string, PlayedFile | string>>;
  /** Branches and tags beside `main`, with other files. */
  readonly revisions?: Readonly<Record<string, Readonly<Record<string, PlayedFile | string>>>>;
  /** Whether files are given only to this token; everything when `hidden`. */
  readonly token?: string;
  readonly hidden?: boolean;
}

/** What goes wrong with the next request of a file, or of the API where the path is "api". */
export interface Fault {
  readonly path: string;
  /** Breaks the connection off after so many bytes of the answer. */
  readonly cutAfter?: number;
  /** Sends other bytes of the same length. */
  readonly wrong?: boolean;
  /** Answers with a status and nothing else. */
  readonly status?: number;
  /** Sends the whole file although a part was asked for. */
  readonly noRange?: boolean;
  /** Sends the headers, and then nothing. */
  readonly silent?: boolean;
  /** Sends something that no hub sends. */
  readonly html?: boolean;
}

export interface PlayedHub {
  readonly endpoint: string;
  /** Names of repositories: `owner/name`, `datasets/owner/name`. May be changed while it serves. */
  readonly repositories: Record<string, PlayedRepository>;
  readonly faults: Fault[];
  /** Requests in order: method, path, and the range asked for. */
  readonly requests: string[];
  /** Bytes of files that were sent, by path. */
  readonly sent: Record<string, number>;
  /** What the second server was sent as authorization. */
  readonly leaked: string[];
  commitOf(repository: string, revision?: string): string;
  close(): Promise<void>;
}

const sha = (kind: "sha1" | "sha256", ...parts: (string | Uint8Array)[]): string => {
  const hash = createHash(kind);
  for (const part of parts) hash.update(part);
  return hash.digest("hex");
};

const fileOf = (file: PlayedFile | string): PlayedFile => (typeof file === "string" ? { bytes: new TextEncoder().encode(file) } : file);
const pointerOf = ({ bytes }: PlayedFile): string =>
  `version https://git-lfs.github.com/spec/v1\noid sha256:${sha("sha256", bytes)}\nsize ${bytes.length}\n`;
/** The name that git gives to a file, or to what stands for a large one. */
const oidOf = (file: PlayedFile): string => {
  const bytes = file.large ? new TextEncoder().encode(pointerOf(file)) : file.bytes;
  return sha("sha1", `blob ${bytes.length}\0`, bytes);
};
const etagOf = (file: PlayedFile): string => (file.large ? sha("sha256", file.bytes) : oidOf(file));

/** Starts a hub; `page` is how many files a list has at once. */
export async function playHub(repositories: Record<string, PlayedRepository>, { page = 1000 } = {}): Promise<PlayedHub> {
  const faults: Fault[] = [];
  const requests: string[] = [];
  const sent: Record<string, number> = {};
  const leaked: string[] = [];

  const filesOf = (name: string, revision: string): Readonly<Record<string, PlayedFile | string>> | undefined => {
    const { files, revisions = {} } = repositories[name]!;
    const all: Record<string, typeof files> = { main: files, ...revisions };
    return Object.hasOwn(all, revision) ? all[revision] : Object.values(all).find((each) => commitName(name, each) === revision);
  };
  const commitName = (name: string, files: Readonly<Record<string, PlayedFile | string>>): string =>
    sha("sha1", name, ...Object.entries(files).flatMap(([path, file]) => [path, oidOf(fileOf(file))]));

  const refuse = (response: ServerResponse, status: number, code: string, words: string): void => {
    response.writeHead(status, { "content-type": "application/json", "x-error-code": code, "x-error-message": words })
      .end(JSON.stringify({ error: words }));
  };
  const takeFault = (path: string): Fault | undefined => {
    const at = faults.findIndex((fault) => fault.path === path);
    return at < 0 ? undefined : faults.splice(at, 1)[0];
  };

  /** Sends a file, or the part asked for. */
  const send = (request: IncomingMessage, response: ServerResponse, path: string, file: PlayedFile,
    headers: Record<string, string>): void => {
    const fault = takeFault(path);
    if (fault?.status !== undefined) return void response.writeHead(fault.status).end();
    const range = fault?.noRange ? undefined : /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
    const from = Number(range?.[1] ?? 0);
    const { length } = file.bytes;
    if (range && from >= length) return void response.writeHead(416, { "content-range": `bytes */${length}` }).end();
    const to = range?.[2] ? Math.min(Number(range[2]), length - 1) : length - 1;
    const bytes = file.bytes.slice(from, to + 1);
    if (fault?.wrong) bytes.forEach((byte, i) => (bytes[i] = byte ^ 1));
    response.writeHead(range ? 206 : 200, {
      ...headers, "content-length": String(bytes.length), "accept-ranges": "bytes", etag: `"${etagOf(file)}"`,
      ...(range && { "content-range": `bytes ${from}-${to}/${length}` }),
    });
    if (request.method === "HEAD") return void response.end();
    if (fault?.silent) return response.flushHeaders();
    const kept = fault?.cutAfter === undefined ? bytes : bytes.subarray(0, fault.cutAfter);
    sent[path] = (sent[path] ?? 0) + kept.length;
    if (fault?.cutAfter === undefined) response.end(kept);
    // Much later, so that what was sent has been read: a client loses what it had not yet taken from its queue.
    else response.write(kept, () => setTimeout(() => response.socket?.end(), 500));
  };

  const cdn = createServer((request, response) => {
    const [name = "", path = ""] = decodeURIComponent(request.url!.slice(1)).split("?path=");
    if (request.headers.authorization) leaked.push(request.headers.authorization);
    const { files, revisions } = repositories[name]!;
    const all = Object.values({ main: files, ...revisions });
    send(request, response, path, fileOf(all.find((each) => path in each)![path]!), {});
  });
  // Another name of the same host: clients tell by the name whether they are still at the hub.
  const cdnAddress = (await listening(cdn)).replace("127.0.0.1", "localhost");

  const hub = createServer((request, response) => {
    const url = new URL(request.url!, "http://localhost");
    requests.push(`${request.method} ${url.pathname}${request.headers.range ? ` ${request.headers.range}` : ""}`);
    const api = /^\/api\/(models|datasets)\/(.+?)\/(revision|tree)\/([^/]+)$/.exec(url.pathname);
    const resolve = /^\/(.+?)\/resolve\/([^/]+)\/(.+)$/.exec(url.pathname);
    const name = api ? `${api[1] === "datasets" ? "datasets/" : ""}${api[2]}` : (resolve?.[1] ?? "");
    const repository = repositories[name];
    const fault = api && takeFault("api");
    if (fault?.status !== undefined) return void response.writeHead(fault.status).end();
    if (fault?.html) return void response.writeHead(200, { "content-type": "text/html" }).end("<html>Please log in</html>");
    if (fault?.silent) return;
    const token = request.headers.authorization?.replace(/^Bearer /, "");
    if (token === "expired") return refuse(response, 401, "", "Invalid credentials in Authorization header");
    if (!repository || (repository.hidden && token !== repository.token)) {
      // The real one does not tell strangers what there is not.
      return token ? refuse(response, 404, "RepoNotFound", "Repository not found")
        : refuse(response, 401, "", "Invalid username or password.");
    }
    const revision = decodeURIComponent((api?.[4] ?? resolve?.[2])!);
    const files = filesOf(name, revision);
    if (!files) return refuse(response, 404, "RevisionNotFound", `Invalid rev id: ${revision}`);
    const commit = commitName(name, files);
    if (api?.[3] === "revision") {
      const siblings = Object.keys(files).map((rfilename) => ({ rfilename }));
      return json(response, { _id: "0", id: name.replace("datasets/", ""), sha: commit, private: false, gated: Boolean(repository.token),
        downloads: 0, likes: 0, lastModified: "2026-01-01T00:00:00.000Z", siblings });
    }
    if (api) {
      const all = Object.entries(files).map(([path, given]) => {
        const file = fileOf(given);
        return { type: "file", oid: oidOf(file), size: file.bytes.length, path,
          ...(file.large && { lfs: { oid: sha("sha256", file.bytes), size: file.bytes.length, pointerSize: pointerOf(file).length } }) };
      });
      const folders = new Set(all.map(({ path }) => path.split("/").slice(0, -1).join("/")).filter(Boolean));
      const entries = [...[...folders].map((path) => ({ type: "directory", oid: sha("sha1", path), size: 0, path })), ...all];
      const from = Number(url.searchParams.get("cursor") ?? 0);
      url.searchParams.set("cursor", String(from + page));
      const next: Record<string, string> = from + page < entries.length
        ? { link: `<${endpoint}${url.pathname}${url.search}>; rel="next"` } : {};
      return json(response, entries.slice(from, from + page), next);
    }
    if (repository.token && token !== repository.token)
      return refuse(response, token ? 403 : 401, "GatedRepo", "Access to this is restricted");
    const path = decodeURIComponent(resolve![3]!);
    if (!Object.hasOwn(files, path)) {
      response.setHeader("x-repo-commit", commit);
      return refuse(response, 404, "EntryNotFound", "Entry not found");
    }
    const file = fileOf(files[path]!);
    if (!file.large) return send(request, response, path, file, { "x-repo-commit": commit });
    const location = `${cdnAddress}/${encodeURIComponent(name)}?path=${encodeURIComponent(path)}`;
    response.writeHead(302, { location, "x-repo-commit": commit, "x-linked-etag": `"${etagOf(file)}"`,
      "x-linked-size": String(file.bytes.length) }).end();
  });
  const endpoint = await listening(hub);

  return {
    endpoint, repositories, faults, requests, sent, leaked,
    commitOf: (name, revision = "main") => commitName(name, filesOf(name, revision)!),
    close: async () => void (await Promise.all([closed(hub), closed(cdn)])),
  };
}

function json(response: ServerResponse, value: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(200, { "content-type": "application/json", ...headers }).end(JSON.stringify(value));
}

async function listening(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function closed(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(() => resolve()));
}
