/** How checkpoints are named on the command line. */
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { open } from "@lenggen/kernels";
import { configOf, findCheckpoint, loadCheckpoint, modelOf, settingsOfRun } from "./checkpoints";
import { modelNamed } from "./models";

const folder = await mkdtemp(join(tmpdir(), "lenggen-models-"));
afterAll(() => rm(folder, { recursive: true }));

/** A run directory with one checkpoint; nothing in it is whole. */
async function runWith(name: string, run?: string): Promise<{ run: string; checkpoint: string }> {
  const checkpoint = join(folder, name, "checkpoints", "step-5");
  await mkdir(checkpoint, { recursive: true });
  await writeFile(join(checkpoint, "model.safetensors"), "");
  if (run !== undefined) await writeFile(join(folder, name, "run.json"), run);
  return { run: join(folder, name), checkpoint };
}

describe("what a run recorded", () => {
  it("is found by any name of its checkpoint: links and relative paths as well", async () => {
    const { checkpoint } = await runWith("whole", '{"format": 1, "settings": {"steps": 5}}');
    const [link, folderLink] = [join(folder, "latest"), join(folder, "linked-run")];
    await symlink(checkpoint, link);
    await symlink(join(folder, "whole"), folderLink);
    for (const name of [checkpoint, `${checkpoint}/`, link, await findCheckpoint(folderLink)])
      expect(await settingsOfRun(name)).toEqual({ steps: 5 });
    const before = process.cwd();
    process.chdir(checkpoint);
    try {
      expect(await settingsOfRun(".")).toEqual({ steps: 5 });
    } finally {
      process.chdir(before);
    }
  });

  it.each([["no run.json", undefined], ["null", "null"], ["a list", "[]"], ["no settings", "{}"],
    ["settings that are none", '{"settings": 3}']])(
    "is nothing where there is %s", async (name, run) => {
      expect(await settingsOfRun((await runWith(name.replaceAll(" ", "-"), run)).checkpoint)).toBeUndefined();
    });

  it("is refused where it is damaged", async () => {
    const { checkpoint } = await runWith("damaged", '{"settings": ');
    await expect(settingsOfRun(checkpoint)).rejects.toMatchObject({ code: "E_FORMAT" });
  });
});

describe("a configuration that makes no model", () => {
  it("is told by its file", async () => {
    const file = join(folder, "wrong.json");
    await writeFile(file, '{"model_type": "gla", "hidden_size": "wide"}');
    await expect(modelNamed(file)).rejects.toMatchObject({ code: "E_CONFIG",
      message: expect.stringMatching(/^\S+wrong\.json: \w+.*(expected|missing)/) as string });
    const { checkpoint } = await runWith("wrong");
    await writeFile(join(checkpoint, "config.json"), '{"model_type": "glaa"}');
    for (const failing of [modelOf(checkpoint), (async () => {
      await writeFile(join(checkpoint, "model.safetensors"), Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0x7d));
      const device = await open("reference");
      return loadCheckpoint(checkpoint, device).finally(() => device.close());
    })()]) {
      await expect(failing).rejects.toMatchObject({ code: "E_CONFIG",
        message: expect.stringMatching(/^\S+step-5\/config\.json: no family of models has the model_type "glaa"/) as string });
    }
  });
});

describe("an error about a checkpoint", () => {
  const config = { d_model: 16, n_layer: 1, vocab_size: 256, ssm_cfg: { layer: "Mamba2", d_state: 8, headdim: 8 } };
  /** What loading a checkpoint says whose weights are none of its model's: its name is one that the message may hold anyway. */
  async function said(name: string, file: string): Promise<string> {
    await mkdir(join(folder, "odd", name), { recursive: true });
    await writeFile(join(folder, "odd", name, "config.json"), JSON.stringify(config));
    await writeFile(join(folder, "odd", name, "model.safetensors"), file);
    const before = process.cwd();
    process.chdir(join(folder, "odd"));
    const device = await open("reference");
    try {
      return await loadCheckpoint(name, device).then(() => "", (error: Error) => error.message);
    } finally {
      device.close();
      process.chdir(before);
    }
  }

  it.each(["weights", "o", "tensor", "config"])("names it, also where it is called %s", async (name) => {
    const none = "\u0002\0\0\0\0\0\0\0{}";
    expect(await said(name, none)).toMatch(new RegExp(`^checkpoint ${name}: weights: `));
    expect(await said(name, "cut")).toMatch(new RegExp(`^${name}/model\\.safetensors: `));
  });
});

describe("a checkpoint", () => {
  it("is the folder, the run directory or the file of weights itself", async () => {
    const { run, checkpoint } = await runWith("named");
    for (const name of [run, checkpoint, join(checkpoint, "model.safetensors")]) expect(await findCheckpoint(name)).toBe(checkpoint);
    await mkdir(join(run, "checkpoints", "step-999")); // emptied by somebody
    expect(await findCheckpoint(run)).toBe(checkpoint);
  });

  it("is one file of any name, which stays one where the folder is read by another", async () => {
    const { checkpoint } = await runWith("files");
    const file = join(checkpoint, "model-fp16.safetensors");
    await writeFile(file, "");
    expect(await findCheckpoint(file)).toBe(file);
    expect(await configOf(file)).toBeUndefined();
    await writeFile(join(checkpoint, "config.json"), "{}");
    for (const place of [file, checkpoint]) expect(await configOf(place)).toBe(join(checkpoint, "config.json"));
  });

  it("that is a folder without names that are looked for is told to be named by its file", async () => {
    const place = join(folder, "published");
    await mkdir(place);
    await expect(findCheckpoint(place)).rejects.toMatchObject({ code: "E_MISSING",
      message: expect.stringMatching(/published holds no checkpoint: neither model\.safetensors.*has none\)$/) as string });
    await writeFile(join(place, "some-model.pth"), "");
    await expect(findCheckpoint(place)).rejects.toMatchObject({ code: "E_MISSING",
      message: expect.stringMatching(/name a file of weights itself, such as \S+published\/some-model\.pth$/) as string });
    await expect(findCheckpoint(join(place, "other.pth"))).rejects.toMatchObject({ code: "E_MISSING" });
  });
});
