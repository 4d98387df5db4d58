/** What the configurations of mamba_ssm, which have no `model_type`, are told apart by. */
import { check, nearest } from "@lenggen/kernels";

/** The kinds of layers of mamba_ssm: `ssm_cfg.layer` of its configurations. */
export type SsmLayer = (typeof LAYERS)[number];
const LAYERS = ["Mamba1", "Mamba2", "Mamba3"] as const;

/**
 * The kind of layer that a configuration of mamba_ssm asks for: "Mamba1" where it names none, as in files that are older than the field.
 * Undefined where the configuration is not of that program; throws `E_CONFIG` for a kind that there is none of.
 */
export function ssmLayer(json: object): SsmLayer | undefined {
  if (!("d_model" in json || "ssm_cfg" in json)) return undefined;
  const { ssm_cfg: section } = json as { ssm_cfg?: unknown };
  const layer: unknown = section !== null && typeof section === "object" && "layer" in section ? section.layer : "Mamba1";
  check(LAYERS.includes(layer as SsmLayer), "E_CONFIG", () => `config: ssm_cfg.layer: there is no layer ${JSON.stringify(layer)}`
    + `${typeof layer === "string" ? nearest(layer, LAYERS) : ""}; it is one of ${LAYERS.join(", ")}`);
  return layer as SsmLayer;
}
