/** Files that people choose or drop: texts, saved runs and folders. */
import type { ChosenFile } from "../shared/messages";

/** What was dropped: a text to train on, or a run to load. */
export type Dropped = { readonly kind: "text"; readonly file: File } | { readonly kind: "run"; readonly files: readonly ChosenFile[] };

/** Files of a run directory and no others: a folder may hold anything. */
const OF_A_RUN = /(^|\/)(run\.json|tab\.json|config\.json|metrics\.jsonl|README\.txt|[^/]+\.(train|held-out)\.txt|trainer\.json|(model|optimizer)\.safetensors)$/;

/** The files of a chosen folder, with their paths below it. */
export function chosenFiles(list: Iterable<File>): ChosenFile[] {
  return [...list].map((file) => ({ path: file.webkitRelativePath || file.name, content: file }))
    .filter(({ path }, _, all) => all.length === 1 || OF_A_RUN.test(path));
}

/** Reads a drop. Undefined when nothing of it is a file. */
export async function droppedFiles(transfer: DataTransfer): Promise<Dropped | undefined> {
  const entries = [...transfer.items].flatMap((item) => item.webkitGetAsEntry() ?? []);
  const [first] = entries;
  if (first?.isDirectory) {
    const files = (await Promise.all(entries.map((entry) => filesBelow(entry, "")))).flat();
    return { kind: "run", files: files.filter(({ path }) => OF_A_RUN.test(path)) };
  }
  const file = transfer.files[0];
  if (!file) return undefined;
  return /\.(tar|safetensors)$/i.test(file.name) ? { kind: "run", files: chosenFiles(transfer.files) } : { kind: "text", file };
}

async function filesBelow(entry: FileSystemEntry, folder: string): Promise<ChosenFile[]> {
  const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
  if (entry.isFile) {
    const content = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject));
    return [{ path, content }];
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const inside: FileSystemEntry[] = [];
  for (;;) {
    // A reader gives its entries in parts, and none at the end.
    const part = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (part.length === 0) break;
    inside.push(...part);
  }
  return (await Promise.all(inside.map((each) => filesBelow(each, path)))).flat();
}

/** Hands a file to the browser's downloads. */
export function download(content: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  // The browser has opened it by then; a minute is ample.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
