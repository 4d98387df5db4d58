/**
 * Where a run's files live. The trainer knows only this; a folder in Node is one implementation
 * (`@lenggen/interventions/node`).
 */
import type { ByteSource } from "@lenggen/kernels";

/** Text, or bytes in chunks. */
export type FileContent = string | AsyncIterable<Uint8Array>;

/** How a {@link RunStore} is taken. */
export interface LockRequest {
  /** Stops waiting. */
  readonly signal?: AbortSignal;
  /** Called once when it takes a while to learn whether a process on another machine still lives; `holder`: which one, in words. */
  readonly onWait?: (holder: string) => void;
}

/** Files of one run: small ones at the top, and checkpoints that appear whole or not at all. */
export interface RunStore {
  /** Where it is, for messages: a path. */
  readonly location: string;
  /**
   * Takes the store for this run only, until the function that it gives is called; {@link train} does so before anything else. Throws
   * `E_LOCKED` with who has it, and from then on in every call that writes when another has taken it over. A store that nobody else
   * can reach needs none.
   */
  lock?(request?: LockRequest): Promise<() => Promise<void>>;
  /** Makes the store ready for writing and removes what a killed process left half done. Throws `E_IO`. */
  prepare(): Promise<void>;
  /** Names at the top. Empty for a run that has not begun. */
  entries(): Promise<string[]>;
  /** Undefined when there is no such file. */
  readText(name: string): Promise<string | undefined>;
  /** Afterwards the file is there whole; if this fails or the process dies, what was there before is. Throws `E_IO`. */
  write(name: string, content: FileContent): Promise<void>;
  /** Adds to the end of a file. */
  append(name: string, text: string): Promise<void>;
  /** Steps of which there is a complete checkpoint, ascending. */
  checkpoints(): Promise<number[]>;
  /** Where the checkpoint of a step is, for messages and for other tools. */
  checkpointPath(step: number): string;
  /** Opens a file of a checkpoint. Throws `E_MISSING`. */
  openCheckpoint(step: number, file: string): Promise<ByteSource>;
  /** All files appear together or not at all. Throws `E_IO` and leaves nothing behind. */
  writeCheckpoint(step: number, files: Readonly<Record<string, FileContent>>): Promise<void>;
  removeCheckpoint(step: number): Promise<void>;
}
