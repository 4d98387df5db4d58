/** The two models that figures read with: one trained from zero states, one trained on with state passing; both are the figure collapse's. */
import { type Device, loadParameters, memorySource, openSafetensors, type Parameters, type SequenceModel } from "@lenggen/kernels";
import { mamba2 } from "@lenggen/recurrent";
import { MODELS } from "train-in-a-tab/plan";
import type { Member } from "./members";

export type Pair = Readonly<Record<Member, Parameters>>;

/** What both are; only their parameters differ. */
export const pairModel = (): SequenceModel => mamba2(MODELS["mini-byte"].config);

/** Loads both; `file` gives the bytes of each. */
export async function openPair(device: Device, file: (member: Member) => Promise<Uint8Array<ArrayBuffer>>): Promise<Pair> {
  const load = async (member: Member): Promise<Parameters> =>
    loadParameters(pairModel(), await openSafetensors(memorySource(await file(member), `${member}.safetensors`)), device);
  return { "base": await load("base"), "state-passing": await load("state-passing") };
}
