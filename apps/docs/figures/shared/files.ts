/** Addresses of what several figures load. */
import type { Member } from "./members";

export const textAddress = (): string => new URL("../made/moby-dick.txt", import.meta.url).href;

export const weightAddresses = (): Readonly<Record<Member, string>> => ({
  "base": new URL("../models/base.safetensors", import.meta.url).href,
  "state-passing": new URL("../models/state-passing.safetensors", import.meta.url).href,
});
