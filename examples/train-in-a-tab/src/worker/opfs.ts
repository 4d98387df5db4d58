/**
 * The browser's own storage (origin private file system) as {@link Files}. A file is written beside and swapped in
 * when it is closed, which the browser does by itself.
 */
import { LenggenError } from "@lenggen/kernels";
import { type Files, memoryFiles } from "./files";

const FOLDER = "train-in-a-tab";

/** The storage, or memory where the browser gives none, as some do in private windows. */
export async function openFiles(): Promise<Files> {
  try {
    const root = await navigator.storage.getDirectory();
    const folder = await root.getDirectoryHandle(FOLDER, { create: true });
    const probe = await folder.getFileHandle("probe", { create: true });
    await (await probe.createWritable()).close();
    await folder.removeEntry("probe");
    return opfsFiles(folder);
  } catch {
    return memoryFiles();
  }
}

function opfsFiles(root: FileSystemDirectoryHandle): Files {
  const folderOf = async (names: readonly string[], create: boolean): Promise<FileSystemDirectoryHandle> => {
    let folder = root;
    for (const name of names) folder = await folder.getDirectoryHandle(name, { create });
    return folder;
  };
  const split = (path: string) => path.split("/").filter((name) => name !== "");

  const fileAt = async (path: string, create: boolean): Promise<FileSystemFileHandle> => {
    const names = split(path);
    return (await folderOf(names.slice(0, -1), create)).getFileHandle(names.at(-1)!, { create });
  };

  return {
    lasting: true,
    async all(path = "") {
      const folder = await orNothing(folderOf(split(path), false));
      return folder === undefined ? [] : (await filesIn(folder)).sort();
    },
    async read(path) {
      const file = await orNothing(fileAt(path, false));
      return file?.getFile();
    },
    write: (path, content) => attempt(path, async () => {
      const stream = await (await fileAt(path, true)).createWritable();
      try {
        if (content instanceof Blob) await stream.write(content);
        else for await (const chunk of content) await stream.write(chunk as Uint8Array<ArrayBuffer>);
      } catch (error) {
        await stream.abort().catch(() => {}); // the first error is the one to tell
        throw error;
      }
      await stream.close();
    }),
    append: (path, text) => attempt(path, async () => {
      const handle = await (await fileAt(path, true)).createSyncAccessHandle();
      try {
        handle.write(new TextEncoder().encode(text), { at: handle.getSize() });
      } finally {
        handle.close();
      }
    }),
    remove: (path) => attempt(path, async () => {
      const names = split(path);
      const folder = await orNothing(folderOf(names.slice(0, -1), false));
      await orNothing(folder?.removeEntry(names.at(-1)!, { recursive: true }) ?? Promise.resolve());
    }),
  };
}

/** Paths of all files below a folder. */
async function filesIn(folder: FileSystemDirectoryHandle): Promise<string[]> {
  const paths: string[] = [];
  for await (const [name, entry] of folder.entries()) {
    if (entry.kind === "file") paths.push(name);
    else paths.push(...(await filesIn(entry)).map((path) => `${name}/${path}`));
  }
  return paths;
}

async function orNothing<T>(found: Promise<T>): Promise<T | undefined> {
  try {
    return await found;
  } catch (error) {
    if (error instanceof DOMException && error.name === "NotFoundError") return undefined;
    throw error;
  }
}

async function attempt<T>(path: string, body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (error) {
    if (error instanceof LenggenError) throw error;
    const full = error instanceof DOMException && error.name === "QuotaExceededError";
    const reason = full ? "the browser gives this page no more room; save the run and start over" : error instanceof Error ? error.message
      : String(error);
    throw new LenggenError("E_IO", `${path} can't be written to the browser's storage: ${reason}`, { cause: error });
  }
}
