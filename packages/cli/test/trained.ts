/** A folder with a text, a small model's configuration and a run of it, made once for a test file. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { lenggen } from "./lenggen";

export const CONFIG = { d_model: 16, n_layer: 1, vocab_size: 256, ssm_cfg: { layer: "Mamba2", d_state: 8, headdim: 8 } };

export interface Workplace {
  readonly folder: string;
  /** Arguments of a short training run of the small model. */
  readonly training: readonly string[];
  remove(): Promise<void>;
}

export async function workplace(): Promise<Workplace> {
  const folder = await mkdtemp(join(tmpdir(), "lenggen-cli-"));
  await writeFile(join(folder, "small.json"), JSON.stringify(CONFIG));
  await writeFile(join(folder, "book.txt"), "It was the best of times, it was the worst of times. ".repeat(40));
  return {
    folder,
    training: ["--text", "book.txt", "--model", "small.json", "--context", "32", "--batch", "2", "--warmup", "2"],
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

/** Trains the small model into runs/base. */
export async function trainBase({ folder, training }: Workplace): Promise<void> {
  const { code, stderr } = await lenggen(["train", ...training, "--steps", "6", "--out", "runs/base"], { cwd: folder });
  if (code !== 0) throw new Error(stderr);
}
