/**
 * Fetches one file's bytes into the cache: beside their place, on from where an earlier attempt ended, and only under their name once
 * size and hash are those that the hub lists.
 */
import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { LenggenError } from "@lenggen/kernels";
import { fileError, makeFolder, syncFolder } from "@lenggen/kernels/node";
import { hashOf, type HubFile, sizeOf } from "./cache";
import { type HubServer, unreachable, Unreachable } from "./server";

export interface Target {
  readonly file: HubFile;
  readonly commit: string;
  /** Where the bytes belong. */
  readonly blob: string;
  /** Names the repository in errors. */
  readonly label: string;
}

export interface DownloadHooks {
  /** Bytes of the file that are there. */
  readonly onBytes?: (bytes: number) => void;
  readonly onNote?: (text: string) => void;
}

/** Where a file's bytes are until they are whole. */
export const partialOf = (blob: string): string => `${blob}.lenggen.incomplete`;

/** Throws `E_NETWORK` when the hub breaks off again and again, `E_FORMAT` when it sends other bytes than it lists, twice. */
export async function download(server: HubServer, target: Target, hooks: DownloadHooks = {}): Promise<void> {
  const { file, blob, label } = target;
  const partial = partialOf(blob);
  await makeFolder(dirname(blob));
  for (let fresh = false; ; fresh = true) {
    const { digest, size } = await fetchWhole(server, target, partial, hooks);
    if (size === file.size && digest === hashOf(file)) break;
    await rm(partial, { force: true });
    const wrong = size === file.size ? `hash ${digest} in the place of ${hashOf(file)}` : `${size} bytes in the place of ${file.size}`;
    if (fresh) {
      throw new LenggenError("E_FORMAT", `${label}: ${server.settings.endpoint} sends ${file.path} with ${wrong}, twice; nothing of it `
        + "was kept. Does something on the way change what it passes on?");
    }
    hooks.onNote?.(`${file.path} came with ${wrong}; it is fetched anew`);
  }
  try {
    await rename(partial, blob);
    await syncFolder(dirname(blob));
  } catch (error) {
    throw fileError("written", blob, error);
  }
}

/** Fetches what is missing of a file. Gives up when several attempts in a row brought nothing. */
async function fetchWhole(server: HubServer, target: Target, partial: string, hooks: DownloadHooks) {
  const state = await begun(target.file, partial);
  hooks.onBytes?.(state.size);
  for (let failures = 0; state.size < target.file.size || target.file.size === 0; ) {
    server.checkSignal();
    const before = state.size;
    try {
      await fetchOn(server, target, partial, state, hooks);
      if (state.size >= target.file.size) break;
      throw new Unreachable(`${server.settings.endpoint} ended ${target.file.path} at ${state.size} of ${target.file.size} bytes`, true);
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      failures = state.size > before ? 0 : failures + 1;
      if (failures > server.pauses.length) {
        throw new LenggenError("E_NETWORK", `${target.label}: ${error.message}; ${state.size} of ${target.file.size} bytes of `
          + `${target.file.path} are in ${partial}, and the same command goes on behind them`, { cause: error });
      }
      await server.pause(failures);
    }
  }
  return { digest: state.hash.digest("hex"), size: state.size };
}

interface State {
  size: number;
  hash: Hash;
}

const newHash = ({ size, sha256 }: HubFile): Hash =>
  sha256 === undefined ? createHash("sha1").update(`blob ${size}\0`) : createHash("sha256");

/** What an earlier attempt left, with its hash. */
async function begun(file: HubFile, partial: string): Promise<State> {
  const state = { size: 0, hash: newHash(file) };
  const size = (await sizeOf(partial)) ?? 0;
  if (size === 0 || size > file.size) return state;
  try {
    for await (const chunk of createReadStream(partial, { highWaterMark: 1 << 20 })) {
      state.hash.update(chunk as Buffer);
      state.size += (chunk as Buffer).length;
    }
  } catch (error) {
    throw fileError("read", partial, error);
  }
  return state;
}

/** One request, written as it comes. */
async function fetchOn(server: HubServer, { file, commit }: Target, partial: string, state: State,
  hooks: DownloadHooks): Promise<void> {
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), server.settings.patience);
  const signals = [silence.signal, ...(server.signal ? [server.signal] : [])];
  let handle: FileHandle | undefined;
  try {
    const response = await server.file(commit, file.path, state.size, AbortSignal.any(signals));
    if (!goesOn(response, state.size)) Object.assign(state, { size: 0, hash: newHash(file) });
    const to = (handle = await written(partial, () => open(partial, state.size === 0 ? "w" : "a")));
    if (response.status === 416) return; // the file is shorter than what was there: anew
    for await (const chunk of received(response, server)) {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), server.settings.patience);
      // More than the file should have is not kept: its size is wrong already.
      await written(partial, () => to.writeFile(chunk));
      state.hash.update(chunk);
      state.size += chunk.length;
      hooks.onBytes?.(state.size);
      if (state.size > file.size) return;
    }
    await written(partial, () => to.sync());
  } finally {
    clearTimeout(timer);
    silence.abort();
    await handle?.close();
  }
}

/** Whether an answer begins where the bytes that are there end. */
function goesOn(response: Response, from: number): boolean {
  return from > 0 && response.status === 206 && response.headers.get("content-range")?.startsWith(`bytes ${from}-`) === true;
}

async function* received(response: Response, server: HubServer): AsyncGenerator<Uint8Array> {
  if (response.body === null) return;
  const reader = response.body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error: unknown) => {
        server.checkSignal();
        throw unreachable(error, response.url || server.settings.endpoint);
      });
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/** Errors of the file system, with what helps where there is no room. */
async function written<T>(partial: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (error) {
    const known = fileError("written", partial, error);
    if (!["ENOSPC", "EDQUOT"].includes((error as NodeJS.ErrnoException).code ?? "")) throw known;
    throw new LenggenError("E_IO", `${(known as Error).message}; what came stays there and the same command goes on behind it once there `
      + "is room, or begins in another cache that HF_HOME names", { cause: error });
  }
}
