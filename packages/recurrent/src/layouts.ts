/**
 * Layouts: the forms of `config.json` and of the file of weights in which a family's checkpoints are published, each for a program that
 * loads them. A model is saved in the one that it came in.
 */
import { check } from "@lenggen/kernels";

/** How a model is saved. */
export interface LayoutOption<L extends string> {
  /**
   * The program whose checkpoints the model is saved as; unless given, that of the configuration's form. With one given, settings that this
   * program has no field for are refused (`E_CONFIG`); without, they are written for lenggen to read.
   */
  readonly layout?: L;
}

/** Who has a layout, in words. */
const WHOSE: Readonly<Record<string, string>> = {
  rwkv: "its authors have it", mamba_ssm: "mamba_ssm has it", fla: "flash-linear-attention has it", transformers: "transformers has it",
};

/** What a model is, for `SequenceModel.about`: its family, its layout, and its sizes, each in words. */
export function aboutModel(family: string, layout: string, sizes: readonly string[]): string {
  return `${family} as ${WHOSE[layout]!}: ${sizes.join(", ")}`;
}

/** "12 layers of width 768". */
export function layersOfWidth({ layers, width }: { readonly layers: number; readonly width: number }): string {
  return `${layers} ${layers === 1 ? "layer" : "layers"} of width ${width}`;
}

/** "12 heads of 64", or "4 heads of 64 by 128" (keys by values). */
export function headsOf(heads: number, ...sizes: readonly number[]): string {
  return `${heads} ${heads === 1 ? "head" : "heads"} of ${[...new Set(sizes)].join(" by ")}`;
}

/** Throws `E_CONFIG` for a model of which a program would compute something else: `reasonAgainst` a layout says why. */
export function checkLayout<L extends string>(layout: L, all: readonly L[], reasonAgainst: (layout: L) => string | undefined): void {
  const names = all.map((name) => JSON.stringify(name)).join(" or ");
  check(all.includes(layout), "E_ARGUMENT", () => `layout must be ${names}, not ${JSON.stringify(layout)}`);
  const reason = reasonAgainst(layout);
  check(reason === undefined, "E_CONFIG", () => {
    const others = all.filter((other) => other !== layout).map((other) => [other, reasonAgainst(other)] as const);
    const able = others.filter(([, against]) => against === undefined).map(([other]) => other);
    const rest = able.length > 0 ? `; it can for ${able.join(" and ")}`
      : others.map(([other, against]) => `; nor for ${other}: ${against}`).join("");
    return `config: the model can't be saved for ${layout}: ${reason}${rest}`;
  });
}

/** Fields that say nothing about the function and are kept where a file has them, since the program that it is for reads them. */
const KEPT = /^(?:(?:bos|eos|pad)_token_id|architectures|auto_map|attn_mode|max_position_embeddings|fuse_\w+|use_l2warp|wkv_state_dtype)$/;

/** Those fields of a configuration. */
export function keptFields(json: unknown): Readonly<Record<string, unknown>> {
  return json === null || typeof json !== "object" ? {} : Object.fromEntries(Object.entries(json).filter(([name]) => KEPT.test(name)));
}

/** A configuration with what is kept of the one that the model came with; the same again from what it gave. */
export function withKept(own: Readonly<Record<string, unknown>>, kept: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { architectures = own["architectures"] } = kept;
  return { ...own, ...kept, ...own, ...(architectures !== undefined && { architectures }) };
}

/** JSON as transformers writes it: it tells floats from whole numbers by their point. `floats`: the fields that are floats. */
export function pythonText(json: Readonly<Record<string, unknown>>, floats: readonly string[]): string {
  const lines = Object.entries(json).map(([name, value]) =>
    `  ${JSON.stringify(name)}: ${floats.includes(name) ? floatText(value as Floats) : JSON.stringify(value)}`);
  return `{\n${lines.join(",\n")}\n}\n`;
}

type Floats = number | readonly number[];

function floatText(value: Floats): string {
  if (typeof value !== "number") return `[${value.map(floatText).join(", ")}]`;
  if (value === Infinity) return '{"__float__": "Infinity"}';
  const text = String(value);
  return /^\d+$/.test(text) ? `${text}.0` : text;
}
