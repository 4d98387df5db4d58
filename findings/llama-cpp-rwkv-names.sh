#!/usr/bin/env bash
# llama.cpp v0.5.0 (node-llama-cpp 3.22.1), vocabularies of the kind "rwkv": the names of special and of unused tokens are looked for in
# plain texts, also where special tokens are not asked for. Its own converter calls token 0 of RWKV World, which stands between documents,
# "<s>", and what the vocabulary has not "[PAD65530]" and so on. So HTML that strikes a word out is read as the end of a document, and
# "[PAD65530]" as a token that no training ever saw; the model's own tokenizer gives the letters. Names that no text in UTF-8 can hold (a
# byte ff) are the way out.
#
# Fails when that changes. Needs npm and the npm registry, Linux on x64.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts --omit=optional node-llama-cpp@3.22.1 @node-llama-cpp/linux-x64@3.22.1

cat >names.mjs <<'JS'
import { writeFileSync } from "node:fs";
import { getLlama } from "node-llama-cpp";

// A GGUF file with values and no tensors, enough for a vocabulary: the 256 bytes, one token before them and one behind.
const parts = [];
const number = (bytes, value) => { const b = Buffer.alloc(bytes); b.writeUIntLE(value, 0, Math.min(bytes, 6)); parts.push(b); };
const string = (text) => { number(8, Buffer.byteLength(text)); parts.push(Buffer.from(text)); };
const value = (name, type, write) => { string(name); number(4, type); write(); };
const list = (type, items, write) => { number(4, type); number(8, items.length); items.forEach(write); };
const bytes = Array.from({ length: 256 }, (_, byte) => `\\x${byte.toString(16).padStart(2, "0")}`);
const words = { context_length: 64, embedding_length: 8, block_count: 1, feed_forward_length: 8, "attention.head_count": 0,
  "wkv.head_size": 8, time_mix_extra_dim: 1, time_decay_extra_dim: 1 };
function file(special, unused) {
  parts.length = 0;
  parts.push(Buffer.from("GGUF"));
  number(4, 3);
  number(8, 0);
  number(8, 4 + Object.keys(words).length);
  value("general.architecture", 8, () => string("rwkv6"));
  for (const [name, word] of Object.entries(words)) value(`rwkv6.${name}`, 4, () => number(4, word));
  value("tokenizer.ggml.model", 8, () => string("rwkv"));
  value("tokenizer.ggml.tokens", 9, () => list(8, [special, ...bytes, unused], string));
  value("tokenizer.ggml.token_type", 9, () => list(5, [3, ...bytes.map(() => 1), 5], (type) => number(4, type)));
  parts.push(Buffer.alloc(64));
  writeFileSync("names.gguf", Buffer.concat(parts));
}

const llama = await getLlama({ gpu: false, build: "never", logLevel: "disabled" });
for (const names of [["<s>", "[PAD257]"], ["\\xff<s>", "\\xff[PAD257]"]]) {
  file(...names);
  const model = await llama.loadModel({ modelPath: "names.gguf", vocabOnly: true });
  console.log(model.tokenize("a<s>[PAD257]", false).join(" "));
  await model.dispose();
}
await llama.dispose();
JS

mapfile -t ids < <(node names.mjs)
expect() { [ "$2" = "$3" ] && echo "$1: $2" || { echo "CHANGED: $1: $2 (was: $3)"; exit 1; }; }
expect 'ids of "a<s>[PAD257]" by names as the converter gives them' "${ids[0]}" "98 0 257"
expect 'by names with a byte that no text has' "${ids[1]}" "98 61 116 63 92 81 66 69 51 54 56 94"
