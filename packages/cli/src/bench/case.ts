import type { Device } from "@lenggen/kernels";

/** `both` is forward and gradient together; `step` a whole training step. */
export type Pass = "forward" | "backward" | "both" | "step";

/** One thing that is timed. */
export interface BenchCase {
  readonly kernel: string;
  /** In words, e.g. "512x512x512". */
  readonly shape: string;
  readonly pass: Pass;
  /** Floating-point operations that the algorithm needs; a multiply-add is two. */
  readonly operations: number;
  /** Exponentials that it needs, where they are what takes the time. */
  readonly exponentials?: number;
  /** Bytes that must be read and written at least. */
  readonly bytes: number;
  /** Tokens that one run handles, where that says something. */
  readonly tokens?: number;
  /** What the op's composed form is timed with; the same unless given. */
  readonly composed?: BenchCase;
  /** Makes the inputs; the body does the work once and may return tensors, which are freed. */
  prepare(device: Device, seed: number): BenchRun;
}

export interface BenchRun {
  body(): unknown;
  dispose(): void;
}
