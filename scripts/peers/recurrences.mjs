/**
 * The scans of `lenggen bench` beside the same recurrences in PyTorch operations, in one run: for each scan at B=1, T=4096, its share of
 * the measured ceiling and how many times as fast it is.
 *
 *   apt-get install python3-torch
 *   node scripts/peers/recurrences.mjs [threads]
 *
 * Needs the packages built (npm test or npm start does it).
 */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const path = (name) => fileURLToPath(new URL(name, import.meta.url));
const threads = process.argv[2] ?? "2";
const SCANS = ["ssd", "selectiveScan", "gatedLinearAttention", "deltaRule", "gatedDeltaRule"];
/** What both have: B=1, T=4096. */
const SIZE = "B=1 T=4096 ";
const run = (command, args) => execFileSync(command, args, { encoding: "utf8", maxBuffer: 1 << 26, stdio: ["ignore", "pipe", "inherit"] });

const bench = JSON.parse(run(process.execPath,
  [path("../../packages/cli/bin/lenggen.js"), "bench", ...SCANS, "--threads", threads, "--json"]));
const peers = run("/usr/bin/python3", [path("recurrences.py"), threads]).trim().split("\n").map((line) => JSON.parse(line));

const results = bench.results.filter(({ shape, threads: used }) => shape.startsWith(SIZE) && String(used) === threads)
  .map(({ kernel, shape, pass, ms, share, bound, counts }) => {
    const peer = peers.find(({ scan }) => scan === `${kernel} ${shape.slice(SIZE.length)}`);
    const peerMs = peer && (4096 / 1000) * peer[pass === "both" ? "both_us_per_step" : "forward_us_per_step"];
    return { kernel, shape, pass, ms, share, bound, ...(counts && { counts }),
      ...(peer && { peerMs: Number(peerMs.toFixed(1)), timesAsFast: Number((peerMs / ms).toFixed(1)) }) };
  });
const missing = peers.filter(({ scan }) => results.every(({ kernel, shape }) => scan !== `${kernel} ${shape.slice(SIZE.length)}`));
if (missing.length > 0) throw new Error(`no scan of ours stands beside ${missing.map(({ scan }) => scan).join(", ")}`);
const { device, ceiling } = bench;
console.log(JSON.stringify({ device, threads: Number(threads), peer: peers[0].peer, ceiling, results }, null, 1));
for (const { kernel, shape, pass, share, bound, timesAsFast } of results) {
  const beside = timesAsFast ? `, ${timesAsFast} times the peer` : "";
  console.error(`${kernel} ${shape}, ${pass}: ${(100 * share).toFixed(0)} % of ${bound}${beside}`);
}
