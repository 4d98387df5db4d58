/** All composed forms there are. */
import type { Device } from "../device";
import { convForms } from "./conv";
import { crossEntropyForms } from "./crossEntropy";
import type { Composed } from "./form";
import { gatesForms } from "./gates";
import { normForms } from "./norm";
import { ropeForms } from "./rope";
import { ssdForms } from "./ssd";

export { formsFor, type Composed, type ComposedForm } from "./form";

export const COMPOSED: readonly Composed[] = [...convForms, ...crossEntropyForms, ...gatesForms, ...normForms, ...ropeForms, ...ssdForms];

/** From now on the device runs these ops (all that have a form unless given) in composed form: to compare both. Ops that are running stay. */
export function runComposed(device: Device, ops: readonly string[] = COMPOSED.map(({ op }) => op)): void {
  const chosen = COMPOSED.filter(({ op }) => ops.includes(op)).map(({ op, form }) => [op, form] as const);
  Object.assign(device, { composed: new Map([...(device.composed ?? []), ...chosen]) });
}
