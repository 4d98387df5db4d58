/** What a tree of tensors holds, as a few characters: to tell whether two are the same. */
import { check } from "./errors";
import { readSlice } from "./safetensors";
import type { Tensor } from "./tensor";
import { leaves } from "./tree";

/** Elements read at a time: host memory stays small whatever the tree's size. */
const SLICE = 1 << 20;

/**
 * SHA-256, in hex, of the paths, shapes and numbers of a tree: the same on every device and in whatever order its leaves stand. Numbers
 * of f16 count as the f32 numbers that they are. Throws `E_IO` in a page that is not secure, where browsers have no SHA-256.
 */
export async function digestOf(tree: unknown): Promise<string> {
  const lines: string[] = [];
  for (const { path, tensor } of leaves(tree).sort((a, b) => (a.path < b.path ? -1 : 1))) {
    lines.push(`${path} [${tensor.shape.join(",")}] ${(await digestsOf(tensor)).join(" ")}`);
  }
  return sha256(new TextEncoder().encode(lines.join("\n")));
}

async function digestsOf(tensor: Tensor): Promise<string[]> {
  const parts: string[] = [];
  for (let start = 0; start < tensor.size; start += SLICE) {
    const { buffer, byteOffset, byteLength } = await readSlice(tensor, start, Math.min(SLICE, tensor.size - start));
    parts.push(await sha256(new Uint8Array(buffer, byteOffset, byteLength)));
  }
  return parts;
}

async function sha256(bytes: Uint8Array): Promise<string> {
  const { crypto } = globalThis as { crypto?: { subtle?: { digest(name: "SHA-256", bytes: Uint8Array): Promise<ArrayBuffer> } } };
  const subtle = crypto?.subtle;
  check(subtle, "E_IO", () => "digest: this page has no crypto.subtle; it needs https or localhost");
  const digest = await subtle.digest("SHA-256", bytes);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
