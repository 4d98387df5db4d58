/** What both models' states do over the held-out end of the text. */
import { stillMarkup } from "../shared/chart";
import type { Member } from "../shared/members";
import { openPair } from "../shared/pair";
import type { RecordedFiles, Recording } from "../shared/recording";
import { readStates } from "./reading";
import { chartOf, READ, type Recorded } from "./view";

export async function record({ device, text, file, command, note }: Recording): Promise<RecordedFiles> {
  const pair = await openPair(device, (member) => file(`models/${member}.safetensors`));
  const tokens = text.subarray(text.length - READ);
  const read = (member: Member) => {
    note(`state: ${member}`);
    return readStates(pair[member], tokens, READ);
  };
  const recorded: Recorded = { device: device.description, command,
    sizes: { "base": await read("base"), "state-passing": await read("state-passing") } };
  return {
    "state/recorded.json": `${JSON.stringify(recorded)}\n`,
    "state/still.svg": stillMarkup(chartOf({ sizes: recorded.sizes, measure: "norm", heads: false })),
  };
}
