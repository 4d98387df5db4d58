/**
 * What the changesets of a commit do to the versions of the packages: changesets' own plan, with one rule more for versions below 1.0.
 *
 * There a minor version is what a major one is later: it may break, and `^0.3.0` takes no 0.4.0. changesets knows that of ranges, but calls
 * a package whose peer has left its range a major release, which would make 1.0.0 of it for a minor change of the peer.
 */
import applyReleasePlan from "@changesets/apply-release-plan";
import assembleReleasePlan from "@changesets/assemble-release-plan";
import { read as readConfig } from "@changesets/config";
import readChangesets from "@changesets/read";
import { getPackages } from "@manypkg/get-packages";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import semver from "semver";

// Modules of CommonJS, some with their function in a property `default` of it.
const plain = (module) => module.default ?? module;

/** A plan of changesets', in which only who is called a major release by a changeset of its own goes from below 1.0 to 1.0.0. */
export function belowOne(plan) {
  const majors = new Set(plan.changesets.flatMap(({ releases }) => releases.filter(({ type }) => type === "major"))
    .map(({ name }) => name));
  return {
    ...plan,
    releases: plan.releases.map((release) => release.type === "major" && semver.lt(release.oldVersion, "1.0.0") && !majors.has(release.name)
      ? { ...release, type: "minor", newVersion: semver.inc(release.oldVersion, "minor") } : release),
  };
}

/** The plan for changesets ({ id, summary, releases }) on packages as @manypkg/get-packages gives them. */
export const planOf = (changesets, packages, config) => belowOne(plain(assembleReleasePlan)(changesets, packages, config, undefined));

/** The plan of the repository in `folder`: { plan, packages, config }. */
export async function planIn(folder) {
  const packages = await getPackages(folder);
  const config = await readConfig(folder, packages);
  return { packages, config, plan: planOf(await plain(readChangesets)(folder), packages, config) };
}

/**
 * Writes the new versions, ranges and CHANGELOGs, takes the changesets away, and brings package-lock.json up to date, which needs no
 * registry: only what it says of our own packages changes. Returns the plan.
 */
export async function version(folder) {
  const { plan, packages, config } = await planIn(folder);
  await plain(applyReleasePlan)(plan, packages, config);
  const file = join(folder, "package-lock.json");
  const lock = JSON.parse(readFileSync(file, "utf8"));
  for (const place of Object.keys(lock.packages).filter((place) => place !== "" && !place.includes("node_modules/"))) {
    const manifest = JSON.parse(readFileSync(join(folder, place, "package.json"), "utf8"));
    for (const field of ["version", "dependencies", "peerDependencies", "devDependencies"]) if (lock.packages[place][field])
      lock.packages[place][field] = sorted(manifest[field]);
  }
  writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
  return plan;
}

const sorted = (value) => typeof value === "string" ? value
  : Object.fromEntries(Object.entries(value).sort(([a], [b]) => a.localeCompare(b, "en")));
