/** Mamba-1 in llama.cpp's form. */
import { check } from "@lenggen/kernels";
import type { GgufForm } from "../gguf/form";
import { mambaForm, plain } from "../mambaGguf";
import type { MambaConfig } from "./config";

/** Throws `E_CONFIG` for settings that llama.cpp has not. */
export function mambaGguf(c: MambaConfig): GgufForm {
  const { innerWidth, stateSize, stepRank } = c;
  check(innerWidth === 2 * c.width, "E_CONFIG", () =>
    `gguf: llama.cpp's Mamba has an expand of 2 and no other; this model's is ${innerWidth / c.width}`);
  return mambaForm("mamba", c, {
    channels: innerWidth,
    rows: 2 * innerWidth,
    scan: { time_step_rank: ["u32", stepRank], dt_b_c_rms: ["bool", false] },
    of: (mixer) => ({
      "ssm_x.weight": plain(`${mixer}.x_proj.weight`, stepRank + 2 * stateSize, innerWidth),
      "ssm_dt.weight": plain(`${mixer}.dt_proj.weight`, innerWidth, stepRank),
      "ssm_dt.bias": plain(`${mixer}.dt_proj.bias`, innerWidth),
      "ssm_a": { from: [`${mixer}.A_log`], shape: [innerWidth, stateSize], change: "negativeExp" },
      "ssm_d": plain(`${mixer}.D`, innerWidth),
    }),
  });
}
