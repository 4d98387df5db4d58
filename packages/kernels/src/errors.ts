/**
 * Errors are part of the interface: each names the input, says what is wrong with it and what would be
 * right, and carries a stable code that programs can test.
 */

/** Every code that this project throws, with its meaning. Codes are stable across versions. */
export const ERROR_CODES = {
  E_SHAPE: "a tensor's shape does not fit the operation",
  E_DTYPE: "a tensor's data type does not fit the operation",
  E_DEVICE: "tensors live on different devices, or on a device that is closed",
  E_DEVICE_UNKNOWN: "no device of that name exists",
  E_DEVICE_UNAVAILABLE: "the device exists but can't be opened on this machine",
  E_DEVICE_LOST: "the device went away, and what it held with it",
  E_SHADER: "a kernel does not compile on this device",
  E_DISPOSED: "the tensor was used after it had been freed",
  E_MEMORY: "more memory was asked for than there is",
  E_ARGUMENT: "an argument is outside its range",
  E_SCOPE: "a scope, tape or tensor was used in a way that its lifetime rules forbid",
  E_FORMAT: "a file is damaged, or not of the format that it should be",
  E_CONFIG: "a configuration has a missing, unknown or impossible value",
  E_WEIGHTS: "weights do not fit the configuration",
  E_TEXT: "the text is missing, empty or too short",
  E_EXISTS: "the target already exists and would be overwritten",
  E_LOCKED: "another process works there",
  E_MISSING: "a file or folder is missing",
  E_IO: "reading or writing a file failed",
  E_NETWORK: "a server can't be reached, breaks off, or answers with something else",
  E_ACCESS: "a server gives this only to others",
  E_NOT_FINITE: "a number that must be finite is not",
  E_INTERRUPTED: "the work was interrupted",
  E_LAW: "an implementation breaks a law of its contract",
  E_UNKNOWN_NAME: "no entry of that name is in the table",
} as const;

/** A key of {@link ERROR_CODES}. */
export type ErrorCode = keyof typeof ERROR_CODES;

/** The one error class of the project. `code` is stable; the message is for people. */
export class LenggenError extends Error {
  override readonly name = "LenggenError";
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Throws a {@link LenggenError} unless the condition holds; the message is built only when it is needed. */
export function check(condition: unknown, code: ErrorCode, message: () => string): asserts condition {
  if (!condition) throw new LenggenError(code, message());
}
