/** Reads for the page with both models, one after the other. */
import { bytesAt, deviceOf, serve } from "../shared/worker";
import type { DeviceChoice } from "../shared/figure";
import { MEMBERS, type Member } from "../shared/members";
import { openPair, type Pair } from "../shared/pair";
import { readStates, repeated } from "./reading";
import { READ, type Sizes } from "./view";

export interface Request {
  readonly device: DeviceChoice;
  /** The text to read, or the address of one. */
  readonly text: { readonly words: string } | { readonly address: string; readonly from: number };
  readonly weights: Readonly<Record<Member, string>>;
}

export interface Told {
  readonly member: Member;
  readonly sizes: Sizes;
  readonly device: string;
}

let pair: Promise<Pair> | undefined;

async function tokensOf(text: Request["text"]): Promise<Uint8Array> {
  if ("words" in text) return repeated(new TextEncoder().encode(text.words), READ);
  const bytes = await bytesAt(text.address);
  return repeated(bytes.subarray(text.from), READ);
}

serve<Request, Told>(async ({ device: choice, text, weights }, tell) => {
  const device = await deviceOf(choice);
  const opened = await (pair ??= openPair(device, (member) => bytesAt(weights[member])));
  const tokens = await tokensOf(text);
  for (const member of MEMBERS) tell({ member, sizes: await readStates(opened[member], tokens, READ), device: device.description });
});
