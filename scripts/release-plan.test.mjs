import { getPackages } from "@manypkg/get-packages";
import { read as readConfig } from "@changesets/config";
import semver from "semver";
import { beforeAll, describe, expect, it } from "vitest";
import { root } from "./pack.mjs";
import { planOf } from "./release-plan.mjs";

/** The repository's own packages and settings: what is tested is what a release would do with them. */
let packages;
let config;
beforeAll(async () => {
  packages = await getPackages(root);
  config = await readConfig(root, packages);
});

/** The packages as if all were released as `version`, with ranges on each other that begin there. */
function releasedAs(version) {
  const copy = structuredClone(packages);
  for (const { packageJson } of copy.packages) {
    if (!packageJson.private) packageJson.version = version;
    for (const kind of ["dependencies", "peerDependencies"]) for (const [name, range] of Object.entries(packageJson[kind] ?? {})) {
      if (name.startsWith("@lenggen/") && range !== "*") packageJson[kind][name] = `^${version}`;
    }
  }
  return copy;
}

/** The new versions that changes such as { kernels: "minor" } give, each in a changeset of its own; who stays is left out. */
function versionsAfter(version, changes) {
  const changesets = Object.entries(changes)
    .map(([name, type]) => ({ id: name, summary: `A change of ${name}`, releases: [{ name: `@lenggen/${name}`, type }] }));
  const { releases } = planOf(changesets, releasedAs(version), config);
  return Object.fromEntries(releases.filter(({ type }) => type !== "none")
    .map(({ name, newVersion }) => [name.replace("@lenggen/", ""), newVersion]));
}

const PEERS = ["recurrent", "gca", "interventions", "evals", "data"];
const all = (version) => Object.fromEntries(PEERS.map((name) => [name, version]));

describe("versions below 1.0", () => {
  it("a compatible change (patch) of kernels releases kernels alone", () => {
    expect(versionsAfter("0.3.1", { kernels: "patch" })).toEqual({ kernels: "0.3.2" });
  });

  it("a break (minor) of kernels is a break of all that have it as a peer, not their 1.0.0", () => {
    expect(versionsAfter("0.3.1", { kernels: "minor" })).toEqual({ kernels: "0.4.0", ...all("0.4.0"), cli: "0.3.2" });
  });

  it("a break of a package that nobody has as a peer moves the command line's range alone", () => {
    expect(versionsAfter("0.3.1", { evals: "minor" })).toEqual({ evals: "0.4.0", cli: "0.3.2" });
    expect(versionsAfter("0.3.1", { evals: "patch" })).toEqual({ evals: "0.3.2" });
  });

  it("a package with small changes of its own breaks with its peer", () => {
    expect(versionsAfter("0.3.1", { kernels: "minor", gca: "patch", cli: "minor" }))
      .toEqual({ kernels: "0.4.0", ...all("0.4.0"), cli: "0.4.0" });
  });

  it("1.0.0 is a decision: a changeset that says major gives it, and to that package alone", () => {
    expect(versionsAfter("0.3.1", { kernels: "major" })).toEqual({ kernels: "1.0.0", ...all("0.4.0"), cli: "0.3.2" });
    expect(versionsAfter("0.3.1", { kernels: "major", gca: "major" })).toMatchObject({ kernels: "1.0.0", gca: "1.0.0", evals: "0.4.0" });
  });

  it("the first release is 0.1.0 of every package", () => {
    const first = Object.fromEntries(["kernels", ...PEERS, "cli"].map((name) => [name, "minor"]));
    expect(versionsAfter("0.0.0", first)).toEqual({ kernels: "0.1.0", ...all("0.1.0"), cli: "0.1.0" });
  });
});

describe("versions from 1.0 on", () => {
  it("a minor of kernels releases kernels alone: its peers take it as it is", () => {
    expect(versionsAfter("1.2.0", { kernels: "minor" })).toEqual({ kernels: "1.3.0" });
  });

  it("a major of kernels is a major of its peers, and the command line's range follows", () => {
    expect(versionsAfter("1.2.0", { kernels: "major" })).toEqual({ kernels: "2.0.0", ...all("2.0.0"), cli: "1.2.1" });
  });
});

describe("ranges between our packages", () => {
  const names = ["dependencies", "peerDependencies"];
  const published = () => packages.packages.map(({ packageJson }) => packageJson).filter((manifest) => !manifest.private);

  it("take every compatible version, from the one in the repository on", () => {
    const versions = Object.fromEntries(published().map(({ name, version }) => [name, version]));
    const ours = published().flatMap((manifest) => names.flatMap((kind) => Object.entries(manifest[kind] ?? {})
      .filter(([name]) => name in versions).map(([name, range]) => ({ from: manifest.name, kind, name, range }))));
    expect(ours.length).toBeGreaterThanOrEqual(11);
    for (const { name, range } of ours) {
      expect(range).toMatch(/^\^\d/);
      expect(semver.satisfies(versions[name], range)).toBe(true);
    }
  });

  it("are of peers where one copy must serve all: nobody but the command line brings kernels along", () => {
    for (const { name, dependencies, peerDependencies } of published()) {
      if (name === "@lenggen/kernels") continue;
      if (name === "@lenggen/cli") expect(dependencies).toHaveProperty("@lenggen/kernels");
      else {
        expect(dependencies ?? {}).not.toHaveProperty("@lenggen/kernels");
        expect(peerDependencies).toHaveProperty("@lenggen/kernels");
      }
    }
  });
});
