/**
 * Files of RWKV-6 and RWKV-7 as their authors have them, rewritten into other layouts: flash-linear-attention's (its
 * utils/convert_from_rwkv6.py and convert_from_rwkv7.py at bc3b101), transformers' (convert_rwkv7_checkpoint_to_hf.py), and that of the
 * code that comes with RWKV-6 on the hub. Written from what these do, and with nothing of the models' own layouts.
 */
import { below, flat, type HostFile, type HostTensor, moved, turned } from "../layouts.fixture";

const FLA: Readonly<Record<string, string>> = {
  "emb.weight": "model.embeddings.weight", "head.weight": "lm_head.weight", "ln_out.weight": "model.norm.weight",
  "ln_out.bias": "model.norm.bias", att: "attn", ffn: "ffn", ln0: "pre_norm", ln1: "attn_norm", ln2: "ffn_norm",
};

/** A block's tensor: its layer, its part of the layer, and its name there. */
function parted(name: string): { layer: string; part: string; rest: string } | undefined {
  const found = /^blocks\.(\d+)\.(\w+)\.(.*)$/.exec(name);
  return found ? { layer: found[1]!, part: found[2]!, rest: found[3]! } : undefined;
}

export function rwkv7ToFla(own: HostFile): HostFile {
  const projections: Readonly<Record<string, string>> = {
    receptance: "r_proj", key: "k_proj", value: "v_proj", output: "o_proj", ln_x: "g_norm",
  };
  return Object.fromEntries(Object.entries(own).map(([name, t]): [string, HostTensor] => {
    const place = parted(name);
    if (!place) return [FLA[name]!, t];
    const { layer, part, rest } = place;
    const at = `model.layers.${layer}.${FLA[part]!}`;
    const low = /^([wavg])([012])$/.exec(rest);
    if (low) {
      const [, gate, number] = low as unknown as [string, string, string];
      const renamed = `${at}.${gate}_lora.lora.${{ 0: "2.bias", 1: "0.weight", 2: "2.weight" }[number]}`;
      return [renamed, number === "0" ? flat(t) : turned(t)];
    }
    if (["k_k", "k_a"].includes(rest) || (part === "ffn" && rest === "x_k")) return [`${at}.${rest}`, flat(t)];
    const [head, ...tail] = rest.split(".");
    return [`${at}.${[part === "att" ? projections[head!] ?? head! : head!, ...tail].join(".")}`, t];
  }));
}

/** As at first, when the shares of the token before were rows of one tensor. */
export function rwkv7ToOldFla(own: HostFile): HostFile {
  const file = rwkv7ToFla(own);
  const isShare = (name: string) => /\.attn\.x_[rwkvag]$/.test(name);
  const layers = new Set(Object.keys(file).filter(isShare).map((name) => name.split(".")[2]!));
  return {
    ...Object.fromEntries(Object.entries(file).filter(([name]) => !isShare(name))),
    ...Object.fromEntries([...layers].map((layer) => {
      const at = `model.layers.${layer}.attn`;
      return [`${at}.x_x`, below(["r", "w", "k", "v", "a", "g"].map((part) => file[`${at}.x_${part}`]!))];
    })),
  };
}

export function rwkv7ToTransformers(own: HostFile): HostFile {
  return Object.fromEntries(Object.entries(own).map(([name, t]) => [name === "head.weight" ? name : `rwkv7.${name}`, t]));
}

export function rwkv6ToFla(own: HostFile): HostFile {
  const file: Record<string, HostTensor> = {};
  const order = ["r", "w", "k", "v", "g"];
  const ours = ["w", "k", "v", "r", "g"];
  for (const [name, t] of Object.entries(own)) {
    const place = parted(name);
    if (!place) {
      file[FLA[name]!] = t;
      continue;
    }
    const at = `model.layers.${place.layer}.${FLA[place.part]!}`;
    const { part, rest } = place;
    if (part.startsWith("ln")) file[`${at}.${rest}`] = t;
    else if (part === "ffn") {
      const renamed: Readonly<Record<string, string>> = {
        time_maa_k: "key.mu", time_maa_r: "receptance.mu", "key.weight": "key.linear.weight",
        "receptance.weight": "receptance.linear.weight", "value.weight": "value.weight",
      };
      file[`${at}.${renamed[rest]!}`] = rest.startsWith("time") ? flat(t) : t;
    } else if (rest === "time_maa_x") file[`${at}.x_proj.0.mu`] = flat(t);
    else if (/^time_maa_[rwkvg]$/.test(rest)) {
      file[`${at}.x_bias`] ??= below(order.map((j) => own[`blocks.${place.layer}.att.time_maa_${j}`]!));
    } else if (rest === "time_maa_w1") {
      const [width, rows] = t.shape as [number, number];
      const rank = rows / 5;
      file[`${at}.x_proj.0.linear.weight`] = moved(t, [rows, width], (row, c) =>
        [c, ours.indexOf(order[Math.floor(row / rank)]!) * rank + (row % rank)]);
    } else if (rest === "time_maa_w2") {
      const [, rank, width] = t.shape as [number, number, number];
      file[`${at}.x_proj.2.weight`] = moved(t, [width, 5 * rank], (c, column) =>
        [ours.indexOf(order[Math.floor(column / rank)]!), column % rank, c]);
    } else if (rest === "time_decay") file[`${at}.w_proj.linear.lora.2.bias`] = flat(t);
    else if (rest === "time_decay_w1") file[`${at}.w_proj.linear.lora.0.weight`] = turned(t);
    else if (rest === "time_decay_w2") file[`${at}.w_proj.linear.lora.2.weight`] = turned(t);
    else if (rest === "time_faaaa") file[`${at}.bonus`] = t;
    else if (rest.startsWith("ln_x")) file[`${at}.g_norm.${rest.slice(5)}`] = t;
    else if (rest === "output.weight") file[`${at}.o_proj.weight`] = t;
    else file[`${at}.${rest[0]}_proj.linear.weight`] = t;
  }
  return file;
}

export function rwkv6ToHub(own: HostFile): HostFile {
  return Object.fromEntries(Object.entries(own).map(([name, t]) => {
    if (name === "emb.weight") return ["rwkv.embeddings.weight", t];
    if (name === "head.weight") return [name, t];
    return [`rwkv.${name}`.replace(".att.", ".attention.").replace(".ffn.", ".feed_forward.").replace(".ln0.", ".pre_ln."), t];
  }));
}
