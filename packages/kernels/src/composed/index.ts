/**
 * What ops are in terms of other ops, for backends that lack their kernels (form.ts says how), and what a device has of either. An entry
 * of its own, since a device that has all kernels needs none of it.
 */
import type { Device } from "../device";
import { FAMILIES } from "../families";
import type { Family } from "../signature";
import { convForms } from "./conv";
import { crossEntropyForms } from "./crossEntropy";
import { deltaRuleForms } from "./deltaRule";
import type { Composed } from "./form";
import { gatedLinearAttentionForms } from "./gatedLinearAttention";
import { gatesForms } from "./gates";
import { lerpForms } from "./lerp";
import { normForms } from "./norm";
import { ropeForms } from "./rope";
import { selectiveScanForms } from "./selectiveScan";
import { ssdForms } from "./ssd";

export { composed, formsFor, type Composed, type ComposedForm } from "./form";

/** All composed forms there are. */
export const COMPOSED: readonly Composed[] = [
  ...convForms,
  ...crossEntropyForms,
  ...deltaRuleForms,
  ...gatedLinearAttentionForms,
  ...gatesForms,
  ...lerpForms,
  ...normForms,
  ...ropeForms,
  ...selectiveScanForms,
  ...ssdForms,
];

/**
 * From now on the device runs these ops (all that have a form unless given) in composed form: to compare both. Ops that are running
 * stay.
 */
export function runComposed(device: Device, ops: readonly string[] = COMPOSED.map(({ op }) => op.name)): void {
  const chosen = COMPOSED.filter(({ op }) => ops.includes(op.name)).map(({ op, form }) => [op, form] as const);
  Object.assign(device, { composed: new Map([...(device.composed ?? []), ...chosen]) });
}

/** How a device runs a kernel: its own, by other ops, or not at all. */
export interface KernelSupport {
  readonly family: string;
  readonly kernel: string;
  readonly how: "fused" | "composed" | "absent";
  /** Ops that may stand in its place; empty where there is no such form. */
  readonly ops: readonly string[];
}

/** Every kernel that is declared, and how the device runs it. */
export function kernelSupport(device: Device): KernelSupport[] {
  return Object.entries<Family>(FAMILIES).flatMap(([family, kernels]) => Object.keys(kernels).map((kernel): KernelSupport => {
    const ops = COMPOSED.filter((form) => form.kernels.includes(kernel)).map(({ op }) => op);
    const composedNow = ops.length > 0 && ops.every((op) => device.composed?.has(op));
    const how = composedNow ? "composed" : kernel in device.kernels ? "fused" : "absent";
    return { family, kernel, ops: ops.map(({ name }) => name), how };
  }));
}
