#!/usr/bin/env bash
# webpack 5.113.0, target node: `new URL(<anything computed>, import.meta.url)` is no URL any more after bundling. What is computed is first
# looked up among modules of the source folder, so that a path that exists at run time, or none at all, throws "Cannot find module"; the
# build only warns. One would have guessed that what can't be known at build time is left to run time, as Node has it. A constant that holds
# import.meta.url is left alone: that is the way for libraries that load a native addon by a path.
#
# Fails when any of this changes. Needs Node, npm and the npm registry.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --silent --no-audit --no-fund webpack@5.113.0 webpack-cli@6.0.1

print='console.log(new URL(process.argv[2] ?? "..", BASE).pathname.split("/").at(-1));'
echo "${print/BASE/import.meta.url}" >direct.mjs
printf 'const here = import.meta.url;\n%s\n' "${print/BASE/here}" >constant.mjs

bundle() { npx webpack --mode development --devtool false --target node --entry "./$1.mjs" --output-path "$1" >"$1.log" 2>&1; }
expect() { [ "$2" = "$3" ] && echo "$1: $2" || { echo "CHANGED: $1: $2 (was: $3)"; exit 1; }; }

expect "node, direct" "$(node direct.mjs ./data.bin)" data.bin
bundle direct
bundle constant
expect "bundled, direct" "$(node direct/main.js ./data.bin 2>&1 | grep -o 'Cannot find module .*')" "Cannot find module './data.bin'"
expect "the build says" "$(grep -c 'Critical dependency' direct.log)" 1
expect "bundled, by a constant" "$(node constant/main.js ./data.bin)" data.bin
echo "webpack 5.113.0 replaces computed URLs beside import.meta.url by a look-up among modules"
