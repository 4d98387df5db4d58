/** Where the chunks of a model that retrieves live while a command runs. */
import { type ChunkStore, type Drt, hostStore } from "@lenggen/gca";
import { diskStore } from "@lenggen/gca/node";
import { check, type SequenceModel } from "@lenggen/kernels";

/** What `--memory` may be, with its help. */
export const TIERS = ["device", "host", "disk"] as const;
export const TIERS_HELP = "models that retrieve: where old chunks live: on the device, in host memory, or on disk, in a file in the "
  + "current folder that is gone afterwards";

/** One of {@link TIERS}. */
export type Tier = (typeof TIERS)[number];

/** Whether a model has chunks, which may live elsewhere than on the device. */
export function hasChunks(model: { readonly family: string }): model is Drt {
  return model.family === "drt";
}

/**
 * Runs a body with the model that keeps its chunks there, and with their store, which is closed afterwards; a file lies in the folder.
 * Throws `E_ARGUMENT` for a model that has none, unless they are to be on the device.
 */
export async function keepingChunks<R>(
  model: SequenceModel, tier: Tier, folder: string, body: (model: SequenceModel, store?: ChunkStore) => Promise<R>,
): Promise<R> {
  if (tier === "device") return body(model);
  check(hasChunks(model), "E_ARGUMENT", () =>
    `--memory ${tier}: a model of family ${model.family} has no chunks to keep there; leave it out`);
  const store = tier === "disk" ? await diskStore({ folder }) : hostStore();
  try {
    return await body(model.withMemory(store), store);
  } finally {
    await store.close();
  }
}
