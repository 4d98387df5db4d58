/**
 * `npm run version:packages`: takes the changesets away and writes what they say: versions, ranges, CHANGELOGs and the lock file.
 * With `--dry-run` it only prints the versions that this would give.
 */
import { planIn, version } from "./release-plan.mjs";
import { root } from "./pack.mjs";

const plan = process.argv.includes("--dry-run") ? (await planIn(root)).plan : await version(root);
for (const { name, type, oldVersion, newVersion } of plan.releases.filter(({ type }) => type !== "none")) {
  console.log(`${name}: ${oldVersion} -> ${newVersion} (${type})`);
}
if (plan.releases.length === 0) console.log("no changesets: nothing to release");
