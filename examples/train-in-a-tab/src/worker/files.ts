/**
 * Where the page keeps its files, as far as it needs it: the browser's own storage (opfs.ts), or memory where there is none.
 * Paths have slashes. A file that is written is there whole or not at all.
 */
export interface Files {
  /** Whether files are still there when the page is opened again. */
  readonly lasting: boolean;
  /** Paths of all files below a folder, from there, in order; empty when there is none. */
  all(folder?: string): Promise<string[]>;
  /** The file as it is now; undefined when there is none. */
  read(path: string): Promise<Blob | undefined>;
  /** Folders on the way are made. */
  write(path: string, content: Blob | AsyncIterable<Uint8Array>): Promise<void>;
  /** Adds to the end of a file, which is made if there is none. */
  append(path: string, text: string): Promise<void>;
  /** A file, or a folder with all that is in it; nothing happens when there is none. */
  remove(path: string): Promise<void>;
}

export function memoryFiles(): Files {
  const files = new Map<string, Blob>();
  return {
    lasting: false,
    async all(folder = "") {
      const start = folder === "" ? "" : `${folder}/`;
      return [...files.keys()].filter((path) => path.startsWith(start)).map((path) => path.slice(start.length)).sort();
    },
    read: async (path) => files.get(path),
    async write(path, content) {
      files.set(path, content instanceof Blob ? content : await gathered(content));
    },
    async append(path, text) {
      files.set(path, new Blob([files.get(path) ?? "", text]));
    },
    async remove(path) {
      for (const name of files.keys()) if (name === path || name.startsWith(`${path}/`)) files.delete(name);
    },
  };
}

async function gathered(chunks: AsyncIterable<Uint8Array>): Promise<Blob> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  for await (const chunk of chunks) parts.push(chunk.slice());
  return new Blob(parts);
}
