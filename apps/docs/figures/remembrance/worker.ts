/** Measures for the page with both models, one after the other. */
import type { DeviceChoice } from "../shared/figure";
import { MEMBERS, type Member } from "../shared/members";
import { openPair, type Pair } from "../shared/pair";
import { bytesAt, deviceOf, serve } from "../shared/worker";
import { remembers } from "./reading";
import type { CutPoint } from "./view";

export interface Request {
  readonly device: DeviceChoice;
  /** Address of the text. */
  readonly text: string;
  readonly weights: Readonly<Record<Member, string>>;
  readonly length: number;
}

export interface Told {
  readonly member: Member;
  readonly points: readonly CutPoint[];
  readonly device: string;
}

let pair: Promise<Pair> | undefined;

serve<Request, Told>(async ({ device: choice, text, weights, length }, tell) => {
  const device = await deviceOf(choice);
  const opened = await (pair ??= openPair(device, (member) => bytesAt(weights[member])));
  const bytes = await bytesAt(text);
  for (const member of MEMBERS) tell({ member, points: await remembers(opened[member], bytes, length), device: device.description });
});
