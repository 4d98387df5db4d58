/** zstd for tests: frames of blocks that are not packed, and one that zstd 1.5.4 wrote, at level 19 with a checksum. */

export interface FrameOptions {
  /** log2 of the window, from 10 on. */
  readonly windowLog?: number;
  readonly blockSize?: number;
}

/** A frame whose blocks hold the bytes as they are, or one byte many times. */
export function storedFrame(bytes: Uint8Array, { windowLog = 20, blockSize = 1 << 16 }: FrameOptions = {}): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, (windowLog - 10) << 3)];
  for (let at = 0; at === 0 || at < bytes.length; at += blockSize) {
    const block = bytes.subarray(at, at + blockSize);
    const same = block.length > 1 && block.every((byte) => byte === block[0]);
    const word = (at + blockSize >= bytes.length ? 1 : 0) | (same ? 2 : 0) | (block.length << 3);
    parts.push(Uint8Array.of(word & 255, (word >> 8) & 255, word >> 16), same ? block.subarray(0, 1) : block);
  }
  return new Uint8Array(Buffer.concat(parts));
}

/** A frame that is to be passed over. */
export function skippableFrame(bytes: Uint8Array, kind = 0): Uint8Array {
  const header = Buffer.alloc(8);
  header.writeUInt32LE(0x184d2a50 + kind, 0);
  header.writeUInt32LE(bytes.length, 4);
  return Buffer.concat([header, bytes]);
}

/** What zstd packed into {@link PACKED}: so many bytes, with this SHA-256. */
export const PACKED_TEXT = { length: 2739, sha256: "6d8387dd55db43ed15968c6c3b6301028686c9bae6a93ab06fae1058c02f9752" };
export const PACKED: Uint8Array = Buffer.from([
  "KLUv/WSzCe0SAJKGEA/Q50SIvC2DSCKUG4AKHAe+W7zxxvtGc19baHqt3XVf/TdFYrC0Ac61/04WmheP2zBpyFmAoHFTJYY6sxSFpu4C14E0qHFvksKwnwEh",
  "BAjEgZpa6gER1AgnwIQGlSTLbilTTBkekoBQuNuMc5o1lE70fVAZLvxQlCHLvR0IQS8MNcZGzKkUpH4sOBuwL47qChs7bNXcNtgIjFxA9Owv6C9EQBMvYpYp",
  "xb/U0YGuSCIce6m4v7eMwqEjkl1lfu1ck3GKNCWvo8ueDCbv3XbnunzVqAZETof+ITDBu/LG35Yo4R9BvAKfFl+HLDUB3aICCrVHoXJ1ePhylBGQwt7reh7T",
  "gqSoJ2hC3PdBusIaaTAifYc03r6aoKi0Vrlreh2XH13XRjLzxytN4lNuUyiHEzC8nPOTbhR7VNPFEllKYLU/rFJo7PrEbZAAyOCaOtYG6e9rUXjLRlaMr44M",
  "8NljiayqvfLF9kNopwiQ3Y6AP4uwbdkCC7m/lzR9EHUBJlTGvobnXNIbMqw3pV8fr4R0/q22/36r+4vnRxDEYp4k1Wsw33pnU7PxAOSpkYJ9ARu0BnQ1xt3g",
  "C4RzDisutUBNG9VhvBcCEyAK1s5IFxIQOZF4EkSgjyBKbfVRDqaGFAfjmTE3RyXuU0duP4k2rkgOQY8+YunxhAwor54c9mxULrud3pWG8pWezNtpRJiS9oIt",
  "lAfQ/K0jhMmtgNbDnjg7cYqY5onOmguXpMHtrCzgGjmLuqy222YGsIDuzrGLkAwRiMxeNPdx7MIn1PWqEvislCWJl9rmA6gKs6AKQ3gCvA==",
].join(""), "base64");
