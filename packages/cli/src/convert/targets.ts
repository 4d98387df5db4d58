/** What `lenggen convert` can write, told by how the name of what is to be written ends. */
import { extname } from "node:path";
import { oneOf } from "../parse";
import { ggufFile } from "./gguf";
import { safetensorsFile, safetensorsFolder } from "./safetensors";
import type { Target } from "./target";

/** All targets; the first is a folder. */
export const TARGETS: readonly Target[] = [safetensorsFolder, safetensorsFile, ggufFile];

/** Endings of files that somebody might expect here. A folder may have any other. */
const FILES = /^\.(?:bin|pth|pt|ckpt|onnx|ggml|json|safetensor)$/;

/** The target for what is to be written. Throws `E_UNKNOWN_NAME` for a name that ends as a file of another kind. */
export function targetOf(to: string): Target {
  const extension = extname(to).toLowerCase();
  const found = TARGETS.find((target) => target.extension === extension);
  if (!found && FILES.test(extension)) oneOf("form of checkpoints", TARGETS.map((target) => target.extension).filter(Boolean))(extension);
  return found ?? TARGETS[0]!;
}
