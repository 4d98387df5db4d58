/** Mamba-2 in llama.cpp's form. */
import { check } from "@lenggen/kernels";
import type { GgufForm } from "../gguf/form";
import { mambaForm, plain } from "../mambaGguf";
import type { Mamba2Config } from "./config";

/** Throws `E_CONFIG` for settings that llama.cpp has not. */
export function mamba2Gguf(c: Mamba2Config): GgufForm {
  const { innerWidth, heads, groups, dtLimit: [low, high] } = c;
  check(low === 0 && high === Infinity, "E_CONFIG", () =>
    `gguf: llama.cpp's Mamba-2 has no limits of dt; this model's dt_limit is ${low} to ${high}`);
  return mambaForm("mamba2", c, {
    channels: c.convolutionWidth,
    rows: innerWidth + c.convolutionWidth + heads,
    scan: { time_step_rank: ["u32", heads], group_count: ["u32", groups] },
    of: (mixer) => ({
      "ssm_dt.bias": plain(`${mixer}.dt_bias`, heads),
      "ssm_a": { from: [`${mixer}.A_log`], shape: [heads, 1], change: "negativeExp" },
      "ssm_d": plain(`${mixer}.D`, heads, 1),
      "ssm_norm.weight": plain(`${mixer}.norm.weight`, groups, innerWidth / groups),
    }),
  });
}
