#!/usr/bin/env bash
# @huggingface/tokenizers 0.2.0 splits texts otherwise than the Rust library (0.23.2 in Python) on valid files, without a word:
# Digits knows ASCII digits only, Punctuation leaves out its behavior, Whitespace knows ASCII letters only, Split leaves out MergedWithNext
# (its README says so), Metaspace leaves out split, and ByteLevel takes U+FEFF for white space. So "½" has other ids than in training for
# StarCoder, "Führer" for Falcon, and " \uFEFF" for GPT-NeoX. Its decode drops spaces before
# punctuation unless clean_up_tokenization_spaces is false; the Rust library never does.
#
# Fails when that changes. Needs npm, Python, and their registries.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --silent --no-audit --no-fund @huggingface/tokenizers@0.2.0
python3 -m venv python
python/bin/pip install --quiet tokenizers==0.23.2
cat >words.mjs <<'EOF'
import { Tokenizer } from "@huggingface/tokenizers";
const vocab = { a: 0, "Ġ": 1, "!": 2 };
const rest = { added_tokens: [], normalizer: null, post_processor: null, model: { type: "BPE", vocab, merges: [] } };
const words = (config, text) => new Tokenizer({ ...rest, decoder: null, pre_tokenizer: config }, {}).pre_tokenizer(text);
const say = (name, list) => console.log(`${name}: ${list.join("|")}`);
say("Digits", words({ type: "Digits", individual_digits: true }, "a1½٣"));
say("Punctuation", words({ type: "Punctuation" }, "ab!?"));
say("Whitespace", words({ type: "Whitespace" }, "für ab"));
say("Split", words({ type: "Split", pattern: { String: " " }, behavior: "MergedWithNext", invert: false }, "a b"));
say("Metaspace", words({ type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true }, "a b"));
say("ByteLevel", words({ type: "ByteLevel", add_prefix_space: false }, "a \uFEFFx"));
say("decode", [new Tokenizer({ ...rest, pre_tokenizer: null, decoder: { type: "ByteLevel" } }, {}).decode([0, 1, 2])]);
EOF
cat >words.py <<'EOF'
from tokenizers import Tokenizer, decoders, models, pre_tokenizers as p
say = lambda name, words: print(f"{name}: {'|'.join(words)}")
words = lambda kind, text: [word for word, _ in kind.pre_tokenize_str(text)]
say("Digits", words(p.Digits(individual_digits=True), "a1½٣"))
say("Punctuation", words(p.Punctuation(), "ab!?"))
say("Whitespace", words(p.Whitespace(), "für ab"))
say("Split", words(p.Split(" ", "merged_with_next"), "a b"))
say("Metaspace", words(p.Metaspace(), "a b"))
say("ByteLevel", words(p.ByteLevel(add_prefix_space=False), "a \uFEFFx"))
tokenizer = Tokenizer(models.BPE({"a": 0, "Ġ": 1, "!": 2}, []))
tokenizer.decoder = decoders.ByteLevel()
say("decode", [tokenizer.decode([0, 1, 2])])
EOF
expect() { [ "$2" = "$3" ] && printf '%s\n%s\n\n' "$1:" "$2" || { printf 'CHANGED: %s\n%s\nwas:\n%s\n' "$1" "$2" "$3"; exit 1; }; }
expect "@huggingface/tokenizers" "$(node words.mjs)" "Digits: a|1|½٣
Punctuation: ab|!?
Whitespace: f|ü|r|ab
Split: a| |b
Metaspace: ▁a▁b
ByteLevel: a|Ġ|ï»¿|x
decode: a!"
expect "the Rust library" "$(python/bin/python words.py)" "Digits: a|1|½|٣
Punctuation: ab|!|?
Whitespace: für|ab
Split: a| b
Metaspace: ▁a|▁b
ByteLevel: a|Ġï»¿|x
decode: a !"
