/** What RWKV-6 and RWKV-7 share in llama.cpp's form. */
import { check } from "@lenggen/kernels";
import type { GgufMetadata } from "@lenggen/kernels/gguf";
import { commonMetadata, type GgufForm, type GgufPart, tokenTable } from "../gguf/form";
import { HEAD_NORM_EPS } from "./layouts";

interface Sizes {
  readonly vocabulary: number;
  readonly width: number;
  readonly layers: number;
  readonly headSize: number;
  readonly innerWidth: number;
  readonly normEps: number;
  readonly headNormEps: number;
}

/** Parts of one layer: how they are called in the file, and how in checkpoints. */
export class RwkvParts {
  readonly parts: Record<string, GgufPart> = {};

  /** `to` and `from`: prefixes, `blk.0` and `blocks.0`. */
  constructor(private readonly to: string, private readonly from: string) {}

  #add(name: string, part: GgufPart): this {
    this.parts[`${this.to}.${name}`] = part;
    return this;
  }

  /** A vector or a matrix as it is. */
  plain(name: string, from: string, ...shape: number[]): this {
    return this.#add(`${name}.weight`, { from: [`${this.from}.${from}`], shape });
  }

  /** Weight and bias of a norm. */
  norm(name: string, from: string, width: number): this {
    for (const part of ["weight", "bias"]) this.#add(`${name}.${part}`, { from: [`${this.from}.${from}.${part}`], shape: [width] });
    return this;
  }

  /** A low-rank matrix, which checkpoints have the other way round. */
  turned(name: string, from: string, ...shape: number[]): this {
    return this.#add(`${name}.weight`, { from: [`${this.from}.${from}`], shape, change: "transposed" });
  }

  /** The shares of the token before, one behind the other. */
  fused(name: string, from: readonly string[], width: number): this {
    return this.#add(`${name}.weight`, { from: from.map((part) => `${this.from}.${part}`), shape: [from.length, 1, 1, width] });
  }
}

/**
 * A model whose layers have, beside their norms, what `layer` adds; `values`: below the family's name. Throws `E_CONFIG` for heads that are
 * normed otherwise than in llama.cpp.
 */
export function rwkvForm(family: string, c: Sizes, values: GgufMetadata, layer: (parts: RwkvParts, index: number) => void): GgufForm {
  check(c.headNormEps === HEAD_NORM_EPS, "E_CONFIG", () =>
    `gguf: llama.cpp norms the heads of RWKV with an epsilon of ${HEAD_NORM_EPS}; this model's is ${c.headNormEps}`);
  const norm = (name: string, from: string) => Object.fromEntries(
    ["weight", "bias"].map((part) => [`${name}.${part}`, { from: [`${from}.${part}`], shape: [c.width] }]));
  const layers = Array.from({ length: c.layers }, (_, i) => {
    const parts = new RwkvParts(`blk.${i}`, `blocks.${i}`)
      .norm("attn_norm", "ln1", c.width).norm("attn_norm_2", "ln2", c.width).norm("time_mix_ln", "att.ln_x", c.width);
    layer(parts, i);
    return parts.parts;
  });
  return {
    metadata: {
      ...commonMetadata(family, c),
      [`${family}.attention.layer_norm_epsilon`]: ["f32", c.normEps],
      [`${family}.wkv.head_size`]: ["u32", c.headSize],
      ...Object.fromEntries(Object.entries(values).map(([name, value]) => [`${family}.${name}`, value])),
    },
    parts: {
      "token_embd.weight": tokenTable("emb.weight", c),
      ...norm("token_embd_norm", "blocks.0.ln0"),
      ...norm("output_norm", "ln_out"),
      "output.weight": tokenTable("head.weight", c),
      ...Object.assign({}, ...layers) as Record<string, GgufPart>,
    },
  };
}
