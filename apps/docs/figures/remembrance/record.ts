/** The curves of both models at each length. */
import { stillMarkup } from "../shared/chart";
import type { Member } from "../shared/members";
import { openPair } from "../shared/pair";
import type { RecordedFiles, Recording } from "../shared/recording";
import { remembers } from "./reading";
import { chartOf, cutNear, FIRST_LENGTH, LENGTHS, type Recorded } from "./view";

export async function record({ device, text, file, command, note }: Recording): Promise<RecordedFiles> {
  const pair = await openPair(device, (member) => file(`models/${member}.safetensors`));
  const lengths: Record<number, Recorded["lengths"][number]> = {};
  for (const length of LENGTHS) {
    note(`remembrance: ${length} bytes`);
    const of = (member: Member) => remembers(pair[member], text, length);
    lengths[length] = { "base": await of("base"), "state-passing": await of("state-passing") };
  }
  const curves = lengths[FIRST_LENGTH]!;
  const recorded: Recorded = { device: device.description, command, lengths };
  return {
    "remembrance/recorded.json": `${JSON.stringify(recorded)}\n`,
    "remembrance/still.svg": stillMarkup(chartOf({ length: FIRST_LENGTH, curves, cut: cutNear(curves.base, FIRST_LENGTH * 0.75) })),
  };
}
