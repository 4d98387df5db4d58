/** The loader in other people's bundles. How it finds the addon in a clone is what all other tests of this device rest on. */
import { spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "tsup";
import { afterAll, expect, it } from "vitest";

const folder = await mkdtemp(join(tmpdir(), "lenggen-bundle-"));
afterAll(() => rm(folder, { recursive: true }));

it.each(["cjs", "esm"] as const)("gives a reason, and the other devices, in a bundle of form %s that lies elsewhere", async (format) => {
  const index = fileURLToPath(new URL("../../index.ts", import.meta.url));
  const entry = join(folder, "entry.ts");
  await writeFile(entry, `
    import { devices, open } from ${JSON.stringify(index)};
    async function main() {
      const failure = await open("cpu").catch((error) => error.code);
      console.log(JSON.stringify({ failure, names: (await devices()).map(({ name, available }) => [name, available]) }));
    }
    void main();
  `);
  await build({
    entry: { [format]: entry }, outDir: folder, format: [format], outExtension: () => ({ js: format === "cjs" ? ".cjs" : ".mjs" }),
    target: "es2022", platform: "node", config: false, silent: true, shims: false, noExternal: [/.*/],
  });
  const file = join(folder, format === "cjs" ? "cjs.cjs" : "esm.mjs");
  const { stdout, stderr } = spawnSync(process.execPath, [file],
    { encoding: "utf8", env: { ...process.env, LENGGEN_CPU_ADDON: undefined } });
  expect(stderr).toBe("");
  const { failure, names } = JSON.parse(stdout) as { failure: string; names: [string, boolean][] };
  expect(failure).toBe("E_DEVICE_UNAVAILABLE");
  expect(names).toContainEqual(["reference", true]);
  expect(names).toContainEqual(["cpu", false]);
});
