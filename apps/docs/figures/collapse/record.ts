/** The numbers that play where there is no GPU, the still, and the weights that the other figures read with. */
import { stillMarkup } from "../shared/chart";
import type { RecordedFiles, Recording } from "../shared/recording";
import { encodeWeights } from "../shared/recording";
import type { Curves, Recorded, Snapshot } from "./curves";
import { FIRST_LENGTH, LENGTHS, WAYS, type Way } from "./plan";
import { type Told, trainBase, trainOn } from "./training";
import { chartOf } from "./view";

export async function record({ device, text, command, note }: Recording): Promise<RecordedFiles> {
  const lengths: Record<number, Curves> = {};
  const files: Record<string, string | Uint8Array> = {};
  for (const length of LENGTHS) {
    let ends: readonly number[] = [];
    const snapshots = new Map<string, Snapshot[]>();
    const tell = (told: Told): void => {
      if (told.kind !== "curve") return;
      ends = told.ends;
      snapshots.set(told.part, [...(snapshots.get(told.part) ?? []), told.snapshot]);
    };
    const base = await trainBase({ device, text, length, measurements: 8, tell });
    for (const way of WAYS) {
      note(`collapse: ${length} bytes, ${way}`);
      const weights = await trainOn({ device, text, length, measurements: 5, tell }, way, base);
      if (length !== FIRST_LENGTH || way !== "state-passing") continue;
      files["models/state-passing.safetensors"] = await encodeWeights(device, weights);
    }
    if (length === FIRST_LENGTH) files["models/base.safetensors"] = await encodeWeights(device, base);
    lengths[length] = { ends, base: snapshots.get("base")!,
      ways: Object.fromEntries(WAYS.map((way) => [way, snapshots.get(way)!])) as Record<Way, Snapshot[]> };
  }
  const recorded: Recorded = { device: device.description, command, lengths: lengths as Recorded["lengths"] };
  return {
    ...files,
    "collapse/recorded.json": `${JSON.stringify(recorded)}\n`,
    "collapse/still.svg": stillMarkup(chartOf({ length: FIRST_LENGTH, way: "state-passing", curves: lengths[FIRST_LENGTH]! })),
  };
}
