/** What only Node has: the chunk memory on disk, and streams that are saved. Import as `@lenggen/gca/node`. */
export type { FileSystem, OpenedFile } from "./chunkFile";
export { diskStore, type DiskStore, type DiskStoreOptions } from "./diskStore";
export { type ResumedStream, resumeStream, type ResumeStreamOptions, saveStream } from "./stream";
