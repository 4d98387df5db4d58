import { type ErrorCode, LenggenError } from "@lenggen/kernels";

/** The command line was used wrongly: exit code 2, where other errors give 1. */
export class UsageError extends LenggenError {
  constructor(message: string, code: ErrorCode = "E_ARGUMENT") {
    super(code, message);
  }
}

/** The exit codes of every command. */
export const EXIT = { done: 0, failed: 1, usage: 2, interrupted: 130 } as const;

/** The page about an error code on the docs site that is served at `site`; undefined where there is none. */
export function pageOfError(code: string, site: string | undefined): string | undefined {
  return site && `${site.replace(/\/*$/, "/")}reference/errors.html#${code.toLowerCase()}`;
}

/** What stands in the command line and can't be meant, also where only the model or the text shows that. */
const USAGE: ReadonlySet<ErrorCode> = new Set(["E_ARGUMENT", "E_DEVICE_UNKNOWN", "E_UNKNOWN_NAME"]);

/** The exit code that an error stands for. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return EXIT.usage;
  if (!(error instanceof LenggenError)) return EXIT.failed;
  if (error.code === "E_INTERRUPTED") return EXIT.interrupted;
  return USAGE.has(error.code) ? EXIT.usage : EXIT.failed;
}
