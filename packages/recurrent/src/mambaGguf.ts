/** What Mamba-1 and Mamba-2 share in llama.cpp's form. */
import type { GgufMetadata } from "@lenggen/kernels/gguf";
import { commonMetadata, type GgufForm, type GgufPart, tokenTable } from "./gguf/form";
import type { MambaSizes } from "./mambaFiles";

interface Sizes extends MambaSizes {
  readonly innerWidth: number;
  readonly stateSize: number;
  readonly convolution: number;
}

/** A parameter as it is. */
export const plain = (name: string, ...shape: number[]): GgufPart => ({ from: [name], shape });

/**
 * A model whose layers have the mixer's tensors `of` a prefix of parameters. `channels`: of the convolution; `rows`: of the projection
 * into the mixer; `scan`: values below the family's name that say what else the scan has.
 */
export function mambaForm(
  family: string, c: Sizes, { channels, rows, scan, of }: {
    channels: number; rows: number; scan: GgufMetadata; of(prefix: string): Readonly<Record<string, GgufPart>>;
  },
): GgufForm {
  const layer = (i: number): Record<string, GgufPart> => {
    const mixer = `backbone.layers.${i}.mixer`;
    const parts = {
      "attn_norm.weight": plain(`backbone.layers.${i}.norm.weight`, c.width),
      "ssm_in.weight": plain(`${mixer}.in_proj.weight`, rows, c.width),
      "ssm_conv1d.weight": plain(`${mixer}.conv1d.weight`, channels, c.convolution),
      "ssm_conv1d.bias": plain(`${mixer}.conv1d.bias`, channels),
      ...of(mixer),
      "ssm_out.weight": plain(`${mixer}.out_proj.weight`, c.width, c.innerWidth),
    };
    return Object.fromEntries(Object.entries(parts).map(([name, part]) => [`blk.${i}.${name}`, part]));
  };
  return {
    metadata: {
      ...commonMetadata(family, { ...c, innerWidth: 0 }),
      [`${family}.attention.layer_norm_rms_epsilon`]: ["f32", c.normEps],
      [`${family}.ssm.conv_kernel`]: ["u32", c.convolution],
      [`${family}.ssm.inner_size`]: ["u32", c.innerWidth],
      [`${family}.ssm.state_size`]: ["u32", c.stateSize],
      ...Object.fromEntries(Object.entries(scan).map(([name, value]) => [`${family}.ssm.${name}`, value])),
    },
    parts: {
      "token_embd.weight": tokenTable("backbone.embedding.weight", c),
      "output_norm.weight": plain("backbone.norm_f.weight", c.width),
      ...(!c.tieEmbeddings && { "output.weight": tokenTable("lm_head.weight", c) }),
      ...Object.assign({}, ...Array.from({ length: c.layers }, (_, i) => layer(i))) as Record<string, GgufPart>,
    },
  };
}
