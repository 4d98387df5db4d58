import { describe, expect, it } from "vitest";
import { dawn } from "./dawn";

describe("Node without WebGPU says why, and what to do", () => {
  it("when the package is missing", async () => {
    const missing = Object.assign(new Error("Cannot find package 'webgpu' imported from here"), { code: "ERR_MODULE_NOT_FOUND" });
    expect(await dawn(() => Promise.reject(missing))).toEqual({ gpu: null, reason: expect.stringMatching(/install the package that brings it: npm install webgpu$/) });
  });

  it("when the package has no binary for this machine, or its binary lacks a library", async () => {
    const broken = () => Promise.reject(new Error("libstdc++.so.6: version `GLIBCXX_3.4.30' not found"));
    expect(await dawn(broken)).toEqual({ gpu: null, reason: expect.stringMatching(/webgpu does not load: libstdc.*GLIBCXX/) });
  });

  it("when there is no GPU, for this system", async () => {
    const found = await dawn(async () => ({ create: () => ({}) as GPU }));
    const words = process.platform === "linux" ? /Vulkan driver .*apt-get install libvulkan1.*VK_ICD_FILENAMES=/ : /update the system and the GPU's driver/;
    expect(found).toEqual({ gpu: {}, withoutAdapter: expect.stringMatching(words) });
  });
});

it("WebGPU is made once for the whole process, since Dawn crashes when it goes before its devices", async () => {
  const module = { create: () => ({}) as GPU };
  const [one, two] = [await dawn(async () => module), await dawn(async () => module)];
  expect(one.gpu).toBe(two.gpu);
});
