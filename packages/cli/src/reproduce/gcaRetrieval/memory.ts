/** Models of the experiment, and how they read long texts: their chunks on disk. */
import { drt, type Drt, transformer, type Transformer } from "@lenggen/gca";
import type { SequenceModel } from "@lenggen/kernels";
import { hasChunks, keepingChunks } from "../../chunks";
import type { RetrieverSettings, TrainingStage } from "./settings";

/** The model, as a stage of its training changes it. */
export function modelOf({ model }: RetrieverSettings, { model: changes = {} }: Pick<TrainingStage, "model"> = {}): Drt | Transformer {
  if (model.model_type === "drt") return drt({ ...model, ...changes });
  return transformer({ ...model, window: model.window && (changes.window ?? model.window) });
}

/** Where a model's chunks are, and how much of the disk they take now. */
export interface LongReader {
  readonly model: SequenceModel;
  readonly tier: "disk" | "device";
  diskBytes(): number;
}

/**
 * Runs a body with a model whose chunks live in a file below the folder, which is gone afterwards. Models without chunks stay as they
 * are.
 */
export function readingLong<R>(model: Drt | Transformer, folder: string, body: (reader: LongReader) => Promise<R>): Promise<R> {
  const tier = hasChunks(model) ? "disk" : "device";
  return keepingChunks(model, tier, folder, (reader, store) => body({ model: reader, tier, diskBytes: () => store?.size().disk ?? 0 }));
}
