import { type ErrorCode, LenggenError } from "@lenggen/kernels";

/** The command line was used wrongly: exit code 2, where other errors give 1. */
export class UsageError extends LenggenError {
  constructor(message: string, code: ErrorCode = "E_ARGUMENT") {
    super(code, message);
  }
}

/** The exit codes of every command. */
export const EXIT = { done: 0, failed: 1, usage: 2, interrupted: 130 } as const;

/** The exit code that an error stands for. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return EXIT.usage;
  if (!(error instanceof LenggenError)) return EXIT.failed;
  if (error.code === "E_INTERRUPTED") return EXIT.interrupted;
  return error.code === "E_DEVICE_UNKNOWN" || error.code === "E_UNKNOWN_NAME" ? EXIT.usage : EXIT.failed;
}
