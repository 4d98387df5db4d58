#!/usr/bin/env bash
# @huggingface/hub 2.17.5 (JavaScript) and the cache that it shares with Python's huggingface_hub. The layout has the same names, but:
#
#  * downloadFileToCacheDir with a branch puts each file into the snapshot of the commit that last changed that file, and writes no
#    refs/main. Two files of one branch lie in two snapshots, and Python, offline, finds neither: it looks up refs/main first, and takes
#    all files from that commit's snapshot. snapshotDownload, or passing the commit, is the way out.
#  * It keeps whatever bytes come, under the SHA-256 that they should have had. So does Python's 2.0.0 over plain HTTP.
#  * What broke off begins anew: the .incomplete file is overwritten. Python's of older days went on behind it.
#  * HF_HOME and HF_HUB_CACHE are read; HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE are not, and a token that does not begin with hf_ is
#    refused, also for mirrors that give others.
#
# Fails when that changes. Needs npm and the npm registry; all requests go to a server on loopback.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts @huggingface/hub@2.17.5
export HF_HOME="$folder/home"
cat > try.mjs <<'SCRIPT'
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { downloadFileToCacheDir } from "@huggingface/hub";

// A hub with one model: main is at commit c, where config.json is as commit a left it, and model.safetensors as b did.
const weights = Buffer.alloc(100_000, 7);
const sha256 = createHash("sha256").update(weights).digest("hex");
const [a, b, c] = ["a", "b", "c"].map((letter) => letter.repeat(40));
const files = {
  "config.json": { bytes: Buffer.from("{}"), oid: "1".repeat(40), commit: a },
  "model.safetensors": { bytes: weights, oid: "2".repeat(40), commit: b, lfs: { oid: sha256, size: weights.length, pointerSize: 130 } },
};
let send = (bytes, response) => response.end(bytes);
let asked = 0;
const ranges = [];
const hub = createServer((request, response) => {
  asked++;
  if (request.url.startsWith("/api/models/some/model/paths-info/")) {
    let body = "";
    request.on("data", (chunk) => (body += chunk)).on("end", () => {
      const [path] = JSON.parse(body).paths;
      const { bytes, oid, commit, lfs } = files[path];
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify([{ type: "file", path, size: bytes.length, oid, lfs,
        lastCommit: { id: commit, title: "", date: "2026-01-01T00:00:00.000Z" } }]));
    });
    return;
  }
  const { bytes, oid, lfs } = files[request.url.split("/").at(-1)];
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
  const from = Number(range?.[1] ?? 0);
  const part = bytes.subarray(from, range?.[2] ? Number(range[2]) + 1 : bytes.length);
  if (request.headers.range !== "bytes=0-0") ranges.push(request.headers.range ?? "all");
  response.writeHead(range ? 206 : 200, { etag: `"${lfs?.oid ?? oid}"`, "x-repo-commit": c, "content-length": part.length,
    ...(range && { "content-range": `bytes ${from}-${from + part.length - 1}/${bytes.length}` }) });
  if (part.length > 1) send(part, response);
  else response.end(part);
});
await new Promise((resolve) => hub.listen(0, "127.0.0.1", resolve));
const hubUrl = `http://127.0.0.1:${hub.address().port}`;
console.debug = () => {};

const expect = (what, found, expected) => {
  const same = JSON.stringify(found) === JSON.stringify(expected);
  console.log(same ? `${what}: ${JSON.stringify(found)}` : `CHANGED: ${what}: ${JSON.stringify(found)} (was: ${JSON.stringify(expected)})`);
  if (!same) process.exitCode = 1;
};
const fetched = (path, more = {}) => downloadFileToCacheDir({ repo: "some/model", path, hubUrl, ...more });
const repository = join(process.env.HF_HOME, "hub", "models--some--model");

await fetched("config.json");
send = (bytes, response) => response.end(Buffer.alloc(bytes.length, 8));
await fetched("model.safetensors");
expect("snapshots of two files of one branch, whose commit is ccc...", readdirSync(join(repository, "snapshots")).sort(), [a, b]);
expect("refs/main is written", existsSync(join(repository, "refs", "main")), false);
const kept = readFileSync(join(repository, "blobs", sha256));
expect("the file of that name has that SHA-256", createHash("sha256").update(kept).digest("hex") === sha256, false);

process.env.HF_HOME = join(process.env.HF_HOME, "other");
ranges.length = 0;
send = (bytes, response) => response.write(bytes.subarray(0, 60_000), () => setTimeout(() => response.destroy(), 100));
const broken = await fetched("model.safetensors").then(() => "fetched", () => "breaks off");
send = (bytes, response) => response.end(bytes);
await fetched("model.safetensors");
expect("a download that broke off at 60,000 bytes, and what is asked for next", [broken, ...new Set(ranges)], ["breaks off", "all"]);

Object.assign(process.env, { HF_HUB_OFFLINE: "1", HF_HOME: join(process.env.HF_HOME, "third"), HF_TOKEN: "hf_token" });
asked = 0;
await fetched("config.json");
expect("requests with HF_HUB_OFFLINE=1", asked > 0, true);
expect("a mirror's token", await fetched("config.json", { accessToken: "mirror-token" }).then(() => "taken", (error) => error.message),
  "Your access token must start with 'hf_'");
hub.closeAllConnections();
hub.close();
SCRIPT
node try.mjs
